// Stores formatted events. A batch is one transaction; if that fails, each event is tried for itself, so that one bad event does not hold up the others.
import { logFailure, originatingTrace, report } from "./records.js";

export const persist =
  ({ store, subsegment }) =>
  async ({ Records: records }) => {
    const failed = new Set();
    const parsed = [];
    for (const record of records) {
      try {
        parsed.push({ record, event: JSON.parse(record.body) });
      } catch (error) {
        logFailure(record, error);
        failed.add(record.messageId);
      }
    }
    if (parsed.length === 0) return report(failed);

    const traces = [...new Set(parsed.map(({ record }) => originatingTrace(record)).filter(Boolean))];
    try {
      await subsegment("store", { events: parsed.length, originating_trace_id: traces.join(" ") || undefined }, () =>
        store.add(parsed.map(({ event }) => event)),
      );
    } catch (batchError) {
      if (parsed.length === 1) {
        logFailure(parsed[0].record, batchError);
        failed.add(parsed[0].record.messageId);
        return report(failed);
      }
      for (const { record, event } of parsed) {
        try {
          await subsegment("store", { events: 1, originating_trace_id: originatingTrace(record) }, () => store.add([event]));
        } catch (error) {
          logFailure(record, error);
          failed.add(record.messageId);
        }
      }
    }
    return report(failed);
  };
