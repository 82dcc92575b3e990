// X-Ray: clients whose calls are traced, and subsegments of our own.
import AWSXRay from "aws-xray-sdk-core";

export const traced = (client) => AWSXRay.captureAWSv3Client(client);

/** Runs `work` in a subsegment that is closed, with the error if there is one, when the promise settles. */
export function subsegment(name, annotations, work) {
  return AWSXRay.captureAsyncFunc(name, async (segment) => {
    for (const [key, value] of Object.entries(annotations)) {
      if (value !== undefined) segment?.addAnnotation(key, value);
    }
    try {
      const result = await work();
      segment?.close();
      return result;
    } catch (error) {
      segment?.close(error);
      throw error;
    }
  });
}
