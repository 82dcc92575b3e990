// The stores over the tables whose names begin with `prefix`.
import { articleStore } from "./articles.js";
import { commentStore } from "./comments.js";
import { userStore } from "./users.js";

export function stores(documents, prefix, now) {
  const tables = Object.fromEntries(
    ["users", "follows", "articles", "tags", "favorites", "counters", "comments"].map((name) => [name, `${prefix}${name}`]),
  );
  return {
    users: userStore(documents, tables),
    articles: articleStore(documents, tables, now),
    comments: commentStore(documents, tables, now),
  };
}
