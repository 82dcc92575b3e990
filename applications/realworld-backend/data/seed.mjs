// Fills an empty deployment through its own API, so that reading finds something: authors, articles with tags, a reader who follows and likes.
// Prints what the workload needs: the reader's token, and names of things that are there. Run again, it adds articles and remarks.
//   BASE_URL=https://… node seed.mjs
const BASE_URL = process.env.BASE_URL;
const AUTHORS = 8;
const ARTICLES = 4;
const TAGS = ["cloud", "latency", "tracing", "queues", "storage", "cost"];
const ATTEMPTS = 4;

async function call(method, path, { token, body, refusals = [] } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    let answer;
    try {
      answer = await fetch(`${BASE_URL}${path}`, {
        method,
        headers: { "content-type": "application/json", ...(token && { authorization: `Token ${token}` }) },
        body: body && JSON.stringify(body),
      });
      const text = await answer.text();
      if (answer.ok) return JSON.parse(text);
      if (refusals.includes(answer.status)) return undefined;
      if (answer.status < 500 && answer.status !== 429) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
      if (attempt === ATTEMPTS) throw new Error(`${method} ${path}: ${answer.status} ${text}, ${ATTEMPTS} times`);
    } catch (error) {
      if (answer || attempt === ATTEMPTS) throw error;
    }
    await new Promise((done) => setTimeout(done, 500 * 2 ** attempt));
  }
}

async function signIn(username) {
  const user = { username, email: `${username}@example.org`, password: `the password of ${username}` };
  const { user: known } =
    (await call("POST", "/users", { body: { user }, refusals: [422] })) ?? (await call("POST", "/users/login", { body: { user } }));
  return known.token;
}

if (!BASE_URL) throw new Error("set BASE_URL");
const token = await signIn("reader");
const slugs = [];
for (let author = 1; author <= AUTHORS; author += 1) {
  const username = `author-${author}`;
  const own = await signIn(username);
  for (let n = 1; n <= ARTICLES; n += 1) {
    const tagList = [TAGS[(author + n) % TAGS.length], TAGS[(author * n) % TAGS.length]];
    const article = {
      title: `${username} on ${tagList[0]}, part ${n}`,
      description: `What to know about ${tagList[0]}`,
      body: "A paragraph of some length. ".repeat(40),
      tagList,
    };
    slugs.push((await call("POST", "/articles", { token: own, body: { article } })).article.slug);
  }
  if (author % 2 === 1) await call("POST", `/profiles/${username}/follow`, { token });
}
const [read, discussed, liked] = slugs;
for (let n = 1; n <= 5; n += 1) await call("POST", `/articles/${read}/comments`, { token, body: { comment: { body: `Remark ${n}` } } });
await call("POST", `/articles/${liked}/favorite`, { token });
console.log(
  JSON.stringify({ token, email: "reader@example.org", password: "the password of reader", read, discussed, liked, tag: TAGS[0] }),
);
