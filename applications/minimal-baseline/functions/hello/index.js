import AWSXRay from "aws-xray-sdk-core";

import { respond } from "./respond.js";

/** Entry point on Lambda: the response, with a subsegment of its own in the trace. */
export const handler = (event) =>
  AWSXRay.captureAsyncFunc("respond", async (subsegment) => {
    try {
      return respond(event);
    } finally {
      subsegment?.close();
    }
  });
