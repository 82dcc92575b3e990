// Input: every key is looked at, and everything that is wrong is said at once.
import { invalid } from "./http.js";

const BLANK = "can't be blank";

const texts =
  ({ longest, pattern, said, trim = true, blank = false, least = 0 }) =>
  (value) => {
    if (typeof value !== "string") return blank && value === null ? { value } : { wrong: BLANK };
    const text = trim ? value.trim() : value;
    if (text === "" && !blank) return { wrong: BLANK };
    if (text.length > longest) return { wrong: `is too long (maximum is ${longest} characters)` };
    if (text.length < least) return { wrong: `is too short (minimum is ${least} characters)` };
    if (pattern && !pattern.test(text)) return { wrong: said };
    return { value: text };
  };

const MOST_TAGS = 20;
const LONGEST_TAG = 50;

function tags(value) {
  if (!Array.isArray(value) || value.some((tag) => typeof tag !== "string" || tag.trim() === "" || tag.length > LONGEST_TAG)) {
    return { wrong: `must be a list of texts of 1 to ${LONGEST_TAG} characters` };
  }
  const unique = [...new Set(value.map((tag) => tag.trim()))].sort();
  return unique.length > MOST_TAGS ? { wrong: `are too many (maximum is ${MOST_TAGS})` } : { value: unique };
}

const FIELDS = {
  username: texts({ longest: 64, pattern: /^[\w.-]+$/, said: "may hold letters, digits, _ . and - only" }),
  email: texts({ longest: 254, pattern: /^[^\s@]+@[^\s@]+$/, said: "is invalid" }),
  password: texts({ longest: 128, least: 8, trim: false }),
  // To log in: a password that is too short is a wrong one, and not more.
  presented: texts({ longest: 128, trim: false }),
  bio: texts({ longest: 1_000, blank: true }),
  image: texts({ longest: 2_000, blank: true, pattern: /^(https?:\/\/\S+)?$/, said: "must be a URL" }),
  title: texts({ longest: 200 }),
  description: texts({ longest: 1_000 }),
  body: texts({ longest: 100_000 }),
  comment: texts({ longest: 10_000 }),
  tagList: tags,
};

/**
 * The table below `name` of a request's body. `required` and `optional` map its keys to kinds of fields; what is optional and missing is left out,
 * keys that nobody asked for are ignored.
 */
export function check(input, name, { required = {}, optional = {} }) {
  const table = input?.[name];
  if (table === null || typeof table !== "object" || Array.isArray(table)) throw invalid({ [name]: [BLANK] });
  const errors = {};
  const values = {};
  for (const [key, kind] of [...Object.entries(required), ...Object.entries(optional)]) {
    if (table[key] === undefined && key in optional) continue;
    const { wrong, value } = FIELDS[kind](table[key]);
    if (wrong) errors[key] = [wrong];
    else values[key] = value;
  }
  if (Object.keys(errors).length > 0) throw invalid(errors);
  return values;
}

const whole = (query, key, fallback, least, most) => {
  const text = query[key];
  if (text === undefined) return fallback;
  const value = /^\d{1,6}$/.test(text) ? Number(text) : -1;
  if (value < least || value > most) throw invalid({ [key]: [`must be a whole number from ${least} to ${most}`] });
  return value;
};

export const page = (query) => ({ limit: whole(query, "limit", 20, 1, 100), offset: whole(query, "offset", 0, 0, 10_000) });
