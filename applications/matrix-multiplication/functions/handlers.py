"""The Lambda functions: one for each kind of state. What is set up here is part of a cold start, and done once."""

import os

import boto3
from aws_xray_sdk.core import patch

from steps import Steps, Storage

# Every call to S3 becomes a subsegment.
patch(["botocore"])

steps = Steps(Storage(boto3.client("s3"), os.environ["BUCKET"]), int(os.environ["SERIAL_LIMIT"]))


def create(event, _context):
    return steps.create(event)


def multiply(event, _context):
    return steps.multiply(event)


def schedule(event, _context):
    return steps.schedule(event)


def work(event, _context):
    return steps.work(event)


def build(event, _context):
    return steps.build(event)


def report(event, _context):
    return steps.report(event)
