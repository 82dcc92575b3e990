import { storeOf } from "../database.js";
import { list } from "../read.js";
import { subsegment } from "../tracing.js";

export const handler = list({ store: storeOf(process.env), subsegment });
