// Articles: reading, writing, favourites, tags.
import { check, page } from "../checks.js";
import { endpoint, forbidden, notFound } from "../http.js";

/** An author who is gone leaves the articles behind. */
const GONE = { username: "", bio: null, image: null, following: false };

export async function existing({ articles }, { slug = "" }) {
  const article = await articles.get(slug);
  if (!article) throw notFound("article");
  return article;
}

async function ownArticle(services, viewer, path) {
  const article = await existing(services, path);
  if (article.author !== viewer) throw forbidden("article");
  return article;
}

async function shown({ users, articles: store, subsegment }, articles, viewer) {
  return subsegment("authors-and-favorites", { articles: articles.length }, async () => {
    const [authors, favorites] = await Promise.all([
      users.profiles(
        articles.map(({ author }) => author),
        viewer,
      ),
      store.favoritesAmong(
        viewer,
        articles.map(({ id }) => id),
      ),
    ]);
    return articles.map(({ id, slug, title, description, body, tagList, createdAt, updatedAt, favoritesCount, author }) => ({
      slug,
      title,
      description,
      body,
      tagList,
      createdAt,
      updatedAt,
      favorited: favorites.has(id),
      favoritesCount,
      author: authors.get(author) ?? GONE,
    }));
  });
}

const one = async (services, article, viewer) => ({ article: (await shown(services, [article], viewer))[0] });

/** Lists come without the articles' bodies. */
const many = async (services, { articles, count }, viewer) => ({
  articles: (await shown(services, articles, viewer)).map(({ body, ...article }) => article),
  articlesCount: count,
});

const NOTHING = { articles: [], count: 0 };

export const listArticles = (services) =>
  endpoint("optional", services.tokens, async ({ viewer, query }) => {
    const wanted = page(query);
    const idOf = async (username) => username && (await services.users.byName(username))?.id;
    const [author, favoritedBy] = await Promise.all([idOf(query.author), idOf(query.favorited)]);
    const unknown = (query.author !== undefined && !author) || (query.favorited !== undefined && !favoritedBy);
    const found = unknown
      ? NOTHING
      : await services.subsegment("list", wanted, () => services.articles.list({ tag: query.tag, author, favoritedBy, ...wanted }));
    return { body: await many(services, found, viewer) };
  });

export const feed = (services) =>
  endpoint("private", services.tokens, async ({ viewer, query }) => {
    const wanted = page(query);
    const authors = await services.users.followedBy(viewer);
    const found = await services.subsegment("feed", { authors: authors.length, ...wanted }, () => services.articles.feed(authors, wanted));
    return { body: await many(services, found, viewer) };
  });

export const article = (services) =>
  endpoint("optional", services.tokens, async ({ viewer, path }) => ({
    body: await one(services, await existing(services, path), viewer),
  }));

export const createArticle = (services) =>
  endpoint("private", services.tokens, async ({ viewer, body }) => {
    const wanted = check(body(), "article", {
      required: { title: "title", description: "description", body: "body" },
      optional: { tagList: "tagList" },
    });
    return { status: 201, body: await one(services, await services.articles.create(viewer, wanted), viewer) };
  });

export const updateArticle = (services) =>
  endpoint("private", services.tokens, async ({ viewer, path, body }) => {
    const changes = check(body(), "article", { optional: { title: "title", description: "description", body: "body" } });
    const before = await ownArticle(services, viewer, path);
    return { body: await one(services, await services.articles.update(before, changes), viewer) };
  });

export const deleteArticle = (services) =>
  endpoint("private", services.tokens, async ({ viewer, path }) => {
    const gone = await ownArticle(services, viewer, path);
    if (!(await services.articles.remove(gone))) throw notFound("article");
    // Others' favourites of it stay, and are passed over when they are read.
    await services.comments.removeAll(gone);
    return { body: {} };
  });

export const favorite = (services) =>
  endpoint("private", services.tokens, async ({ viewer, path }) => {
    const changed = await services.articles.favorite(viewer, await existing(services, path));
    return { body: await one(services, changed, viewer) };
  });

export const unfavorite = (services) =>
  endpoint("private", services.tokens, async ({ viewer, path }) => {
    const changed = await services.articles.unfavorite(viewer, await existing(services, path));
    return { body: await one(services, changed, viewer) };
  });

export const tags = (services) => endpoint("public", services.tokens, async () => ({ body: { tags: await services.articles.tags() } }));
