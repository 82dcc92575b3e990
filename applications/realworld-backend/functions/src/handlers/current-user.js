import { currentUser } from "../endpoints/users.js";
import { services } from "../services.js";

export const handler = currentUser(services);
