import { SNSClient } from "@aws-sdk/client-sns";
import { notify } from "../notify.js";
import { subsegment, traced } from "../tracing.js";

export const handler = notify({ sns: traced(new SNSClient({})), topicArn: process.env.TOPIC_ARN, subsegment });
