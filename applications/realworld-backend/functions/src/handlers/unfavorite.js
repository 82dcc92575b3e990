import { unfavorite } from "../endpoints/articles.js";
import { services } from "../services.js";

export const handler = unfavorite(services);
