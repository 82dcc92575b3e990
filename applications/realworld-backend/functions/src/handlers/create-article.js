import { createArticle } from "../endpoints/articles.js";
import { services } from "../services.js";

export const handler = createArticle(services);
