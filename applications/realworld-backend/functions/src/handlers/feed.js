import { feed } from "../endpoints/articles.js";
import { services } from "../services.js";

export const handler = feed(services);
