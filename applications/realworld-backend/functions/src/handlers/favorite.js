import { favorite } from "../endpoints/articles.js";
import { services } from "../services.js";

export const handler = favorite(services);
