// The same requests as [workload] of benchmark.toml, for k6: k6 run -e BASE_URL=https://… workload.js
// The reader and the articles are made by `setup`, so that it runs on any deployment.
import http from "k6/http";
import { check, fail } from "k6";
import exec from "k6/execution";

export const options = { vus: 1, iterations: 10 };

const json = { "Content-Type": "application/json" };

const AUTHORS = 8;
const ARTICLES = 4;
const TAGS = ["cloud", "music", "travel"];

function asked(path, body, token, status = 201) {
  const headers = token ? { ...json, Authorization: `Token ${token}` } : json;
  const answer = http.post(`${__ENV.BASE_URL}${path}`, JSON.stringify(body), { headers, tags: { name: "setup" } });
  if (answer.status !== status) fail(`${path}: ${answer.status} ${answer.body}`);
  return answer.json();
}

function signUp(name) {
  const username = `${name}-${crypto.randomUUID()}`;
  const account = { email: `${username}@example.org`, password: username };
  return { username, account, token: asked("/users", { user: { username, ...account } }).user.token };
}

// What data/make-items.mjs puts into the tables: a reader who follows half of the authors, their articles, five comments on one of them.
export function setup() {
  const reader = signUp("reader");
  const written = [];
  let first;
  for (let number = 1; number <= AUTHORS; number += 1) {
    const author = signUp(`author-${number}`);
    first ??= author.username;
    for (let part = 1; part <= ARTICLES; part += 1) {
      const tag = TAGS[(number + part) % TAGS.length];
      const article = {
        title: `${author.username} on ${tag}, part ${part}`,
        description: `What to know about ${tag}`,
        body: "A paragraph of some length. ".repeat(40),
        tagList: [tag],
      };
      written.push(asked("/articles", { article }, author.token).article.slug);
    }
    if (number % 2 === 1) asked(`/profiles/${author.username}/follow`, {}, reader.token, 200);
  }
  const [read, discussed, liked] = written;
  for (let n = 1; n <= 5; n += 1) asked(`/articles/${read}/comments`, { comment: { body: `Remark ${n}` } }, reader.token, 200);
  asked(`/articles/${liked}/favorite`, {}, reader.token, 200);
  return { account: reader.account, token: reader.token, author: first, read, discussed, liked };
}

const get = (name, weight, path, signed = false) => ({ name, weight, method: "GET", path, signed, status: 200 });
const send = (name, weight, method, path, body, { signed = true, status = 200 } = {}) => ({
  name,
  weight,
  method,
  path,
  body,
  signed,
  status,
});
const at = (path) => () => path;
const number = () => exec.scenario.iterationInTest + 1;

const requests = [
  get("list-articles", 12, at("/articles?limit=10")),
  get("list-by-tag", 5, at("/articles?limit=10&tag=cloud")),
  get("list-by-author", 3, ({ author }) => `/articles?limit=10&author=${author}`),
  get("article", 12, ({ read }) => `/articles/${read}`),
  get("list-comments", 6, ({ read }) => `/articles/${read}/comments`),
  get("tags", 6, at("/tags")),
  get("profile", 4, ({ author }) => `/profiles/${author}`),
  send("login", 3, "POST", at("/users/login"), ({ account }) => ({ user: account }), { signed: false }),
  get("current-user", 6, at("/user"), true),
  get("feed", 8, at("/articles/feed?limit=10"), true),
  send("follow", 2, "POST", ({ author }) => `/profiles/${author}/follow`),
  send("favorite", 3, "POST", ({ liked }) => `/articles/${liked}/favorite`),
  send(
    "add-comment",
    2,
    "POST",
    ({ discussed }) => `/articles/${discussed}/comments`,
    () => ({ comment: { body: `Remark ${number()}` } }),
  ),
  send(
    "create-article",
    2,
    "POST",
    at("/articles"),
    () => ({ article: { title: `Notes ${number()}`, description: "What was seen", body: crypto.randomUUID(), tagList: ["notes"] } }),
    { status: 201 },
  ),
  send("update-user", 1, "PUT", at("/user"), () => ({ user: { bio: `Reads since ${number()}` } })),
  send(
    "register",
    2,
    "POST",
    at("/users"),
    () => {
      const id = crypto.randomUUID();
      return { user: { username: `u-${id}`, email: `${id}@example.org`, password: id } };
    },
    { signed: false, status: 201 },
  ),
  { name: "write", weight: 2, sequence: write },
];
const total = requests.reduce((sum, { weight }) => sum + weight, 0);

function pick() {
  let left = Math.random() * total;
  return requests.find(({ weight }) => (left -= weight) < 0) ?? requests.at(-1);
}

// The answer, or nothing when it is not what is expected.
function sent({ name, method, path, body, signed, status }, seeded) {
  const answer = http.request(method, `${__ENV.BASE_URL}${path(seeded)}`, body ? JSON.stringify(body(seeded)) : null, {
    headers: { ...(body && json), ...(signed && { Authorization: `Token ${seeded.token}` }) },
    tags: { name },
    timeout: "30s",
  });
  return check(answer, { [`${name}: status is ${status}`]: (response) => response.status === status }) ? answer : null;
}

// A reader logs in, and with the token writes, likes and remarks; after a failure the rest is not sent.
function write({ account }) {
  const token = sent(send("write-login", 0, "POST", at("/users/login"), () => ({ user: account }), { signed: false }))?.json("user.token");
  if (!token) return;
  const article = { title: `Report ${number()}`, description: "What was seen", body: crypto.randomUUID(), tagList: ["reports"] };
  const written = sent(send("write-article", 0, "POST", at("/articles"), () => ({ article }), { status: 201 }), { token });
  const slug = written?.json("article.slug");
  if (!slug) return;
  const remark = () => ({ comment: { body: `Remark ${number()}` } });
  sent(send("write-favorite", 0, "POST", at(`/articles/${slug}/favorite`)), { token }) &&
    sent(send("write-comment", 0, "POST", at(`/articles/${slug}/comments`), remark), { token });
}

export default function (seeded) {
  const picked = pick();
  if (picked.sequence) picked.sequence(seeded);
  else sent(picked, seeded);
}
