"""Runs moto's server for the tables, buckets, queues and the like of one application, and makes them.

Reads the resources from standard input, one JSON document in the first line; answers with one line: {"port": N} or {"error": TEXT}. Ends
when standard input ends, which it does with the runtime, whatever ends that.
"""

import json
import logging
import os
import sys
import threading


def make(resources, endpoint):
    import boto3
    from botocore.config import Config

    clients = {}

    def client(service):
        if service not in clients:
            clients[service] = boto3.client(
                service, endpoint_url=endpoint, region_name=os.environ["AWS_REGION"],
                aws_access_key_id="local", aws_secret_access_key="local", config=Config(retries={"max_attempts": 0}),
            )
        return clients[service]

    def bucket(name, resource):
        client("s3").create_bucket(Bucket=name)
        if resource["versioned"]:
            client("s3").put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def table(name, resource):
        client("dynamodb").create_table(TableName=name, **resource["definition"])
        if resource["expires_by"]:
            ends = {"Enabled": True, "AttributeName": resource["expires_by"]}
            client("dynamodb").update_time_to_live(TableName=name, TimeToLiveSpecification=ends)

    def queue(name, resource):
        attributes = {key: value for key, value in resource["attributes"].items() if key != "RedrivePolicy"}
        resource["url"] = client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def redrive(name, resource):
        policy = resource["attributes"].get("RedrivePolicy")
        if policy:
            client("sqs").set_queue_attributes(QueueUrl=resource["url"], Attributes={"RedrivePolicy": json.dumps(policy)})

    def topic(name, resource):
        client("sns").create_topic(Name=name, Attributes={"FifoTopic": "true"} if resource["fifo"] else {})

    def stream(name, resource):
        client("kinesis").create_stream(StreamName=name, ShardCount=resource["shards"])

    def machine(name, resource):
        role = f"arn:aws:iam::{os.environ['MOTO_ACCOUNT_ID']}:role/local"
        client("stepfunctions").create_state_machine(
            name=name, definition=json.dumps(resource["definition"], ensure_ascii=False), roleArn=role, type=resource["type"])

    kinds = {"machine": [machine], "stream": [stream], "bucket": [bucket], "table": [table], "queue": [queue, redrive], "topic": [topic]}
    # A queue for dead letters must be there before it is named.
    for step in range(2):
        for resource in resources:
            try:
                for act in kinds[resource["kind"]][step:step + 1]:
                    act(resource["name"], resource)
            except Exception as error:
                raise RuntimeError(f"resource `{resource['logical_id']}` (line {resource['line']}): {error}") from error


def keep_system_attributes():
    """moto forgets those of messages that are sent in a batch, and with them whose trace they belong to."""
    from moto.sqs.models import SQSBackend

    one, many, batch = SQSBackend.send_message, SQSBackend.send_message_batch, threading.local()

    def send_message(self, *arguments, **named):
        if getattr(batch, "attributes", None):
            named["system_attributes"] = batch.attributes.pop(0)
        return one(self, *arguments, **named)

    def send_message_batch(self, queue_name, entries):
        batch.attributes = [entry.get("MessageSystemAttributes") for entry in entries.values()]
        try:
            return many(self, queue_name, entries)
        finally:
            batch.attributes = None

    SQSBackend.send_message, SQSBackend.send_message_batch = send_message, send_message_batch


def one_at_a_time():
    """moto serves each request on a thread of its own and looks at an item before it writes it; a transaction that fails even puts back whole
    tables as they were. Conditions and transactions hold only where no two requests of DynamoDB meet."""
    from moto.dynamodb.responses import DynamoHandler

    act, lock = DynamoHandler.call_action, threading.Lock()

    def call_action(self):
        with lock:
            return act(self)

    DynamoHandler.call_action = call_action


def forget_iterators():
    """moto keeps every iterator of a table's stream for good, and makes one for each look at it."""
    from moto.dynamodbstreams.models import DynamoDBStreamsBackend

    look = DynamoDBStreamsBackend.get_records

    def get_records(self, iterator_arn, limit):
        result = look(self, iterator_arn, limit)
        if result["Records"]:
            self.shard_iterators.pop(iterator_arn, None)
        else:
            # The new one stands where the old one does.
            self.shard_iterators.pop(result["NextShardIterator"], None)
            result["NextShardIterator"] = iterator_arn
        return result

    DynamoDBStreamsBackend.get_records = get_records


def main():
    resources = json.loads(sys.stdin.readline())
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    # Connections are used again.
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    keep_system_attributes()
    one_at_a_time()
    forget_iterators()
    serve = DomainDispatcherApplication(create_backend_app)
    if any(resource["kind"] == "machine" for resource in resources):
        import integrations
        import state_machines

        state_machines.install(os.environ["SB_SERVICES"], os.environ["SB_DAEMON"], os.environ["SB_CONTROL"])
        serve = integrations.application(serve, os.environ["AWS_REGION"])
    server = make_server("127.0.0.1", 0, serve, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    make(resources, f"http://127.0.0.1:{server.server_port}")
    print(json.dumps({"port": server.server_port}), flush=True)
    sys.stdin.read()


try:
    main()
except Exception as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
    sys.exit(1)
# Without waiting for threads that still answer.
os._exit(0)
