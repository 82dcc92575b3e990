// Starts the workflow that gets a photo of a product. Its name is that of the event, so a message that comes twice starts one workflow.
import { StartExecutionCommand } from "@aws-sdk/client-sfn";
import { eachRecord } from "./records.js";

function parse(message) {
  if (message?.type !== "photo/request" || typeof message.product !== "string" || typeof message.eventId !== "string") {
    throw new Error("not a request for a photo");
  }
  return message;
}

export const requestPhotos = ({ states, workflow, subsegment }) =>
  eachRecord({ parse, name: "request-photo", subsegment }, async ({ product, eventId }) => {
    try {
      await states.send(new StartExecutionCommand({ stateMachineArn: workflow, name: eventId, input: JSON.stringify({ product }) }));
    } catch (error) {
      if (error.name !== "ExecutionAlreadyExists") throw error;
    }
  });
