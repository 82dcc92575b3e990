// Comments of an article.
import { check } from "../checks.js";
import { endpoint, forbidden, notFound } from "../http.js";
import { existing } from "./articles.js";

async function shown({ users }, comments, viewer) {
  const authors = await users.profiles(
    comments.map(({ author }) => author),
    viewer,
  );
  return comments.map(({ id, createdAt, updatedAt, body, author }) => ({ id, createdAt, updatedAt, body, author: authors.get(author) }));
}

export const listComments = (services) =>
  endpoint("optional", services.tokens, async ({ viewer, path }) => {
    const comments = await services.comments.list(await existing(services, path));
    return { body: { comments: await shown(services, comments, viewer) } };
  });

export const addComment = (services) =>
  endpoint("private", services.tokens, async ({ viewer, path, body }) => {
    const wanted = check(body(), "comment", { required: { body: "comment" } });
    const comment = await services.comments.add(await existing(services, path), viewer, wanted.body);
    return { body: { comment: (await shown(services, [comment], viewer))[0] } };
  });

export const deleteComment = (services) =>
  endpoint("private", services.tokens, async ({ viewer, path }) => {
    const article = await existing(services, path);
    const id = /^\d{1,15}$/.test(path.id ?? "") ? Number(path.id) : undefined;
    const comment = id === undefined ? undefined : await services.comments.get(article, id);
    if (!comment) throw notFound("comment");
    if (comment.author !== viewer) throw forbidden("comment");
    await services.comments.remove(article, id);
    return { body: {} };
  });
