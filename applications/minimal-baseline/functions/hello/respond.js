/**
 * The whole application: answers with the id under which API Gateway knows the request.
 *
 * @param {{ requestContext?: { requestId?: string } }} event a proxy event of a REST API
 */
export function respond(event) {
  return {
    statusCode: 200,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ message: "hello", requestId: event?.requestContext?.requestId ?? null }),
  };
}
