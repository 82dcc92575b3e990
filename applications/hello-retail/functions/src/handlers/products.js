import { products } from "../read.js";
import { documents, subsegment, tables } from "../services.js";

export const handler = products({ documents, tables, subsegment });
