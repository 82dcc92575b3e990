"""The Lambda function. What is set up here is part of a cold start, and done once."""

import os

import boto3
from aws_xray_sdk.core import patch

from api import Api

# Every call to S3 becomes a subsegment.
patch(["botocore"])

api = Api(boto3.client("s3"), os.environ["BUCKET"])


def handler(event, context):
    return api.train(event, context.aws_request_id)
