import { respond } from "./respond.js";

/** What records the function's part of a trace. Only one is loaded: loading it is a part of every cold start. */
const instrumentations = {
  otel: () => import("./instrumentation/otel.js"),
  xray: () => import("./instrumentation/xray.js"),
  none: () => import("./instrumentation/none.js"),
};

const chosen = process.env.INSTRUMENTATION ?? "xray";
if (!Object.hasOwn(instrumentations, chosen)) {
  throw new Error(`INSTRUMENTATION is "${chosen}": set it to ${Object.keys(instrumentations).join(", ")}`);
}
const { traced } = await instrumentations[chosen]();

/** Entry point on Lambda: the response, with a span of its own in the trace. */
export const handler = (event) => traced("respond", () => respond(event));
