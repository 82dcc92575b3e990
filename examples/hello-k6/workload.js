// What benchmark.toml of hello-http sends, as a script. When it is sent is not for the script to say:
// sb gives k6 the load. `./sb.js` is written beside this file when it runs, and traces every request.
import { check } from 'k6';
import { http } from './sb.js';

export const options = {
  thresholds: { checks: ['rate>0.99'] },
};

export default function () {
  const answer = http.get(`${__ENV.BASE_URL}/hello`, { tags: { name: 'hello' } });
  check(answer, { 'is greeted': (answer) => answer.status === 200 });
}
