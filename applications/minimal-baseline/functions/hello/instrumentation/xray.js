import AWSXRay from "aws-xray-sdk-core";

/** Runs `work` within a subsegment of X-Ray. */
export const traced = (name, work) =>
  AWSXRay.captureAsyncFunc(name, async (subsegment) => {
    try {
      return await work();
    } finally {
      subsegment?.close();
    }
  });
