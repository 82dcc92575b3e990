// Takes an event over HTTP and puts it into the queue of its kind. What it means, its processor knows.
import { SendMessageCommand } from "@aws-sdk/client-sqs";
import { InvalidEvent, checkEvent, queueOf } from "./events.js";
import { HttpError, answer, http, jsonObject } from "./http.js";

const checked = (input) => {
  try {
    return checkEvent(input);
  } catch (error) {
    if (error instanceof InvalidEvent) throw new HttpError(422, error.message);
    throw error;
  }
};

/** `queues`: addresses by name. */
export const writeEvent = ({ sqs, queues, subsegment }) =>
  http(async (request) => {
    const event = checked(jsonObject(request));
    await subsegment("write", { event_type: event.type, event_id: event.eventId }, () =>
      sqs.send(new SendMessageCommand({ QueueUrl: queues[queueOf(event)], MessageBody: JSON.stringify(event) })),
    );
    return answer(202, { eventId: event.eventId });
  });
