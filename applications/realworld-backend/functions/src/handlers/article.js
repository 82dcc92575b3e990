import { article } from "../endpoints/articles.js";
import { services } from "../services.js";

export const handler = article(services);
