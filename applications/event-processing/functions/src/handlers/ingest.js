import { SNSClient } from "@aws-sdk/client-sns";
import { ingest } from "../ingest.js";
import { subsegment, traced } from "../tracing.js";

export const handler = ingest({ sns: traced(new SNSClient({})), topicArn: process.env.TOPIC_ARN, subsegment });
