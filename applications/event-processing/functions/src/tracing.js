// X-Ray: clients whose calls are traced, and subsegments of our own.
import AWSXRay from "aws-xray-sdk-core";

export const traced = (client) => AWSXRay.captureAWSv3Client(client);

/** Runs `work` in a subsegment that is closed, with the error if there is one, when the promise settles. */
export const subsegment = (name, annotations, work) =>
  within(name, work, (segment) => {
    for (const [key, value] of Object.entries(annotations)) {
      if (value !== undefined) segment.addAnnotation(key, value);
    }
  });

/** Runs a statement in a subsegment by which X-Ray knows that a database was called. `url` is shown: it must hold no password. */
export const statement = (name, url) => (query, work) =>
  within(name, work, (segment) => {
    segment.namespace = "remote";
    segment.addSqlData({ url, database_type: "PostgreSQL", sanitized_query: query });
  });

const within = (name, work, describe) =>
  AWSXRay.captureAsyncFunc(name, async (segment) => {
    if (segment) describe(segment);
    try {
      const result = await work();
      segment?.close();
      return result;
    } catch (error) {
      segment?.close(error);
      throw error;
    }
  });
