import { register } from "../endpoints/users.js";
import { services } from "../services.js";

export const handler = register(services);
