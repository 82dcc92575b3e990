// Handlers of a CommonJS module, in the styles that Lambda knows.

exports.echo = async (event, context) => ({
  event,
  pid: process.pid,
  trace: process.env._X_AMZN_TRACE_ID,
  requestId: context.awsRequestId,
  arn: context.invokedFunctionArn,
  name: context.functionName,
  memory: context.memoryLimitInMB,
  remaining: context.getRemainingTimeInMillis(),
});

exports.callback = (event, context, callback) => {
  setTimeout(() => callback(event.error ? new TypeError(event.error) : null, { after: "a while" }), 20);
};

// The answer waits for what is still to happen, unless the function says that it need not.
exports.patient = (event, context, callback) => {
  context.callbackWaitsForEmptyEventLoop = event.wait;
  const answer = { late: false };
  setTimeout(() => { answer.late = true; }, 300);
  callback(null, answer);
};

exports.silent = () => {
  setTimeout(() => {}, 20);
};

exports.fail = async (event) => {
  switch (event.how) {
    case "throw": throw new RangeError("asked to fail");
    case "text": throw "no error object";
    case "nothing": return Promise.reject();
    case "circular": { const self = {}; self.self = self; return self; }
    case "exit": return process.exit(3);
    case "later": setTimeout(() => { throw new Error("nobody caught this"); }); return new Promise(() => {});
    case "rejection": Promise.reject(new Error("nobody caught that")); return new Promise((done) => setTimeout(done, 1000));
    default: return process.pid;
  }
};
