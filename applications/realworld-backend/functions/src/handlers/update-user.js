import { updateUser } from "../endpoints/users.js";
import { services } from "../services.js";

export const handler = updateUser(services);
