import { processPhotographers } from "../process-photographers.js";
import { documents, subsegment, tables } from "../services.js";

export const handler = processPhotographers({ documents, tables, subsegment });
