// The whole API over a DynamoDB, for tests: every endpoint by its method and path, as the template wires them.
import * as articles from "./src/endpoints/articles.js";
import * as comments from "./src/endpoints/comments.js";
import * as profiles from "./src/endpoints/profiles.js";
import * as users from "./src/endpoints/users.js";
import { noSubsegment } from "./fakes.js";
import { stores } from "./src/stores.js";
import { tokenMaker } from "./src/tokens.js";

export const ROUTES = {
  "POST /users": users.register,
  "POST /users/login": users.login,
  "GET /user": users.currentUser,
  "PUT /user": users.updateUser,
  "GET /profiles/{username}": profiles.profile,
  "POST /profiles/{username}/follow": profiles.follow,
  "DELETE /profiles/{username}/follow": profiles.unfollow,
  "GET /articles": articles.listArticles,
  "GET /articles/feed": articles.feed,
  "POST /articles": articles.createArticle,
  "GET /articles/{slug}": articles.article,
  "PUT /articles/{slug}": articles.updateArticle,
  "DELETE /articles/{slug}": articles.deleteArticle,
  "POST /articles/{slug}/favorite": articles.favorite,
  "DELETE /articles/{slug}/favorite": articles.unfavorite,
  "GET /articles/{slug}/comments": comments.listComments,
  "POST /articles/{slug}/comments": comments.addComment,
  "DELETE /articles/{slug}/comments/{id}": comments.deleteComment,
  "GET /tags": articles.tags,
};

const SECRET = "a secret of the tests, thirty-two bytes long";

/** `request("GET", "/articles?limit=1", {token, body})` gives `{status, body}`. */
export function application(documents, { prefix = "", now } = {}) {
  // Every article has a moment of its own, so that their order is certain.
  let clock = Date.parse("2026-02-01T00:00:00Z");
  const services = {
    ...stores(documents, prefix, now ?? (() => new Date((clock += 1000)))),
    tokens: tokenMaker(SECRET),
    subsegment: noSubsegment,
  };
  const routes = Object.entries(ROUTES).map(([route, make]) => {
    const [method, template] = route.split(" ");
    return { method, pattern: new RegExp(`^${template.replace(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`), handler: make(services) };
  });
  return async (method, target, { token, body, raw } = {}) => {
    const url = new URL(target, "http://api");
    const path = decodeURIComponent(url.pathname);
    // As with API Gateway, a fixed path goes before one with a variable.
    const { pattern, handler } = routes
      .filter((route) => route.method === method && route.pattern.test(path))
      .sort((left, right) => left.pattern.source.split("(").length - right.pattern.source.split("(").length)[0];
    const query = Object.fromEntries(url.searchParams);
    const answer = await handler({
      headers: token ? { Authorization: `Token ${token}` } : null,
      pathParameters: { ...pattern.exec(path).groups },
      queryStringParameters: Object.keys(query).length > 0 ? query : null,
      body: raw ?? (body === undefined ? null : JSON.stringify(body)),
      isBase64Encoded: false,
    });
    return { status: answer.statusCode, body: JSON.parse(answer.body) };
  };
}
