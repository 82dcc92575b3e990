import { SQSClient } from "@aws-sdk/client-sqs";
import { subsegment, traced } from "../tracing.js";
import { writeEvent } from "../write-event.js";

const queues = { catalog: process.env.CATALOG_QUEUE, photographers: process.env.PHOTOGRAPHER_QUEUE };

export const handler = writeEvent({ sqs: traced(new SQSClient({})), queues, subsegment });
