// The same requests as [workload] of benchmark.toml, for k6: k6 run -e BASE_URL=https://… [-e EXTENSION=jpg] workload.js
import http from "k6/http";
import { check } from "k6";

export const options = { vus: 1, iterations: 10 };

const extension = __ENV.EXTENSION || "png";
const random = () => Math.floor(Math.random() * 2 ** 32);

const register = (name, weight, userId, photo) => ({
  name,
  weight,
  statuses: [202],
  method: "POST",
  path: "/registrations",
  body: () => JSON.stringify({ userId: userId(), photo: `${photo}.${extension}` }),
});

const requests = [
  register("register-1", 3, () => "user-1", "face-1"),
  register("register-2", 2, () => "user-2", "face-2"),
  register("register-3", 2, () => "user-3", "face-3"),
  register("register-duplicate", 1, () => `impostor-${random()}`, "face-1"),
  register("register-no-face", 1, () => `user-${random()}`, "no-face"),
  { name: "user", weight: 3, statuses: [200, 404], method: "GET", path: "/users/user-1", body: () => null },
];
const total = requests.reduce((sum, { weight }) => sum + weight, 0);

function pick() {
  let left = Math.random() * total;
  return requests.find(({ weight }) => (left -= weight) < 0) ?? requests.at(-1);
}

export default function () {
  const { name, statuses, method, path, body } = pick();
  const answer = http.request(method, `${__ENV.BASE_URL}${path}`, body(), {
    headers: { "Content-Type": "application/json" },
    tags: { name },
    responseCallback: http.expectedStatuses(...statuses),
    timeout: "30s",
  });
  check(answer, { [`${name}: status is ${statuses.join(" or ")}`]: (response) => statuses.includes(response.status) });
}
