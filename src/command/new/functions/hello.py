"""The function behind GET /hello: greets, and does some work that is to be measured."""

import hashlib
import json

import tracing

ROUNDS = 20_000


def handler(event, context):
    """What the gateway calls. The logic lies below, where a test reaches it without the cloud."""
    name = (event.get("queryStringParameters") or {}).get("name", "world")
    with tracing.subsegment("greet", rounds=ROUNDS):
        greeting = greet(name, ROUNDS)
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(greeting),
    }


def greet(name, rounds):
    digest = hashlib.pbkdf2_hmac("sha256", name.encode(), b"greeting", rounds)
    return {"message": f"hello, {name}", "digest": digest.hex()}
