import { login } from "../endpoints/users.js";
import { services } from "../services.js";

export const handler = login(services);
