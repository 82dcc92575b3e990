import { tags } from "../endpoints/articles.js";
import { services } from "../services.js";

export const handler = tags(services);
