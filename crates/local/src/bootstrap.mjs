// The Lambda Runtime API client of sb's local target for Node.js, for functions without aws-lambda-ric.
//
// Node's own modules only. Protocol: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
// Handlers: https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html

import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const BASE = "/2018-06-01/runtime";
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

/** What went wrong, for the caller of the function. */
class RuntimeError extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

function request(method, at, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { agent, host, port, method, path: BASE + at, headers };
    const sent = http.request(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() }),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

function describe(error) {
  if (error instanceof Error || (error && typeof error === "object" && "message" in error)) {
    return { errorType: error.name ?? "Error", errorMessage: String(error.message), trace: (error.stack ?? "").split("\n") };
  }
  return { errorType: typeof error, errorMessage: String(error), trace: [] };
}

function postError(at, error) {
  const described = describe(error);
  console.error(`${at} ${JSON.stringify(described)}`);
  return request("POST", at, JSON.stringify(described), {
    "Content-Type": "application/json",
    "Lambda-Runtime-Function-Error-Type": "Unhandled",
  });
}

/** `folder/file.a.b`: export `b` of export `a` of the module `folder/file`. */
async function load(name) {
  const root = process.env.LAMBDA_TASK_ROOT;
  const [, file, exported] = /^((?:.*\/)?[^./]+)\.(.+)$/.exec(name) ?? [];
  if (!file || name.includes("..")) {
    throw new RuntimeError("Runtime.MalformedHandlerName", `the handler \`${name}\` must be MODULE.FUNCTION`);
  }
  const candidates = ["", ".js", ".mjs", ".cjs"].map((ending) => path.join(root, file + ending));
  const found = candidates.find((candidate) => fs.statSync(candidate, { throwIfNoEntry: false })?.isFile());
  if (!found) {
    throw new RuntimeError("Runtime.ImportModuleError", `Cannot find module '${file}' in ${root}`);
  }
  const module = await importModule(found);
  const handler = exported.split(".").reduce((value, key) => value?.[key], module);
  if (handler === undefined) {
    throw new RuntimeError("Runtime.HandlerNotFound", `${name} is undefined or not exported`);
  }
  if (typeof handler !== "function") {
    throw new RuntimeError("Runtime.HandlerNotFound", `${name} is not a function`);
  }
  return handler;
}

async function importModule(file) {
  try {
    return createRequire(file)(file);
  } catch (error) {
    if (error.code === "ERR_REQUIRE_ESM" || error.code === "ERR_REQUIRE_ASYNC_MODULE") {
      return importEsModule(file);
    }
    throw asLoadError(error);
  }
}

function importEsModule(file) {
  return import(pathToFileURL(file)).catch((error) => Promise.reject(asLoadError(error)));
}

function asLoadError(error) {
  const names = { MODULE_NOT_FOUND: "ImportModuleError", ERR_MODULE_NOT_FOUND: "ImportModuleError" };
  const name = error instanceof SyntaxError ? "UserCodeSyntaxError" : names[error?.code];
  if (!name) return error;
  const wrapped = new RuntimeError(`Runtime.${name}`, `${error.name}: ${error.message}`);
  wrapped.stack = error.stack;
  return wrapped;
}

function makeContext(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const client = headers["lambda-runtime-client-context"];
  return {
    callbackWaitsForEmptyEventLoop: true,
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: client ? JSON.parse(client) : undefined,
    identity: undefined,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

/**
 * The handler's result, in whichever style it gives one: a promise, the callback, or the older `context.succeed`,
 * `fail` and `done`. A handler that gives none has answered `null` when nothing is left to happen.
 */
function run(handler, event, context) {
  return new Promise((resolve, reject) => {
    const idle = (settle) => process.once("beforeExit", settle);
    const forgotten = () => resolve(null);
    idle(forgotten);
    const settle = (error, result) => {
      process.off("beforeExit", forgotten);
      if (error !== null && error !== undefined) reject(error);
      else resolve(result);
    };
    const callback = (error, result) => {
      process.off("beforeExit", forgotten);
      if (context.callbackWaitsForEmptyEventLoop && !error) idle(() => settle(error, result));
      else settle(error, result);
    };
    context.done = callback;
    context.succeed = (result) => settle(null, result);
    context.fail = (error) => settle(error ?? new Error("failed without a reason"));
    const returned = handler(event, context, callback);
    if (typeof returned?.then === "function") {
      returned.then(context.succeed, context.fail);
    }
  });
}

/** Where an error that nobody caught belongs: to the initialization, or to the running invocation. */
let current = "/init/error";

async function giveUp(error, code) {
  await postError(current, error).catch(() => {});
  process.exit(code);
}
process.on("uncaughtException", (error) => giveUp(error, 129));
process.on("unhandledRejection", (error) =>
  giveUp(new RuntimeError("Runtime.UnhandledPromiseRejection", String(error?.stack ?? error)), 128),
);

let handler;
try {
  handler = await load(process.env._HANDLER);
} catch (error) {
  await giveUp(error, 1);
}
for (;;) {
  const next = await request("GET", "/invocation/next");
  if (next.status !== 200) process.exit(0);
  const context = makeContext(next.headers);
  const invocation = `/invocation/${context.awsRequestId}`;
  current = `${invocation}/error`;
  process.env._X_AMZN_TRACE_ID = next.headers["lambda-runtime-trace-id"] ?? "";
  try {
    const result = await run(handler, JSON.parse(next.body || "null"), context);
    await request("POST", `${invocation}/response`, JSON.stringify(result) ?? "null", {
      "Content-Type": "application/json",
    });
  } catch (error) {
    await postError(`${invocation}/error`, error);
  }
}
