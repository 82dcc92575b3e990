import { profile } from "../endpoints/profiles.js";
import { services } from "../services.js";

export const handler = profile(services);
