import { unfollow } from "../endpoints/profiles.js";
import { services } from "../services.js";

export const handler = unfollow(services);
