// What the handlers are given instead of AWS: clients that remember what they were sent and answer what a test says.

export const noSubsegment = (_name, _annotations, work) => work();

/** An SDK client. `respond(input, name)` gives an answer or throws. */
export function fakeClient(respond = () => ({})) {
  const sent = [];
  return {
    sent,
    async send(command) {
      const name = command.constructor.name;
      sent.push({ name, input: command.input });
      return respond(command.input, name);
    },
  };
}

export const failing =
  (name, message = name) =>
  () => {
    throw Object.assign(new Error(message), { name });
  };
