"""Greets whoever asks, after counting prime numbers: work whose amount the caller chooses."""

import json

DEFAULT_LIMIT = 5_000
MAX_LIMIT = 2_000_000


def primes_below(limit):
    """How many primes there are below `limit` (sieve of Eratosthenes)."""
    if limit < 3:
        return 0
    sieve = bytearray([1]) * limit
    sieve[0:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return sum(sieve)


def answer(status, body):
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(body),
    }


def hello(event, context):
    query = event.get("queryStringParameters") or {}
    try:
        limit = int(query.get("limit", DEFAULT_LIMIT))
    except ValueError:
        return answer(400, {"message": "`limit` must be a whole number"})
    if not 0 <= limit <= MAX_LIMIT:
        return answer(400, {"message": f"`limit` must lie between 0 and {MAX_LIMIT}"})
    name = query.get("name", "world")
    return answer(200, {"message": f"hello, {name}", "limit": limit, "primes": primes_below(limit)})
