import { product } from "../read.js";
import { documents, subsegment, tables } from "../services.js";

export const handler = product({ documents, tables, subsegment });
