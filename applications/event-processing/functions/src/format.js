// Takes events from the queue behind the topic, formats each by its type, and hands them on to be stored.
import { SendMessageBatchCommand } from "@aws-sdk/client-sqs";
import { checkEvent, formatEvent } from "./events.js";
import { logFailure, originatingTrace, report, traceHeader } from "./records.js";

export const format =
  ({ sqs, queueUrl, subsegment }) =>
  async ({ Records: records }) => {
    const failed = new Set();
    const fail = (record, error) => {
      logFailure(record, error);
      failed.add(record.messageId);
    };

    const entries = [];
    for (const [index, record] of records.entries()) {
      try {
        const formatted = await subsegment("format", { originating_trace_id: originatingTrace(record) }, async () =>
          formatEvent(checkEvent(JSON.parse(record.body))),
        );
        entries.push({
          Id: String(index),
          MessageBody: JSON.stringify(formatted),
          // A batch mixes events of several requests: each takes the header of its own request along, not that of this invocation.
          ...(traceHeader(record) && {
            MessageSystemAttributes: { AWSTraceHeader: { DataType: "String", StringValue: traceHeader(record) } },
          }),
        });
      } catch (error) {
        fail(record, error);
      }
    }

    if (entries.length > 0) {
      try {
        const sent = await sqs.send(new SendMessageBatchCommand({ QueueUrl: queueUrl, Entries: entries }));
        for (const { Id, Code, Message } of sent.Failed ?? []) fail(records[Number(Id)], new Error(`${Code}: ${Message}`));
      } catch (error) {
        for (const { Id } of entries) fail(records[Number(Id)], error);
      }
    }
    return report(failed);
  };
