"""Is each resource of a deployed stack there? Asked of its own service's API, never of the stack."""

import io
import json
import re
import zipfile
from dataclasses import dataclass
from functools import partial

from botocore.exceptions import ClientError
from moto.cloudformation.parsing import get_model_map

# What moto is known to leave out of a resource that it makes. It is looked for all the same: once moto has it, it must be right.
LEFT_OUT = {
    ("AWS::S3::Bucket", "NotificationConfiguration"): "moto leaves notifications out",
    ("AWS::S3::Bucket", "LifecycleConfiguration"): "moto leaves rules out",
    ("AWS::S3::Bucket", "PublicAccessBlockConfiguration"): "moto leaves it out",
    ("AWS::S3::Bucket", "OwnershipControls"): "moto leaves it out",
    ("AWS::S3::Bucket", "VersioningConfiguration"): "moto leaves it out",
    ("AWS::S3::Bucket", "CorsConfiguration"): "moto leaves it out",
    ("AWS::IAM::Role", "ManagedPolicyArns"): "moto leaves it out",
    ("AWS::Logs::LogGroup", "RetentionInDays"): "moto leaves it out",
    ("AWS::Lambda::Function", "LoggingConfig"): "moto leaves it out",
    ("AWS::Lambda::Function", "TracingConfig"): "moto leaves it out",
}


class Missing(Exception):
    """A resource, or a part of one, is not as the template says."""


@dataclass
class Resource:
    """One resource of a stack: as the template has it, evaluated, and as moto names it."""

    logical_id: str
    type: str
    properties: dict
    physical_id: str
    client: object  # service name -> boto3 client

    def same(self, found, *keys):
        """Values of the template, where it has them, are those that the service tells."""
        for key in keys:
            wanted = self.properties.get(key)
            if wanted is not None and str(found.get(key)) != str(wanted):
                raise Missing(f"{key} is {found.get(key)!r}, not {wanted!r}")

    def part(self, name, present):
        """A part that moto may leave out. Gives what could not be verified, as a list of at most one reason."""
        if name not in self.properties or present:
            return []
        reason = LEFT_OUT.get((self.type, name))
        if reason is None:
            raise Missing(f"{name} is not there")
        return [f"{name}: {reason}"]


def verify(stand_in, stack, client):
    """Verifies a stack: (verified, not verified with reasons, missing with reasons), by logical id and type."""
    verified, unverified, missing = [], [], []
    known = get_model_map()
    for name, (resource, made) in sorted(stand_in.resources(stack).items()):
        kind = resource["Type"]
        label = {"resource": name, "type": kind}
        check = CHECKS.get(kind)
        if kind not in known:
            unverified.append(label | {"reason": "moto does not make resources of this type"})
        elif check is None:
            missing.append(label | {"reason": "moto makes it, and tests/applications/resources.py has no check for it"})
        elif made is None:
            missing.append(label | {"reason": "moto knows the type and has not made it"})
        else:
            properties = stand_in.plain(stack, resource.get("Properties", {}))
            physical_id = getattr(made, "physical_resource_id", None) or getattr(made, "id", None)
            one = Resource(name, kind, properties, physical_id, client)
            try:
                parts = check(one)
            except (Missing, ClientError, LookupError, StopIteration) as error:
                missing.append(label | {"reason": f"{type(error).__name__}: {error}"})
            else:
                verified.append(label)
                unverified += [label | {"reason": part} for part in parts]
    return verified, unverified, missing


def rest_api(one):
    client = one.client("apigateway")
    api = client.get_rest_api(restApiId=one.physical_id)
    if "Name" in one.properties and api["name"] != one.properties["Name"]:
        raise Missing(f"the name is {api['name']}")
    resources = client.get_resources(restApiId=one.physical_id, limit=500)["items"]
    found = {(resource["path"], method) for resource in resources for method in resource.get("resourceMethods", {})}
    document = one.properties.get("Body", {}).get("paths", {})
    wanted = {(path, method.upper()) for path, methods in document.items() for method in methods}
    if lacking := wanted - found:
        raise Missing(f"no routes {sorted(lacking)}")
    return []


def deployment(one):
    one.client("apigateway").get_deployment(restApiId=one.properties["RestApiId"], deploymentId=one.physical_id)
    return []


def function(one):
    client = one.client("lambda")
    found = client.get_function(FunctionName=one.physical_id)
    configuration = found["Configuration"]
    one.same(configuration, "FunctionName", "Runtime", "Handler", "Timeout", "MemorySize", "Role")
    wanted = one.properties.get("Environment", {}).get("Variables", {})
    given = configuration.get("Environment", {}).get("Variables", {})
    if {key: str(value) for key, value in wanted.items()} != {key: str(value) for key, value in given.items()}:
        raise Missing(f"the environment is {given}, not {wanted}")
    code = one.properties["Code"]
    entry = entry_of(one.properties["Handler"], configuration["Runtime"])
    uploaded = one.client("s3").get_object(Bucket=code["S3Bucket"], Key=code["S3Key"])["Body"].read()
    with zipfile.ZipFile(io.BytesIO(uploaded)) as archive:
        if not any(re.fullmatch(entry, name) for name in archive.namelist()):
            raise Missing(f"the code has no {entry}: it holds {archive.namelist()[:5]} …")
    mode = one.properties.get("TracingConfig", {}).get("Mode")
    group = one.properties.get("LoggingConfig", {}).get("LogGroup")
    traced = configuration.get("TracingConfig", {}).get("Mode") == mode
    logged = configuration.get("LoggingConfig", {}).get("LogGroup") == group
    return one.part("TracingConfig", traced) + one.part("LoggingConfig", logged)


def entry_of(handler, runtime):
    """The file that Lambda starts with, as a pattern over the names in the archive."""
    if runtime.startswith("provided"):
        return "bootstrap"
    if runtime.startswith("java"):
        return re.escape(handler.partition("::")[0].replace(".", "/")) + r"\.class"
    module = re.escape(handler.rpartition(".")[0])
    return module + (r"\.py" if runtime.startswith("python") else r"\.[cm]?js")


def permission(one):
    policy = json.loads(one.client("lambda").get_policy(FunctionName=one.properties["FunctionName"])["Policy"])
    principals = [statement["Principal"].get("Service") for statement in policy["Statement"]]
    if one.properties["Principal"] not in principals:
        raise Missing(f"{one.properties['Principal']} is not among {principals}")
    return []


def event_source(one):
    found = one.client("lambda").get_event_source_mapping(UUID=one.physical_id)
    one.same(found, "EventSourceArn", "BatchSize")
    return []


def role(one):
    client = one.client("iam")
    found = client.get_role(RoleName=one.physical_id)["Role"]
    if found["AssumeRolePolicyDocument"]["Statement"] != one.properties["AssumeRolePolicyDocument"]["Statement"]:
        raise Missing("the trust policy is another")
    attached = {
        policy["PolicyArn"] for policy in client.list_attached_role_policies(RoleName=one.physical_id)["AttachedPolicies"]
    }
    own = set(client.list_role_policies(RoleName=one.physical_id)["PolicyNames"])
    if lacking := {policy["PolicyName"] for policy in one.properties.get("Policies", [])} - own:
        raise Missing(f"no inline policy {sorted(lacking)}")
    return one.part("ManagedPolicyArns", set(one.properties.get("ManagedPolicyArns") or []) <= attached)


def managed_policy(one):
    one.client("iam").get_policy(PolicyArn=one.physical_id)
    return []


def inline_policy(one):
    client = one.client("iam")
    for name in one.properties.get("Roles", []):
        client.get_role_policy(RoleName=name, PolicyName=one.properties["PolicyName"])
    return []


def log_group(one):
    groups = one.client("logs").describe_log_groups(logGroupNamePrefix=one.physical_id)["logGroups"]
    group = next(group for group in groups if group["logGroupName"] == one.physical_id)
    return one.part("RetentionInDays", group.get("retentionInDays") == one.properties.get("RetentionInDays"))


def bucket(one):
    client = one.client("s3")
    client.head_bucket(Bucket=one.physical_id)

    def has(operation, key):
        try:
            return bool(getattr(client, operation)(Bucket=one.physical_id).get(key))
        except ClientError:
            return False

    events = client.get_bucket_notification_configuration(Bucket=one.physical_id)
    return [
        *one.part("NotificationConfiguration", any(key.endswith("Configurations") for key in events)),
        *one.part("LifecycleConfiguration", has("get_bucket_lifecycle_configuration", "Rules")),
        *one.part("PublicAccessBlockConfiguration", has("get_public_access_block", "PublicAccessBlockConfiguration")),
        *one.part("OwnershipControls", has("get_bucket_ownership_controls", "OwnershipControls")),
        *one.part("VersioningConfiguration", has("get_bucket_versioning", "Status")),
        *one.part("CorsConfiguration", has("get_bucket_cors", "CORSRules")),
    ]


def queue(one):
    found = one.client("sqs").get_queue_attributes(QueueUrl=one.physical_id, AttributeNames=["All"])["Attributes"]
    one.same(found, "VisibilityTimeout", "MessageRetentionPeriod", "DelaySeconds")
    if wanted := one.properties.get("RedrivePolicy"):
        policy = json.loads(found.get("RedrivePolicy", "{}"))
        if str(policy.get("deadLetterTargetArn")) != str(wanted["deadLetterTargetArn"]):
            raise Missing(f"dead letters go to {policy}")
    return []


def topic(one):
    one.client("sns").get_topic_attributes(TopicArn=one.physical_id)
    return []


def table(one):
    found = one.client("dynamodb").describe_table(TableName=one.physical_id)["Table"]
    for key in ("KeySchema", "AttributeDefinitions"):
        order = partial(sorted, key=lambda item: item["AttributeName"])
        if order(found[key]) != order(one.properties[key]):
            raise Missing(f"{key} is {found[key]}")
    wanted = {index["IndexName"] for index in one.properties.get("GlobalSecondaryIndexes", [])}
    if wanted != {index["IndexName"] for index in found.get("GlobalSecondaryIndexes", [])}:
        raise Missing(f"the indexes are {found.get('GlobalSecondaryIndexes')}")
    return []


def state_machine(one):
    found = one.client("stepfunctions").describe_state_machine(stateMachineArn=one.physical_id)
    json.loads(found["definition"])
    one.same({"RoleArn": found["roleArn"]}, "RoleArn")
    return []


def database(one):
    [found] = one.client("rds").describe_db_instances(DBInstanceIdentifier=one.physical_id)["DBInstances"]
    one.same(found, "Engine", "DBInstanceClass")
    return []


def database_subnets(one):
    one.client("rds").describe_db_subnet_groups(DBSubnetGroupName=one.physical_id or one.properties["DBSubnetGroupName"])
    return []


def network(operation, argument):
    def check(one):
        getattr(one.client("ec2"), operation)(**{argument: [one.physical_id]})
        return []

    return check


CHECKS = {
    "AWS::ApiGateway::Deployment": deployment,
    "AWS::ApiGateway::RestApi": rest_api,
    "AWS::DynamoDB::Table": table,
    "AWS::EC2::SecurityGroup": network("describe_security_groups", "GroupIds"),
    "AWS::EC2::Subnet": network("describe_subnets", "SubnetIds"),
    "AWS::EC2::VPC": network("describe_vpcs", "VpcIds"),
    "AWS::IAM::ManagedPolicy": managed_policy,
    "AWS::IAM::Policy": inline_policy,
    "AWS::IAM::Role": role,
    "AWS::Lambda::EventSourceMapping": event_source,
    "AWS::Lambda::Function": function,
    "AWS::Lambda::Permission": permission,
    "AWS::Logs::LogGroup": log_group,
    "AWS::RDS::DBInstance": database,
    "AWS::RDS::DBSubnetGroup": database_subnets,
    "AWS::S3::Bucket": bucket,
    "AWS::SNS::Topic": topic,
    "AWS::SQS::Queue": queue,
    "AWS::StepFunctions::StateMachine": state_machine,
}
