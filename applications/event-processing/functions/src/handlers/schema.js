// Called once by the deployment: makes the table and its indexes where they are missing.
import { storeOf } from "../database.js";

const store = storeOf(process.env);

export const handler = () => store.createSchema();
