import { updateArticle } from "../endpoints/articles.js";
import { services } from "../services.js";

export const handler = updateArticle(services);
