import { listArticles } from "../endpoints/articles.js";
import { services } from "../services.js";

export const handler = listArticles(services);
