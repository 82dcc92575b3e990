// What API Gateway's proxy integration expects and gives, and the API's own form of errors: `{"errors": {"title": ["can't be blank"]}}`.

/** An answer other than success. `errors` is a table of lists, or empty for an answer without a body. */
export class Refusal extends Error {
  constructor(status, errors = {}) {
    super(
      Object.entries(errors)
        .map(([key, said]) => `${key} ${said.join(", ")}`)
        .join("; ") || `status ${status}`,
    );
    this.name = "Refusal";
    this.status = status;
    this.errors = errors;
  }
}

export const unauthorized = (said) => new Refusal(401, { token: [said] });
export const forbidden = (what) => new Refusal(403, { [what]: ["is not yours"] });
export const notFound = (what) => new Refusal(404, { [what]: ["not found"] });
export const invalid = (errors) => new Refusal(422, errors);

const answer = (statusCode, body) => ({
  statusCode,
  headers: { "content-type": "application/json; charset=utf-8" },
  body: JSON.stringify(body),
});

function parsed({ body, isBase64Encoded }) {
  let value;
  try {
    value = JSON.parse(isBase64Encoded ? Buffer.from(body, "base64").toString("utf8") : body);
  } catch {
    throw new Refusal(400, { body: ["is not JSON"] });
  }
  return value;
}

const header = (event, name) => Object.entries(event.headers ?? {}).find(([key]) => key.toLowerCase() === name)?.[1];

/**
 * One endpoint. `access` is "public" (whoever asks is not looked at), "optional" (looked at if there is a token) or "private" (a token is
 * needed). `handle` gets `{viewer, path, query, body}`, of which `viewer` is a user's id or null, and gives `{status, body}`.
 * Refusals become answers; all other errors fail the invocation, so that the trace shows them as faults.
 */
export const endpoint = (access, tokens, handle) => async (event) => {
  try {
    const presented = access === "public" ? undefined : header(event, "authorization");
    if (access === "private" && !presented) throw unauthorized("is missing");
    const { status = 200, body } = await handle({
      viewer: presented ? tokens.verify(presented) : null,
      path: event.pathParameters ?? {},
      query: event.queryStringParameters ?? {},
      body: () => parsed(event),
    });
    return answer(status, body);
  } catch (error) {
    if (error instanceof Refusal) return answer(error.status, { errors: error.errors });
    throw error;
  }
};
