import { storeOf } from "../database.js";
import { persist } from "../persist.js";
import { subsegment } from "../tracing.js";

export const handler = persist({ store: storeOf(process.env), subsegment });
