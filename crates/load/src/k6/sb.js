// Written by sb beside scripts that import it, and replaced when sb is: changes here are lost.
//
// Gives each request a trace id of its own: in the headers X-Amzn-Trace-Id and traceparent for the application, and
// with the metrics of the request for sb, which writes it to invocations.csv.
//
//   import { http } from './sb.js';            // instead of: import http from 'k6/http';
//   http.get(`${__ENV.BASE_URL}/hello`, { tags: { name: 'hello' } });
//
// For anything else that sends requests: traced((headers) => http.get(url, { headers })).
// The id goes with the metrics as metadata, not as a tag: k6 keeps every combination of tags in memory.

import k6http from 'k6/http';
import { randomBytes } from 'k6/crypto';
import exec from 'k6/execution';

function hex(bytes) {
  return Array.from(new Uint8Array(randomBytes(bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

// 1-<8 hexadecimal digits of the time>-<24 of chance>, as X-Ray has it.
export function traceId() {
  const seconds = Math.floor(Date.now() / 1000).toString(16).padStart(8, '0');
  return `1-${seconds}-${hex(12)}`;
}

// Calls send(headers) with the headers of a new trace; what it sends meanwhile has the trace's id in its metrics.
export function traced(send) {
  const id = traceId();
  const metadata = exec.vu.metrics.metadata;
  metadata.trace_id = id;
  try {
    return send({
      'X-Amzn-Trace-Id': `Root=${id};Sampled=1`,
      traceparent: `00-${id.slice(2).replace('-', '')}-${hex(8)}-01`,
    });
  } finally {
    delete metadata.trace_id;
  }
}

function withHeaders(params, headers) {
  return Object.assign({}, params, { headers: Object.assign({}, headers, params && params.headers) });
}

const withoutBody = (send) => (url, params) => traced((headers) => send(url, withHeaders(params, headers)));
const withBody = (send) => (url, body, params) =>
  traced((headers) => send(url, body, withHeaders(params, headers)));
const withMethod = (send) => (method, url, body, params) =>
  traced((headers) => send(method, url, body, withHeaders(params, headers)));

// k6/http, with each request traced. The requests of a batch are not: they leave together, and k6 has one set of
// metadata for all of them.
export const http = Object.assign({}, k6http, {
  get: withoutBody(k6http.get),
  head: withoutBody(k6http.head),
  options: withBody(k6http.options),
  post: withBody(k6http.post),
  put: withBody(k6http.put),
  patch: withBody(k6http.patch),
  del: withBody(k6http.del),
  request: withMethod(k6http.request),
  asyncRequest: withMethod(k6http.asyncRequest),
});

export default http;
