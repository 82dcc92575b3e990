import { addComment } from "../endpoints/comments.js";
import { services } from "../services.js";

export const handler = addComment(services);
