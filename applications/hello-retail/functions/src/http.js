// What API Gateway's proxy integration expects and gives.

/** An answer other than success, for the caller to read. */
export class HttpError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const answer = (statusCode, body) => ({
  statusCode,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

/** Errors that are meant for the caller become answers; all others fail the invocation, so that the trace shows them as faults. */
export const http = (handle) => async (event) => {
  try {
    return await handle(event);
  } catch (error) {
    if (error instanceof HttpError) return answer(error.status, { message: error.message });
    throw error;
  }
};

export function jsonObject(event) {
  let value;
  try {
    const text = event.isBase64Encoded ? Buffer.from(event.body, "base64").toString("utf8") : event.body;
    value = JSON.parse(text);
  } catch {
    throw new HttpError(400, "the body is not JSON");
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new HttpError(400, "the body is not a JSON object");
  return value;
}
