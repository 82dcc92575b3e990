exports.handler = require("./missing");
