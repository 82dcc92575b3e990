import { categories } from "../read.js";
import { documents, subsegment, tables } from "../services.js";

export const handler = categories({ documents, tables, subsegment });
