import { photographer } from "../read.js";
import { assignments } from "../services.js";

export const handler = photographer({ assignments });
