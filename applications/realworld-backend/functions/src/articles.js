// Articles, their tags, and whose favourites they are.
//
// Table `articles`, key `key`: the article at `id#ID`; at `slug#SLUG` stands which one it is, for a new title makes a new slug.
//   Index `by-time` (kind, place) and index `by-author` (author, place): `place` is the time and then the id, so that the order is the same everywhere.
// Table `tags`, keys `tag` and `place`: the articles of a tag.
// Table `favorites`, keys `user` and `article`.
// Table `counters`, keys `kind` and `name`: how many articles there are, of an author (`author`), of a tag (`tag`) and in total (`total`).
//   They are counted beside the transaction that writes an article: all writers would meet at the total. A function that dies in between leaves it off by one.
import { randomBytes, randomUUID } from "node:crypto";
import { GetCommand, UpdateCommand } from "@aws-sdk/lib-dynamodb";
import { ConditionFailed, absent, getAll, present, query, setting, transact } from "./dynamo.js";
import { invalid } from "./http.js";

const MOST_TAGS_LISTED = 100;

const byId = (id) => ({ key: `id#${id}` });
const bySlug = (slug) => ({ key: `slug#${slug}` });

/** Words of the title, and something random: two articles may have the same title. */
export function slugOf(title) {
  const words = title
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 80);
  return `${words || "article"}-${randomBytes(4).toString("hex")}`;
}

export function articleStore(documents, { articles: table, tags, favorites, counters }, now = () => new Date()) {
  const get = async (tableName, key) => (await documents.send(new GetCommand({ TableName: tableName, Key: key }))).Item;

  const count = (kind, name, by) =>
    documents.send(
      new UpdateCommand({
        TableName: counters,
        Key: { kind, name },
        UpdateExpression: "ADD #count :by",
        ExpressionAttributeNames: { "#count": "count" },
        ExpressionAttributeValues: { ":by": by },
      }),
    );
  const countArticle = ({ author, tagList }, by) =>
    Promise.all([count("total", "articles", by), count("author", author, by), ...tagList.map((tag) => count("tag", tag, by))]);

  const total = async (names) => {
    const found = await getAll(documents, counters, names);
    return found.reduce((sum, item) => sum + item.count, 0);
  };

  /** In the order of the ids, without those that are gone. */
  const inOrder = async (ids) => {
    const found = new Map((await getAll(documents, table, ids.map(byId))).map((article) => [article.id, article]));
    return ids.map((id) => found.get(id)).filter(Boolean);
  };

  const newestFirst = (left, right) => (left.place < right.place ? 1 : -1);
  const tagItems = ({ tagList, place }) => tagList.map((tag) => ({ tag, place }));

  return {
    async get(slug) {
      const pointer = await get(table, bySlug(slug));
      return pointer && get(table, byId(pointer.id));
    },

    async create(author, { title, description, body, tagList = [] }) {
      const id = randomUUID();
      const createdAt = now().toISOString();
      const article = {
        id,
        slug: slugOf(title),
        title,
        description,
        body,
        tagList,
        author,
        kind: "article",
        place: `${createdAt}#${id}`,
        createdAt,
        updatedAt: createdAt,
        favoritesCount: 0,
        lastComment: 0,
      };
      await transact(documents, [
        { Put: { TableName: table, Item: { ...bySlug(article.slug), id }, ...absent("key") } },
        { Put: { TableName: table, Item: { ...byId(id), ...article }, ...absent("key") } },
        ...tagItems(article).map((item) => ({ Put: { TableName: tags, Item: { ...item, article: id } } })),
      ]);
      await countArticle(article, 1);
      return article;
    },

    async update(article, changes) {
      if (Object.keys(changes).length === 0) return article;
      const next = { ...changes, updatedAt: now().toISOString() };
      const parts = [];
      if (changes.title !== undefined && changes.title !== article.title) {
        next.slug = slugOf(changes.title);
        parts.push(
          { Put: { TableName: table, Item: { ...bySlug(next.slug), id: article.id }, ...absent("key") } },
          { Delete: { TableName: table, Key: bySlug(article.slug) } },
        );
      }
      const set = setting(next);
      parts.push({
        Update: {
          TableName: table,
          Key: byId(article.id),
          ...set,
          // Also when it has been deleted meanwhile: an update would bring half of it back.
          ConditionExpression: "#was_slug = :was_slug",
          ExpressionAttributeNames: { ...set.ExpressionAttributeNames, "#was_slug": "slug" },
          ExpressionAttributeValues: { ...set.ExpressionAttributeValues, ":was_slug": article.slug },
        },
      });
      try {
        await transact(documents, parts);
      } catch (error) {
        if (error instanceof ConditionFailed) throw invalid({ article: ["has been changed meanwhile"] });
        throw error;
      }
      return { ...article, ...next };
    },

    /** False when somebody else was first. */
    async remove(article) {
      try {
        await transact(documents, [
          { Delete: { TableName: table, Key: byId(article.id), ...present("key") } },
          { Delete: { TableName: table, Key: bySlug(article.slug) } },
          ...tagItems(article).map((Key) => ({ Delete: { TableName: tags, Key } })),
        ]);
      } catch (error) {
        if (error instanceof ConditionFailed) return false;
        throw error;
      }
      await countArticle(article, -1);
      return true;
    },

    /** The favourite and its count change together or not at all; a favourite is one only once. */
    async favorite(user, article) {
      try {
        await transact(documents, [
          { Put: { TableName: favorites, Item: { user, article: article.id }, ...absent("user") } },
          { Update: { TableName: table, Key: byId(article.id), ...counting(1) } },
        ]);
        return { ...article, favoritesCount: article.favoritesCount + 1 };
      } catch (error) {
        if (error instanceof ConditionFailed) return article;
        throw error;
      }
    },
    async unfavorite(user, article) {
      try {
        await transact(documents, [
          { Delete: { TableName: favorites, Key: { user, article: article.id }, ...present("user") } },
          { Update: { TableName: table, Key: byId(article.id), ...counting(-1) } },
        ]);
        return { ...article, favoritesCount: article.favoritesCount - 1 };
      } catch (error) {
        if (error instanceof ConditionFailed) return article;
        throw error;
      }
    },
    /** Which of the articles are the user's favourites, as a set of ids. */
    async favoritesAmong(user, ids) {
      if (!user) return new Set();
      const found = await getAll(
        documents,
        favorites,
        ids.map((article) => ({ user, article })),
      );
      return new Set(found.map(({ article }) => article));
    },

    /** Newest first: `{articles, count}`. `author` and `favoritedBy` are ids of users. */
    async list({ tag, author, favoritedBy, limit, offset }) {
      const enough = offset + limit;
      if (favoritedBy || (author && tag)) {
        // The smaller set is read whole, and what does not belong is left out.
        const candidates = favoritedBy
          ? await inOrder((await query(documents, { table: favorites, key: { user: favoritedBy } })).map(({ article }) => article))
          : await query(documents, { table, index: "by-author", key: { author } });
        const wanted = candidates.filter((article) => (!author || article.author === author) && (!tag || article.tagList.includes(tag)));
        return { articles: wanted.sort(newestFirst).slice(offset, enough), count: wanted.length };
      }
      if (tag) {
        const [items, count] = await Promise.all([
          query(documents, { table: tags, key: { tag }, newestFirst: true, limit: enough }),
          total([{ kind: "tag", name: tag }]),
        ]);
        return { articles: await inOrder(items.slice(offset).map(({ article }) => article)), count };
      }
      const [index, key, counter] = author
        ? ["by-author", { author }, { kind: "author", name: author }]
        : ["by-time", { kind: "article" }, { kind: "total", name: "articles" }];
      const [items, count] = await Promise.all([
        query(documents, { table, index, key, newestFirst: true, limit: enough }),
        total([counter]),
      ]);
      return { articles: items.slice(offset), count };
    },

    /** The newest of several authors, merged when they are read: following is cheap, and so is writing. */
    async feed(authors, { limit, offset }) {
      const enough = offset + limit;
      const [lists, count] = await Promise.all([
        Promise.all(
          authors.map((author) => query(documents, { table, index: "by-author", key: { author }, newestFirst: true, limit: enough })),
        ),
        total(authors.map((name) => ({ kind: "author", name }))),
      ]);
      return { articles: lists.flat().sort(newestFirst).slice(offset, enough), count };
    },

    /** The most used ones first. */
    async tags() {
      const items = await query(documents, { table: counters, key: { kind: "tag" } });
      return items
        .filter((item) => item.count > 0)
        .sort((left, right) => right.count - left.count || (left.name < right.name ? -1 : 1))
        .slice(0, MOST_TAGS_LISTED)
        .map(({ name }) => name);
    },
  };
}

const counting = (by) => ({
  UpdateExpression: "ADD #count :by",
  ConditionExpression: "attribute_exists(#key)",
  ExpressionAttributeNames: { "#count": "favoritesCount", "#key": "key" },
  ExpressionAttributeValues: { ":by": by },
});
