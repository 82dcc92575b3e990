exports.group = { nested: () => Promise.resolve("nested") };
