import { listComments } from "../endpoints/comments.js";
import { services } from "../services.js";

export const handler = listComments(services);
