// Accepts an event over HTTP and publishes it. The caller has its answer before anything is formatted or stored.
import { PublishCommand } from "@aws-sdk/client-sns";
import { InvalidEvent, checkEvent } from "./events.js";
import { HttpError, answer, http, jsonObject } from "./http.js";

const checked = (input) => {
  try {
    return checkEvent(input);
  } catch (error) {
    if (error instanceof InvalidEvent) throw new HttpError(422, error.message);
    throw error;
  }
};

export const ingest = ({ sns, topicArn, subsegment }) =>
  http(async (request) => {
    const event = checked(jsonObject(request));
    await subsegment("publish", { event_type: event.type, event_id: event.id }, () =>
      sns.send(
        new PublishCommand({
          TopicArn: topicArn,
          Message: JSON.stringify(event),
          MessageAttributes: { type: { DataType: "String", StringValue: event.type } },
        }),
      ),
    );
    return answer(202, { id: event.id, type: event.type, occurredAt: event.occurredAt });
  });
