import { assignments, subsegment } from "../services.js";
import { assign } from "../workflow.js";

export const handler = assign({ assignments, subsegment });
