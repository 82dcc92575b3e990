// Batches of SQS messages: each succeeds or fails for itself, and only those that failed are delivered again.

/** The trace of the request that an event came from. SQS carries it beside the message; the invocation that gets it has a trace of its own. */
export const traceHeader = (record) => record.attributes?.AWSTraceHeader;

export const originatingTrace = (record) => /Root=([0-9a-f-]+)/.exec(traceHeader(record) ?? "")?.[1];

export const report = (failed) => ({ batchItemFailures: [...failed].map((itemIdentifier) => ({ itemIdentifier })) });

export function logFailure(record, error) {
  console.error(
    JSON.stringify({
      message: "an event failed",
      messageId: record.messageId,
      receiveCount: record.attributes?.ApproximateReceiveCount,
      originatingTrace: originatingTrace(record),
      error: `${error.name}: ${error.message}`,
    }),
  );
}
