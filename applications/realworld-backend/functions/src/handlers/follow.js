import { follow } from "../endpoints/profiles.js";
import { services } from "../services.js";

export const handler = follow(services);
