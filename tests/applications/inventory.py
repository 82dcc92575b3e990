"""Everything that is in the account, by service: what must be the same before a deployment and after its cleanup."""

LISTS = [
    ("apigateway", "get_rest_apis", "items", "id", {}),
    ("apigatewayv2", "get_apis", "Items", "ApiId", {}),
    ("cloudformation", "describe_stacks", "Stacks", "StackName", {}),
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName", {}),
    ("cognito-idp", "list_user_pools", "UserPools", "Id", {"MaxResults": 60}),
    ("dynamodb", "list_tables", "TableNames", None, {}),
    ("ec2", "describe_vpcs", "Vpcs", "VpcId", {}),
    ("ec2", "describe_subnets", "Subnets", "SubnetId", {}),
    ("ec2", "describe_security_groups", "SecurityGroups", "GroupId", {}),
    ("ec2", "describe_internet_gateways", "InternetGateways", "InternetGatewayId", {}),
    ("ec2", "describe_route_tables", "RouteTables", "RouteTableId", {}),
    ("ec2", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", {}),
    ("ecr", "describe_repositories", "repositories", "repositoryName", {}),
    ("events", "list_rules", "Rules", "Name", {}),
    ("firehose", "list_delivery_streams", "DeliveryStreamNames", None, {}),
    ("iam", "list_roles", "Roles", "RoleName", {}),
    ("iam", "list_policies", "Policies", "PolicyName", {"Scope": "Local"}),
    ("iam", "list_users", "Users", "UserName", {}),
    ("kinesis", "list_streams", "StreamNames", None, {}),
    ("kms", "list_aliases", "Aliases", "AliasName", {}),
    ("lambda", "list_functions", "Functions", "FunctionName", {}),
    ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID", {}),
    ("lambda", "list_layers", "Layers", "LayerName", {}),
    ("logs", "describe_log_groups", "logGroups", "logGroupName", {}),
    ("rds", "describe_db_clusters", "DBClusters", "DBClusterIdentifier", {}),
    ("rds", "describe_db_instances", "DBInstances", "DBInstanceIdentifier", {}),
    ("rds", "describe_db_snapshots", "DBSnapshots", "DBSnapshotIdentifier", {}),
    ("rds", "describe_db_subnet_groups", "DBSubnetGroups", "DBSubnetGroupName", {}),
    ("s3", "list_buckets", "Buckets", "Name", {}),
    ("secretsmanager", "list_secrets", "SecretList", "Name", {}),
    ("sns", "list_topics", "Topics", "TopicArn", {}),
    ("sns", "list_subscriptions", "Subscriptions", "SubscriptionArn", {}),
    ("sqs", "list_queues", "QueueUrls", None, {}),
    ("ssm", "describe_parameters", "Parameters", "Name", {}),
    ("stepfunctions", "list_state_machines", "stateMachines", "stateMachineArn", {}),
]


def inventory(client):
    """Names as a sorted list of `service operation name`."""
    found = []
    for service, operation, key, name, arguments in LISTS:
        one = client(service)
        pages = (
            one.get_paginator(operation).paginate(**arguments)
            if one.can_paginate(operation)
            else [getattr(one, operation)(**arguments)]
        )
        for page in pages:
            found += [f"{service} {operation} {item[name] if name else item}" for item in page.get(key) or []]
    return sorted(found)
