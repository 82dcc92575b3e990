"use strict";
// The page of `sb ui`. What the server says is data: it is put into the page as text, never as markup.

const MARKS = {
  w: ["waiting", "·"], r: ["running", "▸"], t: ["to be tried again", "↻"], s: ["succeeded", "✓"],
  i: ["of an invalid trial", "!"], f: ["failed", "✗"], k: ["skipped", "–"], c: ["stopped", "■"],
  b: ["begun", "◐"],
};
const ACTIVITIES = {
  orchestration: "orchestration", trigger: "trigger", container_initialization: "container initialization",
  runtime_initialization: "runtime initialization", computation: "computation", queing: "queueing", overhead: "overhead",
  external_service: "external service", unclassified: "unclassified",
};
const INLINE = 60;      // up to so many deployments are shown with all of their steps
const POINTS = 1200;    // of a load's course

const $ = (id) => document.getElementById(id);
const element = (name, properties = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("aria-")) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
};
const svg = (name, attributes = {}, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
const ask = async (path) => {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.text()).trim() || answer.statusText);
  return answer.json();
};

let run = null;           // the id of the run that is shown
let events = null;        // the line to the server
let graph = null;         // names, once
let marks = [];           // one letter per step
let about = null;         // the rest of the state
let drift = 0;            // the server's clock less ours, in milliseconds
let stepsOf = [];         // per deployment: indices of its steps
let buttons = new Map();  // step -> its buttons in the page
let tiles = [];           // deployment -> its button in the large grid
let rows = [];            // deployment -> what is hidden by the filter
let phases = [];          // application -> where its phases are counted in the large grid
let listed = { key: "", items: [] };  // the running steps as they are shown
let courses = new Map();  // step of a load -> its points
let chosen = null;        // deployment that is shown with its steps
let open = null;          // { step, attempt }: whose log is shown
let drawn = null;         // { step, id }: the trace that is drawn
let traced = "";          // the steps with traces, as last listed
let measured = "";        // the steps that the results are made of, as last asked for
let asking = null;        // until the results are asked for

const idOf = (step) => `${graph.deployments[graph.steps[step][0]][1]}/${graph.steps[step][2]}`;
const ofRun = (page) => ask(`run/${encodeURIComponent(run)}/${page}`);
const now = () => Date.now() + drift;

// `1 trace`, `2 traces`.
function counted(count, what) {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function elapsed(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const pad = (number) => String(number).padStart(2, "0");
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${pad(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h ${pad(Math.floor(seconds / 60) % 60)}m`;
}
function duration(us) {
  if (us === null || us === undefined) return "–";
  if (us < 1e6) return `${(us / 1e3).toFixed(us < 1e4 ? 2 : 1)} ms`;
  return `${(us / 1e6).toFixed(2)} s`;
}

// ---- the graph ----

function paint(button, letter, name) {
  const [word, sign] = MARKS[letter] || ["unknown", "?"];
  button.className = `m ${letter}`;
  button.textContent = sign;
  button.title = `${name}: ${word}`;
  button.setAttribute("aria-label", button.title);
}
function stepButton(step) {
  const button = element("button", { type: "button" });
  button.addEventListener("click", () => showStep(step));
  paint(button, marks[step], idOf(step));
  if (!buttons.has(step)) buttons.set(step, new Set());
  buttons.get(step).add(button);
  return button;
}
function stepRow(deployment, withKey) {
  const cells = graph.columns.map(() => element("div", { class: "cells" }));
  for (const step of stepsOf[deployment]) cells[graph.steps[step][1]].append(stepButton(step));
  const row = element("tr");
  if (withKey) row.append(element("td", { class: "key", textContent: graph.deployments[deployment][1] }));
  cells.forEach((cell, column) => {
    row.append(element("td", {}, element("span", { class: "tiny", textContent: graph.columns[column] }), cell));
  });
  return row;
}
function stepTable(deployments, withKey) {
  const head = element("tr");
  if (withKey) head.append(element("th", { textContent: "deployment", scope: "col" }));
  for (const column of graph.columns) head.append(element("th", { textContent: column, scope: "col" }));
  const body = element("tbody");
  for (const deployment of deployments) {
    const row = stepRow(deployment, withKey);
    if (withKey) rows[deployment] = row;
    body.append(row);
  }
  return element("table", {}, element("thead", {}, head), body);
}
// A deployment in one letter: what needs attention first.
function summary(deployment) {
  const seen = new Set(stepsOf[deployment].map((step) => marks[step]));
  for (const letter of "fcrti") if (seen.has(letter)) return letter;
  if (!seen.has("w")) return seen.has("s") ? "s" : "k";
  return seen.size > 1 ? "b" : "w";
}
const isBad = (deployment) => stepsOf[deployment].some((step) => "fci".includes(marks[step]));

function drawGraph() {
  const place = $("graph");
  place.replaceChildren();
  buttons = new Map();
  tiles = [];
  rows = [];
  phases = [];
  const all = graph.deployments.map((_, index) => index);
  if (all.length <= INLINE) {
    place.append(stepTable(all, true));
  } else {
    graph.applications.forEach((name, application) => {
      const mine = all.filter((deployment) => graph.deployments[deployment][0] === application);
      const cells = element("div", { class: "cells small" });
      for (const deployment of mine) {
        const tile = element("button", { type: "button" });
        tile.addEventListener("click", () => choose(deployment));
        tiles[deployment] = rows[deployment] = tile;
        paint(tile, summary(deployment), graph.deployments[deployment][1]);
        cells.append(tile);
      }
      const head = element("h3", {}, element("span", { textContent: `${name}: ${counted(mine.length, "deployment")}` }),
        phases[application] = element("span"));
      place.append(element("div", { class: "application" }, head, cells));
    });
  }
  const letters = all.length <= INLINE ? "wrstfikc" : "wbrstfikc";
  $("legend").replaceChildren(...[...letters].map((letter) => {
    const sign = element("span", { class: `m ${letter}`, textContent: MARKS[letter][1], "aria-hidden": "true" });
    return element("span", { class: "small" }, sign, MARKS[letter][0]);
  }));
  place.classList.toggle("large", all.length > INLINE);
  drawPhases();
  filter();
}
function drawPhases() {
  if (phases.length === 0) return;
  const counts = phases.map(() => graph.columns.map(() => [0, 0]));
  graph.steps.forEach(([deployment, column], step) => {
    const count = counts[graph.deployments[deployment][0]][column];
    count[0] += "sifkc".includes(marks[step]) ? 1 : 0;
    count[1] += 1;
  });
  counts.forEach((columns, application) => {
    const words = columns.map(([ended, all], column) => all ? `${graph.columns[column]} ${ended}/${all}` : null);
    phases[application].textContent = words.filter(Boolean).join(" · ");
  });
}
function filter() {
  const only = $("only-bad").checked;
  rows.forEach((row, deployment) => { row.hidden = only && !isBad(deployment); });
}
function choose(deployment) {
  chosen = deployment;
  for (const tile of tiles) if (tile) tile.setAttribute("aria-pressed", String(tile === tiles[deployment]));
  $("chosen").hidden = deployment === null;
  if (deployment === null) return;
  $("chosen-title").textContent = graph.deployments[deployment][1];
  $("chosen-steps").replaceChildren(stepTable([deployment], false));
  $("chosen").scrollIntoView({ block: "nearest" });
}
function touch(steps) {
  const deployments = new Set();
  for (const step of steps) {
    deployments.add(graph.steps[step][0]);
    const mine = buttons.get(step) || new Set();
    for (const button of mine) {
      if (button.isConnected) paint(button, marks[step], idOf(step));
      else mine.delete(button);
    }
  }
  for (const deployment of deployments) {
    if (tiles[deployment]) paint(tiles[deployment], summary(deployment), graph.deployments[deployment][1]);
  }
  drawPhases();
  if (chosen !== null && tiles[chosen]) tiles[chosen].setAttribute("aria-pressed", "true");
  if ($("only-bad").checked) filter();
}

// ---- head and running steps ----

function drawHead() {
  const counts = {};
  for (const mark of marks) counts[mark] = (counts[mark] || 0) + 1;
  const ended = ["s", "i", "f", "k", "c"].reduce((sum, letter) => sum + (counts[letter] || 0), 0);
  const bad = (counts.f || 0) + (counts.c || 0) + (counts.i || 0);
  const state = $("state");
  let word = about.state;
  let kind = { running: "running", left: "warn" }[about.state] || "";
  if (about.state === "ended") {
    word = about.measurement === "nothing to do" ? "ended" : about.measurement;
    kind = word === "complete" || word === "ended" ? "done" : "failed";
    if (about.cleanup !== "complete" && about.cleanup !== "nothing to do") kind = "failed";
  } else if (about.stopping) {
    word = "stopping";
    kind = "warn";
  } else if (about.waits_for) {
    word = "waiting";
    kind = "warn";
  }
  state.textContent = word;
  state.className = `pill ${kind}`;
  $("report").hidden = about.state !== "ended";
  $("report").href = `run/${encodeURIComponent(run)}/report`;
  // While the run goes on, its loads come first.
  document.querySelector("main").className = about.state === "running" ? "live" : "";
  const facts = [];
  facts.push(elapsed((about.state === "running" ? now() : about.last_ms) - about.started_ms));
  if (about.state === "running" && about.ends_ms > now()) facts.push(`about ${elapsed(about.ends_ms - now())} left`);
  if (about.state === "ended") facts.push(`cleanup ${about.cleanup}`);
  if (about.waits_for) facts.push(`waiting ${about.waits_for}`);
  if (about.runner) facts.push(`process ${about.runner}`);
  if (about.stopping && about.state !== "ended") facts.push(about.stopping);
  if (about.state === "left") facts.push(`its runner is gone: sb resume ${graph.run} goes on`);
  $("facts").textContent = facts.join(" · ");
  const overall = $("overall");
  overall.max = Math.max(1, marks.length);
  overall.value = ended;
  overall.className = bad ? "failed" : "";
  const words = [`${ended} of ${counted(marks.length, "step")} ended`];
  for (const letter of "rtfcik") if (counts[letter]) words.push(`${counts[letter]} ${MARKS[letter][0]}`);
  $("counts").textContent = words.join(", ");
  document.title = `${about.state === "running" ? `${Math.floor(100 * ended / Math.max(1, marks.length))} % ` : ""}${graph.plan} – sb`;
}
function drawRunning() {
  $("running-section").hidden = about.running.length === 0;
  const rest = about.running_count - about.running.length;
  const key = JSON.stringify([about.running.map((running) => [running.step, running.attempt]), rest]);
  if (key !== listed.key) {
    listed = { key, items: about.running.map(runningItem) };
    const items = listed.items.map((item) => item.line);
    if (rest > 0) items.push(element("li", { class: "faint", textContent: `and ${rest} more` }));
    $("running").replaceChildren(...items);
  }
  // The lines stay: who is about to press a button must not lose it.
  about.running.forEach((running, index) => {
    const { time, words } = listed.items[index];
    time.textContent = running.started_ms === null ? "" : elapsed(now() - running.started_ms);
    words.textContent = running.words || "";
  });
}
function runningItem(running) {
  const name = element("button", { type: "button", class: "link", textContent: idOf(running.step) });
  name.addEventListener("click", () => showStep(running.step));
  const again = running.attempt > 1 ? ` (attempt ${running.attempt})` : "";
  const action = element("span", { class: "words", textContent: `${graph.steps[running.step][3]}${again}` });
  const time = element("span", { class: "time" });
  const words = element("span", { class: "words" });
  return { time, words, line: element("li", {}, time, name, action, words) };
}

// ---- load ----

function drawLoads() {
  const place = $("loads");
  const steps = [...courses.keys()].sort((left, right) => Number(isRunning(right)) - Number(isRunning(left)) || right - left);
  place.hidden = steps.length === 0;
  place.replaceChildren(...steps.map((step) => {
    const drawing = drawLoad(step);
    drawing.querySelector("button").addEventListener("click", () => showStep(step));
    return drawing;
  }));
}
const isRunning = (step) => marks[step] === "r";
function drawLoad(step) {
  return element("div", { class: "load" },
    element("h2", {}, element("button", { type: "button", class: "link", textContent: `Load ${idOf(step)}${isRunning(step) ? "" : " (ended)"}` })),
    ...loadFigures(courses.get(step)));
}
function loadFigures(points) {
  const [seconds, planned, sent, answered, failed, dropped, p50, p95, p99] = points[points.length - 1];
  const milliseconds = (value) => value === null ? "–" : `${value < 100 ? value.toFixed(1) : Math.round(value)} ms`;
  const figure = (name, value, bad) => element("div", { class: bad ? "bad" : "" },
    element("b", { textContent: value }), element("span", { textContent: name }));
  const rates = [[], [], []];
  points.forEach((after, index) => {
    // Before the first point nothing had been sent.
    const before = index ? points[index - 1] : after.map(() => 0);
    const passed = after[0] - before[0];
    if (passed <= 0) return;
    [2, 3, 4].forEach((field, line) => rates[line].push([after[0], Math.max(0, after[field] - before[field]) / passed]));
  });
  const latencies = [6, 7, 8].map((field) => points.filter((point) => point[field] !== null).map((point) => [point[0], point[field]]));
  return [
    element("div", { class: "figures" },
      figure("planned", planned ?? "–"), figure("sent", sent), figure("answered", answered), figure("failed", failed, failed > 0),
      figure("dropped", dropped, dropped > 0), figure("p50", milliseconds(p50)), figure("p95", milliseconds(p95)),
      figure("p99", milliseconds(p99)), figure("after", elapsed(seconds * 1000))),
    element("div", { class: "charts" },
      chart("requests per second", ["sent", "answered", "failed"], rates),
      chart("latency so far, ms", ["p50", "p95", "p99"], latencies)),
  ];
}
function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((step) => step * power >= value) * power;
}
function chart(title, names, lines) {
  const [width, height, left, bottom, top] = [440, 170, 44, 22, 8];
  const points = lines.flat();
  const most = nice(Math.max(0, ...points.map((point) => point[1])));
  const first = points.length ? Math.min(...points.map((point) => point[0])) : 0;
  const last = points.length ? Math.max(...points.map((point) => point[0])) : 1;
  const span = Math.max(1, last - first);
  const x = (time) => left + (width - left - 8) * (time - first) / span;
  const y = (value) => height - bottom - (height - bottom - top) * value / most;
  const image = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: ${names.join(", ")}` });
  for (let quarter = 0; quarter <= 4; quarter += 1) {
    const value = most * quarter / 4;
    image.append(svg("line", { class: "grid", x1: left, x2: width - 8, y1: y(value), y2: y(value) }));
    image.append(svg("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, String(Number(value.toPrecision(3)))));
  }
  image.append(svg("text", { x: left, y: height - 6 }, elapsed(first * 1000)));
  image.append(svg("text", { x: width - 8, y: height - 6, "text-anchor": "end" }, elapsed(last * 1000)));
  lines.forEach((line, index) => {
    const text = line.map((point) => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`).join(" ");
    image.append(svg("polyline", { class: `c${index}`, points: text }));
  });
  const keys = names.map((name, index) => {
    const sample = svg("svg", { viewBox: "0 0 26 8", "aria-hidden": "true" });
    sample.append(svg("line", { class: `c${index}`, x1: 0, x2: 26, y1: 4, y2: 4 }));
    return element("span", { class: "sample" }, sample, name);
  });
  return element("div", {}, element("h3", { textContent: title }), image, element("div", {}, ...keys));
}

// ---- one step ----

async function showStep(step, attempt) {
  const fresh = open === null || open.step !== step;
  open = { step, attempt };
  for (const [index, mine] of buttons) for (const button of mine) button.setAttribute("aria-pressed", String(index === step));
  let found;
  try {
    found = await ofRun(`step?step=${step}${attempt ? `&attempt=${attempt}` : ""}`);
  } catch (error) {
    found = { id: idOf(step), state: String(error.message), attempts: [], invalid: [] };
  }
  if (open === null || open.step !== step || open.attempt !== attempt) return;
  if (fresh) remember();
  $("step").hidden = false;
  $("step-title").textContent = found.id;
  const facts = [element("span", { textContent: `${found.action || ""}: ${found.state}` })];
  for (const reason of found.invalid) facts.push(element("span", { class: "warning", textContent: reason }));
  $("step-facts").replaceChildren(...facts);
  const attempts = $("step-attempts");
  if (fresh || attempts.children.length !== found.attempts.length) {
    attempts.replaceChildren(...found.attempts.map((one) => {
      const button = element("button", { type: "button" });
      button.addEventListener("click", () => showStep(step, one.number).then(remember));
      return button;
    }));
  }
  found.attempts.forEach((one, index) => {
    const took = one.started_ms === null ? "" : `, ${elapsed(one.took_ms ?? (one.ended_ms ?? now()) - one.started_ms)}`;
    const button = attempts.children[index];
    button.textContent = `attempt ${one.number}: ${one.state}${took}`;
    button.setAttribute("aria-pressed", String(one.number === found.attempt));
  });
  const course = found.course || [];
  $("step-load").replaceChildren(...(course.length ? loadFigures(course) : []));
  const log = $("step-log");
  const atEnd = fresh || log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  const cut = found.log && found.log_bytes > found.log.length + 4096;
  $("step-file").textContent = found.log_file ? `${cut ? "end of " : ""}${found.log_file}` : "";
  log.hidden = !found.log_file;
  const text = found.log || "(it has printed nothing)";
  // A selection stays as long as nothing is new.
  if (log.textContent !== text) log.textContent = text;
  if (atEnd) log.scrollTop = log.scrollHeight;
  if (fresh) $("step").scrollIntoView({ block: "nearest" });
}
function closeStep() {
  open = null;
  remember();
  $("step").hidden = true;
  for (const mine of buttons.values()) for (const button of mine) button.setAttribute("aria-pressed", "false");
}

// ---- traces ----

function listTraced() {
  const steps = [];
  graph.steps.forEach((step, index) => { if (step[3] === "get traces" && marks[index] === "s") steps.push(index); });
  const shown = steps.slice(-200).reverse();
  const text = shown.join();
  if (text === traced) return;
  traced = text;
  const select = $("traces-of");
  const before = select.value;
  select.replaceChildren(...shown.map((step) => element("option", { value: String(step), textContent: idOf(step).replace(/\/get-traces$/, "") })));
  if (shown.includes(Number(before)) && before !== "") select.value = before;
  $("traces").hidden = shown.length === 0;
  if (shown.length && select.value !== before) showTraces();
}
async function showTraces() {
  const step = $("traces-of").value;
  let found;
  try {
    found = await ofRun(`traces?step=${step}`);
  } catch (error) {
    $("traces-count").textContent = error.message;
    return;
  }
  if (step !== $("traces-of").value) return;
  $("traces-count").textContent = `${found.more ? "the first " : ""}${counted(found.count, "trace")}`;
  const fill = (place, lines) => place.replaceChildren(...lines.map((line) => {
    const name = element("button", { type: "button", class: "link", textContent: line.id || "(no id)" });
    name.addEventListener("click", () => showTrace(step, line.id));
    const words = [line.request, line.cold_starts ? `${line.cold_starts} cold` : null,
      line.failed ? "failed" : null, line.reason].filter(Boolean);
    return element("li", { class: "trace" },
      element("span", { class: "time", textContent: duration(line.duration_us) }),
      element("span", {}, name, " ", element("span", { class: "words", textContent: words.join(", ") })));
  }));
  fill($("slowest"), found.slowest);
  fill($("last"), found.last);
}
function showTrace(step, id) {
  drawn = { step: Number(step), id };
  remember();
  $("waterfall").hidden = false;
  $("waterfall-title").textContent = id;
  const image = $("waterfall-image");
  image.alt = `waterfall of trace ${id}`;
  image.src = `run/${encodeURIComponent(run)}/trace?step=${encodeURIComponent(step)}&id=${encodeURIComponent(id)}`;
  $("waterfall").scrollIntoView({ block: "nearest" });
}
function closeTrace() {
  drawn = null;
  $("waterfall").hidden = true;
  remember();
}

// ---- results ----

// What was measured changes when a load or an analysis ends.
function askForResults() {
  const ended = [];
  graph.steps.forEach((step, index) => {
    if ((step[3] === "load" || step[3] === "analyze traces") && "sif".includes(marks[index])) ended.push(index);
  });
  const text = ended.join();
  if (text === measured || asking !== null) return;
  // Those of a large run take a while: not for every trial that ends.
  asking = setTimeout(async () => {
    const mine = run;
    try {
      const found = await ofRun("results");
      if (mine !== run) return;
      measured = text;
      drawResults(found.applications);
    } catch (error) {
      if (mine === run) line(`the results cannot be read: ${error.message}`);
    }
    asking = null;
    if (mine === run && about && about.state === "running") askForResults();
  }, measured === "" ? 0 : 3000);
}
function drawResults(applications) {
  $("results").hidden = applications.length === 0;
  $("results-of").replaceChildren(...applications.map(drawApplication));
}
const count = (number, what) => `${number} ${what}`;
const ms = (value) => duration(value === null || value === undefined ? null : value * 1000);
function numbers(head, lines) {
  const cell = (name) => (text) => element(name, text instanceof Node ? {} : { textContent: text }, ...(text instanceof Node ? [text] : []));
  const headings = head.map(cell("th"));
  for (const heading of headings) heading.scope = "col";
  return element("div", { class: "narrow" }, element("table", { class: "numbers" },
    element("thead", {}, element("tr", {}, ...headings)),
    element("tbody", {}, ...lines.map((line) => element("tr", {}, ...line.map(cell("td")))))));
}
function titleOf(found) {
  const labels = Object.entries(found.labels).map(([name, value]) => `${name}=${value}`);
  return [found.application, ...labels].join(" ");
}
function drawApplication(found) {
  const drawing = element("div", { class: "result" }, element("h3", { textContent: titleOf(found) }));
  const list = (name, sentences) => {
    if (sentences.length) drawing.append(element("ul", { class: name }, ...sentences.map((textContent) => element("li", { textContent }))));
  };
  list("bad", found.invalid);
  list("warning", found.warnings);
  const { load, traces } = found;
  if (load) {
    const kinds = Object.entries(load.outcomes).map(([name, number]) => count(number, name.replaceAll("_", " ")));
    drawing.append(element("p", { class: "faint", textContent: `${load.planned === null ? "" : `${load.planned} planned, `}${load.sent} sent: ${kinds.join(", ")}` }));
    const quantiles = (latency) => latency ? [latency.p50, latency.p95, latency.p99].map(ms) : ["–", "–", "–"];
    const lines = [["all requests", load.sent, load.failed, ...quantiles(load.latency_ms)]];
    for (const request of load.requests) lines.push([request.name, request.sent, request.failed, ...quantiles(request.latency_ms)]);
    drawing.append(numbers(["latency", "sent", "failed", "p50", "p95", "p99"], lines));
  }
  if (traces) {
    const share = traces.cold_share === null ? "" : `, ${Math.round(1000 * traces.cold_share) / 10} % with a cold start`;
    const missing = traces.missing ? `, ${traces.missing} missing` : "";
    drawing.append(element("h3", { textContent: `breakdown of ${counted(traces.valid, "trace")} (${traces.invalid} invalid${missing}${share})` }));
    const shown = [["p50", traces.median], ["p99", traces.p99]].filter(([, trace]) => trace);
    for (const [name, trace] of shown) {
      const bar = element("div", { class: "parts", role: "img", "aria-label": `breakdown of the ${name} trace, as in the table below` });
      for (const [activity, value] of Object.entries(trace.parts_ms)) {
        const part = element("span", { class: activity, title: `${ACTIVITIES[activity] || activity}: ${ms(value)}` });
        part.style.flex = `${Math.max(0, value)} 0 0`;
        bar.append(part);
      }
      drawing.append(element("p", { class: "faint" }, `${name} ${ms(trace.duration_ms)}: `,
        traceLink(trace.trace_id)), bar);
    }
    const used = Object.keys(ACTIVITIES).filter((activity) => shown.some(([, trace]) => trace.parts_ms[activity] > 0));
    drawing.append(numbers(["activity", ...shown.flatMap(([name]) => [name, `of ${name}`])], used.map((activity) => [
      element("span", {}, element("span", { class: `swatch ${activity}` }), ACTIVITIES[activity]),
      ...shown.flatMap(([, trace]) => {
        const value = trace.parts_ms[activity] || 0;
        return [ms(value), trace.duration_ms > 0 ? `${(100 * value / trace.duration_ms).toFixed(1)} %` : "–"];
      }),
    ])));
  }
  return drawing;
}
// Whose step a trace is of is not in the results: the server looks for it in all that are listed.
function traceLink(id) {
  const link = element("button", { type: "button", class: "link path", textContent: id });
  link.addEventListener("click", async () => {
    for (const option of $("traces-of").options) {
      const answer = await fetch(`run/${encodeURIComponent(run)}/trace?step=${option.value}&id=${encodeURIComponent(id)}`);
      if (answer.ok) return showTrace(option.value, id);
    }
    return line(`trace ${id} is not in the last ${$("traces-of").options.length} steps that fetched traces`);
  });
  return link;
}

// ---- the line to the server ----

function take(message) {
  drift = message.now_ms - Date.now();
  about = message.about;
  if (message.marks !== undefined) {
    marks = [...message.marks];
    courses = new Map();
    drawGraph();
    if (chosen !== null) choose(chosen);
  } else if (message.changed) {
    for (const [step, letter] of message.changed) marks[step] = letter;
    touch(message.changed.map(([step]) => step));
  }
  for (const load of message.loads) {
    let points = courses.get(load.step) || [];
    points = load.from === 0 ? load.points : points.concat(load.points);
    if (points.length > POINTS) points = points.filter((_, index) => index % 2 === 0 || index === points.length - 1);
    courses.set(load.step, points);
  }
  if (message.loads.length || message.changed?.length || message.marks !== undefined) drawLoads();
  drawHead();
  drawRunning();
  listTraced();
  askForResults();
  const touched = message.changed?.some(([step]) => open !== null && step === open.step);
  if (open !== null && (touched || isRunning(open.step))) showStep(open.step, open.attempt);
}
function line(text) {
  $("line").hidden = text === "";
  $("line").textContent = text;
}
function listen() {
  const mine = run;
  events = new EventSource(`run/${encodeURIComponent(run)}/events`);
  events.addEventListener("run", (event) => { if (mine === run) { line(""); take(JSON.parse(event.data)); } });
  events.addEventListener("problem", (event) => line(`the run cannot be read: ${JSON.parse(event.data)}`));
  events.onerror = (event) => {
    if (mine !== run) return;
    if (event.target.readyState === EventSource.CLOSED) line("the line is closed: is `sb ui` still running? Reload to try again.");
    else if ($("line").hidden) line("the line is lost, trying again …");
  };
}

// ---- what is shown stands in the address, so that it can be kept and sent on ----

function remember() {
  const parts = new URLSearchParams();
  parts.set("run", run);
  if (open !== null && graph) {
    parts.set("step", idOf(open.step));
    if (open.attempt) parts.set("attempt", open.attempt);
  }
  if (drawn !== null) {
    parts.set("traces", idOf(drawn.step));
    parts.set("trace", drawn.id);
  }
  history.replaceState(null, "", `#${parts}`);
}
const remembered = () => new URLSearchParams(location.hash.slice(1));
function recall() {
  const parts = remembered();
  const find = (name) => parts.has(name) ? graph.steps.findIndex((_, step) => idOf(step) === parts.get(name)) : -1;
  const [step, traces] = [find("step"), find("traces")];
  if (step >= 0) showStep(step, Number(parts.get("attempt")) || undefined);
  if (traces >= 0 && parts.has("trace")) showTrace(traces, parts.get("trace"));
}

async function listRuns() {
  const found = await ask("runs");
  const select = $("runs");
  select.replaceChildren(...found.runs.map((one) => {
    const state = one.state === "ended" && one.measurement ? one.measurement : one.state;
    return element("option", { value: one.id, textContent: `${one.id} (${state})` });
  }));
  if (found.older) select.append(element("option", { disabled: true, textContent: `and ${found.older} older runs` }));
  if (run !== null) select.value = run;
  return found;
}
async function showRun(id) {
  if (events) events.close();
  if (asking !== null) clearTimeout(asking);
  [run, events, graph, about, chosen, open, drawn, traced, measured, asking] = [id, null, null, null, null, null, null, "", "", null];
  courses = new Map();
  listed = { key: "", items: [] };
  for (const part of ["results", "loads", "running-section", "chosen", "step", "traces", "waterfall"]) $(part).hidden = true;
  $("run").textContent = id;
  $("runs").value = id;
  line("");
  let found;
  try {
    found = await ofRun("graph");
  } catch (error) {
    if (run === id) line(`run ${id} cannot be shown: ${error.message}`);
    return;
  }
  if (run !== id) return;
  graph = found;
  stepsOf = graph.deployments.map(() => []);
  graph.steps.forEach((step, index) => stepsOf[step[0]].push(index));
  marks = graph.steps.map(() => "w");
  drawGraph();
  if (remembered().get("run") === id) recall();
  else remember();
  listen();
}

function nextStep(event) {
  const here = document.activeElement;
  if (!here || !here.classList.contains("m")) return;
  const all = [...here.closest("section").querySelectorAll("button.m")].filter((button) => button.offsetParent !== null);
  const box = here.getBoundingClientRect();
  let to = null;
  if (event.key === "ArrowRight") to = all[all.indexOf(here) + 1];
  else if (event.key === "ArrowLeft") to = all[all.indexOf(here) - 1];
  else {
    // The nearest one in the next line of that direction.
    const sign = event.key === "ArrowDown" ? 1 : -1;
    const beyond = all.map((button) => [button, button.getBoundingClientRect()]).filter(([, other]) => sign * (other.top - box.top) > box.height / 2);
    const far = ([, other]) => Math.abs(other.top - box.top) * 1000 + Math.abs(other.left - box.left);
    to = beyond.sort((left, right) => far(left) - far(right))[0]?.[0];
  }
  if (!to) return;
  to.focus();
  event.preventDefault();
}
function press(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || /^(SELECT|INPUT|TEXTAREA)$/.test(event.target.tagName) && event.key !== "Escape") return;
  if (event.key.startsWith("Arrow")) nextStep(event);
  else if (event.key === "?") $("keys").showModal();
  else if (event.key === "r") { $("runs").focus(); event.preventDefault(); }
  else if (event.key === "f") { $("only-bad").click(); }
  else if (event.key === "Escape" && !$("keys").open) {
    if (drawn !== null) closeTrace();
    else if (open !== null) closeStep();
    else if (chosen !== null) choose(null);
  }
}

async function begin() {
  $("only-bad").addEventListener("change", filter);
  $("chosen-close").addEventListener("click", () => choose(null));
  $("step-close").addEventListener("click", closeStep);
  $("traces-of").addEventListener("change", showTraces);
  $("waterfall-close").addEventListener("click", closeTrace);
  $("keys-open").addEventListener("click", () => $("keys").showModal());
  $("runs").addEventListener("change", () => showRun($("runs").value));
  $("runs").addEventListener("focus", () => listRuns().catch(() => {}));
  document.addEventListener("keydown", press);
  window.addEventListener("hashchange", () => {
    const wanted = remembered().get("run");
    if (wanted && wanted !== run) showRun(wanted);
    else if (graph) recall();
  });
  setInterval(() => { if (about && about.state === "running") { drawHead(); drawRunning(); } }, 1000);
  try {
    const found = await listRuns();
    await showRun(remembered().get("run") || found.first);
  } catch (error) {
    line(`cannot begin: ${error.message}`);
  }
}
begin();
