import { assignments, subsegment } from "../services.js";
import { release } from "../workflow.js";

export const handler = release({ assignments, subsegment });
