import { deleteComment } from "../endpoints/comments.js";
import { services } from "../services.js";

export const handler = deleteComment(services);
