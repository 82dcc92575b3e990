import { assignments, subsegment } from "../services.js";
import { acceptPhoto } from "../workflow.js";

export const handler = acceptPhoto({ assignments, subsegment });
