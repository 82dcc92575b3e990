// An ES module that has something to wait for before it can be used.
const ready = await Promise.resolve("ready");

export const handler = async (event) => ({ ready, text: event.text });
