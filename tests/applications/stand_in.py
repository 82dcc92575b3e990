"""AWS for the applications' deploy and cleanup steps, on this machine: moto behind one HTTP address.

What is done here that moto does not do by itself:

- A template with the SAM transform is transformed when it arrives, by AWS's own translator, as CloudFormation does it; the tags of a
  stack are put on its resources.
- The OpenAPI document of a REST API is put into the API, through moto's own PutRestApi.
- The public addresses of APIs, in outputs of stacks, lead back here. A request to one is answered with 200, or as
  the harness says, where the template declares the route, and as API Gateway does where it does not. No function is run.
- A resource, or an upload, can be refused, so that a deployment stops half-way.
- The index of tags goes on naming resources after they were deleted, as AWS's does.
"""

import json
import logging
import re
import threading
import urllib.request
import warnings

import yaml
from moto.apigateway.models import RestAPI, apigateway_backends
from moto.cloudformation import models, parsing
from moto.core.exceptions import JsonRESTError
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import ManagedPolicy, iam_backends
from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from samtranslator.translator.transform import transform
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

REGION = "us-east-1"
SAM = "AWS::Serverless-2016-10-31"
API_URL = re.compile(r"https://(\$\{\w+\})\.execute-api\.[^/\"']+")
ATTRIBUTE = re.compile(r"\$\{(\w+)\.([\w.]+)\}")
GATEWAY = "/execute-api/"
# Resources whose tags are a list of keys and values, as far as the applications use them.
TAGGED = {
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGateway::Stage",
    "AWS::DynamoDB::Table",
    "AWS::EC2::SecurityGroup",
    "AWS::EC2::Subnet",
    "AWS::EC2::VPC",
    "AWS::IAM::Role",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    "AWS::RDS::DBCluster",
    "AWS::RDS::DBInstance",
    "AWS::RDS::DBSubnetGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::StepFunctions::StateMachine",
}


class Refused(JsonRESTError):
    """What a resource meets that the stand-in was told to refuse."""

    code = 400

    def __init__(self, what):
        super().__init__("ValidationError", f"the stand-in refuses {what}")


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


class StandIn:
    """One server at a time in a process: moto keeps its state in modules."""

    def __init__(self):
        self.templates = {}  # transformed, by the name of the stack
        self.statuses = {}  # of the answers to requests, by path below the stage; else 200
        self.refuse_resource = None  # the n-th that is made from now on, from 1
        self.refuse_request = None  # a predicate over method and path
        self._made = 0
        self._refused = None  # that resource, by its name in the template
        self._named = {}  # by the index of tags, ever: ARN -> entry
        self._patch()
        # Both tell of resources that moto does not know, which are listed as not verified.
        warnings.simplefilter("ignore", UserWarning)
        logging.disable(logging.WARNING)
        app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._entrance(app), threaded=True, request_handler=Quiet)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()

    def reset(self):
        """An empty account."""
        urllib.request.urlopen(f"{self.endpoint}/moto-api/reset", data=b"").close()
        self.templates.clear()
        self._named.clear()
        self.allow()

    def allow(self):
        """Refuses nothing any more."""
        self.refuse_resource = self.refuse_request = self._refused = None
        self._made = 0

    def resources(self, stack):
        """The resources of a stack whose conditions hold: logical id -> (resource as in the template, what moto made or None)."""
        [found] = [one for one in self._backend().stacks.values() if one.name == stack]
        conditions = found.resource_map.lazy_condition_map
        return {
            name: (resource, found.resource_map._parsed_resources.get(name))
            for name, resource in self.templates[stack]["Resources"].items()
            if "Condition" not in resource or conditions[resource["Condition"]]
        }

    def plain(self, stack, value):
        """A value of a template with its intrinsic functions evaluated, by moto."""
        [found] = [one for one in self._backend().stacks.values() if one.name == stack]
        return parsing.clean_json(json.loads(json.dumps(value)), found.resource_map)

    @staticmethod
    def _backend():
        return models.cloudformation_backends["123456789012"][REGION]

    def _patch(self):
        backend = models.CloudFormationBackend
        for operation in ("create_stack", "create_change_set"):
            self._transform_before(backend, operation)
        execute = backend.execute_change_set

        def with_outputs(inner, *arguments, **named):
            # Moto leaves a stack that a change set has made without outputs.
            execute(inner, *arguments, **named)
            for stack in inner.stacks.values():
                stack._parse_template()
                stack.output_map = stack._create_output_map()

        backend.execute_change_set = with_outputs
        make = parsing.parse_and_create_resource

        def counted(logical_id, resource, *arguments, **named):
            self._made += 1
            if self._made == self.refuse_resource:
                self._refused = logical_id
            # Whoever asks again is refused again.
            if logical_id == self._refused:
                raise Refused(f"the resource {logical_id} ({resource['Type']})")
            return make(logical_id, resource, *arguments, **named)

        parsing.parse_and_create_resource = counted
        index = ResourceGroupsTaggingAPIBackend.get_resources

        def lasting(inner, *arguments, **named):
            token, found = index(inner, *arguments, **named)
            self._named |= {one["ResourceARN"]: one for one in found}
            wanted = {(one["Key"], value) for one in named.get("tag_filters") or [] for value in one.get("Values", [])}
            gone = [one for arn, one in self._named.items() if arn not in {other["ResourceARN"] for other in found}]
            gone = [one for one in gone if wanted <= {(tag["Key"], tag["Value"]) for tag in one["Tags"]}]
            return token, found + gone

        ResourceGroupsTaggingAPIBackend.get_resources = lasting
        RestAPI.create_from_cloudformation_json = with_document(RestAPI.create_from_cloudformation_json)
        # Moto cannot delete these with their stack.
        RestAPI.delete = lambda api, account, region: apigateway_backends[account][region].delete_rest_api(api.id)
        ManagedPolicy.delete = lambda policy, account, _: iam_backends[account]["aws"].delete_policy(policy.arn)

    def _transform_before(self, backend, operation):
        original = getattr(backend, operation)

        def transformed(inner, *arguments, **named):
            name = named.get("stack_name") or named["name"]
            template = self._transformed(named["template"], named["parameters"], named.get("tags") or {})
            self.templates[name] = template
            return original(inner, *arguments, **named | {"template": json.dumps(template)})

        setattr(backend, operation, transformed)

    def _transformed(self, text, parameters, tags):
        template = read_template(text)
        if SAM in as_list(template.get("Transform")):
            template = sam(template, parameters)
        for resource in template["Resources"].values():
            if resource["Type"] in TAGGED:
                properties = resource.setdefault("Properties", {})
                own = properties.get("Tags", [])
                added = [{"Key": key, "Value": value} for key, value in tags.items()]
                properties["Tags"] = own + [tag for tag in added if tag["Key"] not in {one["Key"] for one in own}]
        # Moto refuses references to attributes of what it does not make: they become words that say so.
        unmade = {name for name, one in template["Resources"].items() if one["Type"] not in parsing.get_model_map()}
        for resource in template["Resources"].values():
            if "Properties" in resource:
                resource["Properties"] = without_attributes(resource["Properties"], unmade)
        template["Outputs"] = without_attributes(template.get("Outputs", {}), unmade)
        outputs = json.dumps(template["Outputs"])
        template["Outputs"] = json.loads(API_URL.sub(lambda found: f"{self.endpoint}{GATEWAY}{found[1]}", outputs))
        return template

    def _entrance(self, app):
        def entrance(environment, start):
            method, path = environment["REQUEST_METHOD"], environment["PATH_INFO"]
            if path.startswith(GATEWAY):
                return self._gateway(method, path.removeprefix(GATEWAY))(environment, start)
            if self.refuse_request and self.refuse_request(method, path):
                error = "<Error><Code>AccessDenied</Code><Message>the stand-in refuses this</Message></Error>"
                return Response(error, 403, content_type="application/xml")(environment, start)
            return app(environment, start)

        return entrance

    def _gateway(self, method, rest):
        api, _, path = rest.partition("/")
        stage, _, path = path.partition("/")
        document = self._document(api, stage)
        if document is None:
            return Response('{"message":"Forbidden"}', 403, content_type="application/json")
        wanted = ["", *path.strip("/").split("/")]
        for route, methods in document["paths"].items():
            if fits(route.split("/"), wanted) and {method.lower(), "x-amazon-apigateway-any-method"} & set(methods):
                return Response("{}", self.statuses.get(f"/{path}", 200), content_type="application/json")
        refusal = document.get("x-amazon-apigateway-gateway-responses", {}).get("MISSING_AUTHENTICATION_TOKEN", {})
        status = int(refusal.get("statusCode", 403))
        return Response('{"message":"Missing Authentication Token"}', status, content_type="application/json")

    def _document(self, api, stage):
        """The OpenAPI document of a deployed API, as its template has it; none of one that has no such stage."""
        for stack in self._backend().stacks.values():
            template = self.templates.get(stack.name, {"Resources": {}})
            for name, resource in template["Resources"].items():
                made = stack.resource_map._parsed_resources.get(name)
                if resource["Type"] == "AWS::ApiGateway::RestApi" and made is not None and made.id == api:
                    stages = [
                        self.plain(stack.name, other["Properties"]["StageName"])
                        for other in template["Resources"].values()
                        if other["Type"] == "AWS::ApiGateway::Stage"
                        and other["Properties"]["RestApiId"] == {"Ref": name}
                    ]
                    return resource["Properties"]["Body"] if stage in stages else None
        return None


def with_document(original):
    """Makes a REST API with what its `Body` declares."""

    def make(name, resource, account, region, **named):
        api = original(name, resource, account, region, **named)
        document = resource["Properties"].get("Body")
        if document:
            apigateway_backends[account][region].put_rest_api(api.id, document, fail_on_warnings=False)
        return api

    return staticmethod(make)


def fits(route, wanted):
    """Whether a path leads to a route: `{id}` is any part, `{rest+}` all that follow."""
    for index, part in enumerate(route):
        if part.startswith("{") and part.endswith("+}"):
            return len(wanted) > index
        if index >= len(wanted) or not (part == wanted[index] or part.startswith("{")):
            return False
    return len(route) == len(wanted)


def without_attributes(value, unmade):
    """A part of a template, with placeholders for attributes of resources that are not made."""
    if isinstance(value, list):
        return [without_attributes(item, unmade) for item in value]
    if isinstance(value, str):
        return ATTRIBUTE.sub(lambda found: placeholder(found[1], found[2]) if found[1] in unmade else found[0], value)
    if not isinstance(value, dict):
        return value
    resource, *attribute = as_list(value.get("Fn::GetAtt", [""]))
    if resource in unmade:
        return placeholder(resource, ".".join(attribute))
    return {key: without_attributes(item, unmade) for key, item in value.items()}


def placeholder(resource, attribute):
    text = f"{resource}-{attribute}"
    return f"arn:aws:unmade:{REGION}:123456789012:{text}" if attribute.lower().endswith("arn") else text


def as_list(value):
    return value if isinstance(value, list) else [value]


class Loader(yaml.SafeLoader):
    """Templates in YAML or JSON as plain values: `!Ref x` as `{"Ref": "x"}`; `2010-09-09` stays a string."""


def short_form(loader, name, node):
    if isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = node.value.split(".", 1) if name == "GetAtt" else node.value
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


Loader.add_multi_constructor("!", short_form)
Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_template(text):
    return yaml.load(text, Loader=Loader)


class ManagedPolicies:
    """AWS's managed policies by name, for which the translator would ask IAM."""

    @staticmethod
    def load():
        return {name: policy["Arn"] for name, policy in json.loads(aws_managed_policies_data).items()}


def sam(template, parameters):
    """The template that CloudFormation gets to see."""
    return transform(template, dict(parameters), ManagedPolicies())
