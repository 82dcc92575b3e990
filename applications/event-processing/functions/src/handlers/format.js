import { SQSClient } from "@aws-sdk/client-sqs";
import { format } from "../format.js";
import { subsegment, traced } from "../tracing.js";

export const handler = format({ sqs: traced(new SQSClient({})), queueUrl: process.env.QUEUE_URL, subsegment });
