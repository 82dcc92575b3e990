import { storeOf } from "../database.js";
import { latest } from "../read.js";
import { subsegment } from "../tracing.js";

export const handler = latest({ store: storeOf(process.env), subsegment });
