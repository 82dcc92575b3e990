"""Processes an order: real work that takes its time, after the caller has had its answer."""

import hashlib
import json

import tracing

DEFAULT_ROUNDS = 50_000
MAX_ROUNDS = 5_000_000


def handler(event, context):
    if event.get("fail"):
        raise RuntimeError(f"order {event.get('id')} is meant to fail")
    rounds = min(int(event.get("rounds", DEFAULT_ROUNDS)), MAX_ROUNDS)
    with tracing.subsegment("hash", rounds=rounds):
        receipt = json.dumps(event, sort_keys=True).encode()
        digest = hashlib.pbkdf2_hmac("sha256", receipt, b"order", rounds).hex()
    print(f"order {event.get('id')}: {digest}")
    return {"id": event.get("id"), "digest": digest}
