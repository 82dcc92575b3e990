import { deleteArticle } from "../endpoints/articles.js";
import { services } from "../services.js";

export const handler = deleteArticle(services);
