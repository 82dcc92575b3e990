"""Runs moto's server for the tables and buckets of one application, and makes them.

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

    def client(service):
        return boto3.client(
            service, endpoint_url=endpoint, region_name=os.environ["AWS_REGION"],
            aws_access_key_id="local", aws_secret_access_key="local", config=Config(retries={"max_attempts": 0}),
        )

    for resource in resources:
        name, kind = resource["name"], resource["kind"]
        try:
            if kind == "bucket":
                client("s3").create_bucket(Bucket=name)
            else:
                tables = client("dynamodb")
                tables.create_table(TableName=name, **resource["definition"])
                if resource["expires_by"]:
                    tables.update_time_to_live(
                        TableName=name,
                        TimeToLiveSpecification={"Enabled": True, "AttributeName": resource["expires_by"]},
                    )
        except Exception as error:
            raise RuntimeError(f"resource `{resource['logical_id']}` (line {resource['line']}): {error}") from error


def main():
    resources = json.loads(sys.stdin.readline())
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    # Connections are used again.
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
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
