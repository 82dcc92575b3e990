"use strict";
// Switches, filters, zooms and tooltips of a report. Without this script, everything is shown at once.
(() => {
  document.documentElement.classList.add("js");
  const SVG = "http://www.w3.org/2000/svg";
  const tip = document.getElementById("tip");
  const make = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  // As the program writes numbers: about four digits that matter.
  const words = (number) => {
    const value = number || 0;
    if (!Number.isFinite(number)) return "unknown";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-6 || size >= 1e15)) return value.toExponential(3).replaceAll("-", "−");
    const digits = size === 0 ? 0 : Math.min(10, Math.max(0, 3 - Math.floor(Math.log10(size))));
    return value.toLocaleString("en-US", { maximumFractionDigits: digits }).replace("-", "−");
  };
  const withUnit = (value, unit) => (unit ? `${words(value)} ${unit}` : words(value));

  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - box.width - 4))}px`;
    tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(4, y - box.height - 10) : y + 18}px`;
  };
  const hide = () => { tip.hidden = true; };

  // Marks of an axis between two values.
  const marks = (from, to, scale, most) => {
    if (scale === "logarithmic") {
      const inside = (factors) => {
        const found = [];
        for (let ten = Math.floor(Math.log10(from)); ten <= Math.ceil(Math.log10(to)); ten += 1) {
          for (const factor of factors) {
            const value = factor * 10 ** ten;
            if (value >= from && value <= to) found.push(value);
          }
        }
        return found;
      };
      const fine = inside([1, 2, 5]);
      if (fine.length >= 2 && fine.length <= most) return fine;
      const coarse = inside([1]);
      const step = Math.max(1, Math.ceil(coarse.length / most));
      if (coarse.length >= 2) return coarse.filter((_, number) => number % step === 0);
    }
    const rough = (to - from) / Math.max(1, most);
    const ten = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * ten).find((size) => size >= rough) || rough;
    const found = [];
    for (let number = Math.ceil(from / step - 1e-9); number * step <= to + step * 1e-9; number += 1) found.push(number * step);
    return found;
  };
  const drawTicks = (group, [a, b], width) => {
    const { draw, scale } = group.dataset;
    const ends = [Number(group.dataset.from), Number(group.dataset.to)];
    const forth = scale === "logarithmic" ? Math.log : (value) => value;
    const back = scale === "logarithmic" ? Math.exp : (value) => value;
    const [low, high] = ends.map(forth);
    const at = (share) => back(low + (high - low) * share);
    const most = Math.max(2, Math.min(9, Math.floor(width / 52)));
    group.replaceChildren(...marks(at(a), at(b), scale, most).map((value) => {
      const x = `${(((forth(value) - low) / (high - low) - a) / (b - a)) * 100}%`;
      if (draw === "lines") return make("line", { class: "sb-g", x1: x, x2: x, y1: 0, y2: "100%" });
      const text = make("text", { class: "sb-s", x, y: 14, "text-anchor": "middle" });
      text.textContent = words(value);
      return text;
    }));
  };
  // The picture that is as wide as the horizontal axis. Pictures inside of it have boxes of their own, around what is drawn.
  const areaOf = (part) => part.closest(".plot > svg, .grid > svg, .axis > svg");

  // The boxes of a flame graph or waterfall: groups with a title and a rectangle. Other texts of a box stand in it, behind it, or
  // to the left of all boxes.
  const boxesOf = (picture) => {
    const number = (element, name) => Number(element.getAttribute(name));
    const boxes = [...picture.querySelectorAll("g")].flatMap((group) => {
      const [title, rect] = [group.querySelector(":scope > title"), group.querySelector(":scope > rect")];
      if (!title || !rect) return [];
      const box = { group, rect, x: number(rect, "x"), y: number(rect, "y"), width: number(rect, "width"), text: title.textContent };
      box.texts = [...group.querySelectorAll(":scope > text")].map((text) => {
        const x = number(text, "x");
        const where = x < box.x ? "before" : x > box.x + box.width ? "behind" : "inside";
        return { text, x, shift: where === "behind" ? x - box.x - box.width : x - box.x, where, words: text.textContent };
      });
      group.classList.add("box");
      return [box];
    });
    if (boxes.length === 0) return null;
    const left = Math.min(...boxes.map((box) => box.x));
    const right = Math.max(...boxes.map((box) => box.x + box.width));
    // The marks of an axis: times at equal distances, outside of all boxes.
    const ticks = [...picture.querySelectorAll(":scope > text[text-anchor=middle]")]
      .map((text) => ({ text, words: text.textContent, share: (number(text, "x") - left) / (right - left), time: parseFloat(text.textContent.replaceAll(",", "")) }))
      .filter((tick) => Number.isFinite(tick.time));
    const path = [];
    const whole = { x: left, width: right - left };
    const self = { picture, boxes, isZoomed: () => path.length > 0, changed: () => {} };
    const draw = () => {
      const seen = path.at(-1) || whole;
      const factor = (right - left) / seen.width;
      for (const box of boxes) {
        const from = Math.max(left, left + (box.x - seen.x) * factor);
        const to = Math.min(right, left + (box.x + box.width - seen.x) * factor);
        const isSeen = to - from > 0.1 || path.length === 0;
        box.rect.setAttribute("x", path.length ? from : box.x);
        box.rect.setAttribute("width", path.length ? Math.max(0, to - from) : box.width);
        box.rect.classList.toggle("away", !isSeen);
        box.place = { from, to };
        for (const { text, x, shift, where, words: own } of box.texts) {
          if (where === "before") continue;
          text.classList.toggle("away", !isSeen);
          const at = where === "behind" ? Math.min(to + shift, right + shift) : from + shift;
          text.setAttribute("x", path.length ? at : x);
          if (where === "inside") {
            const room = Math.floor((to - from - 6) / 6.6);
            const name = box.text.slice(0, box.text.lastIndexOf(": "));
            text.textContent = !path.length ? own : room < 3 ? "" : name.length <= room ? name : `${name.slice(0, room - 1)}…`;
          }
        }
      }
      const last = ticks.find((tick) => tick.share > 0.999);
      for (const { text, words: own, share } of ticks) {
        const time = last && ((seen.x - left + share * seen.width) / (right - left)) * last.time;
        text.textContent = path.length && last ? `${words(time)} ms` : own;
      }
      picture.dataset.zoomed = path.length ? path.at(-1).text : "";
      self.changed();
    };
    self.to = (box) => {
      if (box.width <= 0 || path.at(-1) === box) return;
      path.push(box);
      draw();
    };
    self.back = () => { path.pop(); draw(); };
    self.reset = () => { if (path.length) { path.length = 0; draw(); } };
    // The box in a direction, as the boxes stand now.
    self.next = (box, key) => {
      const here = boxes.filter((one) => !one.rect.classList.contains("away"));
      if (!box || !here.includes(box)) return here[0];
      const side = (one) => (one.place ? [one.place.from, one.place.to] : [one.x, one.x + one.width]);
      if (key === "ArrowLeft" || key === "ArrowRight") {
        return here[here.indexOf(box) + (key === "ArrowRight" ? 1 : -1)] || box;
      }
      const down = key === "ArrowDown" ? 1 : -1;
      const rows = here.map((one) => one.y).filter((y) => (y - box.y) * down > 0);
      const row = down > 0 ? Math.min(...rows) : Math.max(...rows);
      const [from, to] = side(box);
      const beside = here.filter((one) => one.y === row);
      return beside.find((one) => side(one)[1] > from && side(one)[0] < to) || beside[0] || box;
    };
    self.of = (target) => boxes.find((box) => box.group === target?.closest("g.box"));
    return self;
  };

  for (const figure of document.querySelectorAll("figure")) {
    const charts = [...figure.querySelectorAll(".chart")];
    const pictures = [...figure.querySelectorAll(".picture")];
    let view = [0, 1];
    let scale = 1;

    // One measurement for all, before anything is drawn: all axes of a figure are equally wide.
    const drawAllTicks = () => {
      const groups = [...figure.querySelectorAll("g.ticks")];
      const seen = groups.find((group) => !group.closest("[hidden]") && areaOf(group).getClientRects().length > 0);
      const width = (seen && areaOf(seen).getBoundingClientRect().width) || 300;
      for (const group of groups) drawTicks(group, view, width);
    };
    const draw = () => {
      const [a, b] = view;
      for (const zoom of figure.querySelectorAll("svg.zoom")) {
        zoom.setAttribute("x", `${(-a / (b - a)) * 100}%`);
        zoom.setAttribute("width", `${100 / (b - a)}%`);
      }
      drawAllTicks();
      for (const picture of pictures) picture.style.width = `${scale * 100}%`;
      figure.dataset.view = `${a.toFixed(4)} ${b.toFixed(4)}`;
    };
    const zoomTo = (a, b) => {
      const width = Math.min(1, Math.max(1e-4, b - a));
      const from = Math.min(1 - width, Math.max(0, a));
      view = [from, from + width];
      draw();
    };
    // Flame graphs and waterfalls: a box that is chosen becomes as wide as there is room.
    const flames = pictures.map(boxesOf).filter((one) => one);
    const back = figure.querySelector("[data-back]");
    const goBack = () => {
      // Only what can be seen: the variants have pictures of their own.
      const moved = flames.filter((one) => one.isZoomed() && one.picture.getClientRects().length > 0);
      for (const one of moved) one.back();
      return moved.length > 0;
    };
    const showBack = () => { if (back) back.disabled = !flames.some((one) => one.isZoomed()); };
    for (const one of flames) one.changed = showBack;
    if (back) back.addEventListener("click", goBack);
    showBack();
    const zoom = (how) => {
      const [a, b] = view;
      const width = b - a;
      if (how === "in") { scale = Math.min(16, scale * 1.5); zoomTo(a + width / 4, b - width / 4); }
      if (how === "out") { scale = Math.max(1, scale / 1.5); zoomTo(a - width / 2, b + width / 2); }
      if (how === "left") zoomTo(a - width / 4, b - width / 4);
      if (how === "right") zoomTo(a + width / 4, b + width / 4);
      if (how === "reset") { scale = 1; for (const one of flames) one.reset(); zoomTo(0, 1); }
    };
    for (const button of figure.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => zoom(button.dataset.zoom));

    // The switch of the variants.
    for (const button of figure.querySelectorAll("[data-choose]")) {
      button.addEventListener("click", () => {
        for (const other of figure.querySelectorAll("[data-choose]")) other.setAttribute("aria-pressed", String(other === button));
        for (const variant of figure.querySelectorAll(".variant")) {
          variant.classList.toggle("chosen", variant.dataset.variant === button.dataset.choose);
        }
        draw();
      });
    }

    // The filter: all of its words, anywhere in the name.
    const filter = figure.querySelector("input[type=search]");
    if (filter) {
      const count = figure.querySelector(".count");
      const groups = [...figure.querySelectorAll("[data-group]")].map((element) => [element, element.dataset.group.toLowerCase()]);
      const inVariant = groups.filter(([element]) => element.closest(".variant").dataset.variant === "0").length;
      const what = count.textContent.replace(/^\S+ /, "");
      filter.addEventListener("input", () => {
        const wanted = filter.value.toLowerCase().split(/\s+/).filter((word) => word);
        let shown = 0;
        for (const [element, name] of groups) {
          const fits = wanted.every((word) => name.includes(word));
          element.hidden = !fits;
          if (fits && element.closest(".variant").dataset.variant === "0") shown += 1;
        }
        count.textContent = wanted.length ? `${shown} of ${inVariant} ${what}` : `${inVariant} ${what}`;
      });
    }

    for (const chart of charts) {
      let marked = null;
      const unmark = () => {
        if (marked) marked.classList.remove("marked");
        for (const dot of chart.querySelectorAll(".focus")) dot.remove();
        marked = null;
        hide();
      };
      const markElement = (element) => {
        unmark();
        marked = element;
        element.classList.add("marked");
        element.scrollIntoView({ block: "nearest", inline: "nearest" });
        const box = element.getBoundingClientRect();
        show(element.dataset.tip, box.left + box.width / 2, box.bottom - 10);
      };
      // A point of a curve: the values stand beside the path.
      const pointsOf = (path) => {
        if (!path.points) {
          const [xs, ys] = [path.dataset.x, path.dataset.y].map((list) => list.split(" ").map(Number));
          path.points = xs.map((x, number) => [x, ys[number]]);
        }
        return path.points;
      };
      const shareOf = (plot, value) => {
        const group = plot.querySelector("g.ticks");
        const forth = group.dataset.scale === "logarithmic" ? Math.log : (number) => number;
        const [low, high] = [Number(group.dataset.from), Number(group.dataset.to)].map(forth);
        return (forth(value) - low) / (high - low);
      };
      let active = null;
      const markPoint = (path, number) => {
        unmark();
        const point = pointsOf(path)[number];
        const plot = path.closest(".plot");
        active = { path, number };
        const frame = plot.querySelector("svg.frame");
        const box = areaOf(frame).getBoundingClientRect();
        const share = (shareOf(plot, point[0]) - view[0]) / (view[1] - view[0]);
        // The curve itself tells how high the point is: its y in the picture belongs to the same x.
        const y = heightOf(path, number);
        const zoomed = frame.querySelector("svg.zoom");
        zoomed.append(make("circle", { class: "focus", cx: `${shareOf(plot, point[0]) * 100}%`, cy: y, r: 5 }));
        plot.scrollIntoView({ block: "nearest" });
        const text = `${path.dataset.name}: ${withUnit(point[1], chart.dataset.yUnit)} at ${withUnit(point[0], chart.dataset.xUnit)}`;
        show(text, box.left + box.width * share, box.top + y);
      };
      const heightOf = (path, number) => {
        const places = (path.places ||= path.getAttribute("d").match(/[-0-9.]+ [-0-9.]+/g).map((pair) => pair.split(" ").map(Number)));
        const isSteps = places.length === 2 * pointsOf(path).length;
        return (places[isSteps ? 2 * number + 1 : number] || [0, 0])[1];
      };
      const pathsOf = (plot) => [...plot.querySelectorAll("path[data-x]")];
      const nearest = (plot, event) => {
        const box = areaOf(plot.querySelector("svg.frame")).getBoundingClientRect();
        const share = view[0] + ((event.clientX - box.left) / box.width) * (view[1] - view[0]);
        let best = null;
        for (const path of pathsOf(plot)) {
          const points = pointsOf(path);
          // Points are in the order of x: the last one before the pointer, by halving.
          let [low, high] = [0, points.length - 1];
          while (low < high) {
            const middle = Math.ceil((low + high) / 2);
            if (shareOf(plot, points[middle][0]) <= share) low = middle; else high = middle - 1;
          }
          for (const number of [low, Math.min(low + 1, points.length - 1)]) {
            const dx = ((shareOf(plot, points[number][0]) - share) / (view[1] - view[0])) * box.width;
            const distance = Math.hypot(dx, heightOf(path, number) - (event.clientY - box.top));
            if (!best || distance < best.distance) best = { path, number, distance };
          }
        }
        return best;
      };

      chart.addEventListener("pointermove", (event) => {
        if (drag) return;
        const element = event.target.closest("[data-tip]");
        const title = event.target.closest(".prepared g, .prepared rect")?.querySelector(":scope > title");
        if (element) { show(element.dataset.tip, event.clientX, event.clientY); return; }
        if (title) { show(title.textContent, event.clientX, event.clientY); return; }
        const plot = event.target.closest(".plot");
        const found = plot && nearest(plot, event);
        if (found) markPoint(found.path, found.number); else if (document.activeElement !== chart) unmark();
      });
      chart.addEventListener("pointerleave", unmark);

      // Drawing over a plot zooms into what was drawn over.
      let drag = null;
      chart.addEventListener("pointerdown", (event) => {
        const surface = event.target.closest(".plot") ? event.target.closest(".plot").querySelector("svg.frame") : chart.querySelector(".grid svg");
        if (event.button !== 0 || event.pointerType === "touch" || !surface || !event.target.closest("svg")) return;
        const box = areaOf(surface).getBoundingClientRect();
        if (event.clientX < box.left || event.clientX > box.right) return;
        drag = { surface, box, from: event.clientX, area: null };
      });
      addEventListener("pointermove", (event) => {
        if (!drag || Math.abs(event.clientX - drag.from) < 4) return;
        hide();
        event.preventDefault();
        drag.area ||= drag.surface.appendChild(make("rect", { class: "drawn", y: 0, height: "100%" }));
        const [low, high] = [drag.from, event.clientX].sort((one, other) => one - other);
        const left = Math.max(low, drag.box.left);
        drag.area.setAttribute("x", left - drag.box.left);
        drag.area.setAttribute("width", Math.max(0, Math.min(high, drag.box.right) - left));
      });
      addEventListener("pointerup", () => {
        if (!drag) return;
        const { area, box } = drag;
        drag = null;
        if (!area) return;
        const share = (pixels) => view[0] + (pixels / box.width) * (view[1] - view[0]);
        const [x, width] = ["x", "width"].map((name) => Number(area.getAttribute(name)));
        area.remove();
        getSelection().removeAllRanges();
        if (width > 3) zoomTo(share(x), share(x + width));
      });
      chart.addEventListener("dblclick", (event) => { if (!event.target.closest("g.box")) zoom("reset"); });
      const flame = flames.find((one) => chart.contains(one.picture));
      let chosen = null;
      if (flame) {
        chart.addEventListener("click", (event) => {
          const box = flame.of(event.target);
          if (!box) return;
          chosen = box;
          flame.to(box);
        });
      }
      const choose = (key) => {
        chosen = flame.next(chosen, key);
        chosen.group.dataset.tip = chosen.text;
        markElement(chosen.group);
        return true;
      };

      // Keys: over the values of a row or curve, and from row to row or curve to curve.
      const isShown = (element) => !element.closest("[hidden]") && element.getClientRects().length > 0;
      const step = (key) => {
        const next = key === "ArrowRight" ? 1 : key === "ArrowLeft" ? -1 : 0;
        const paths = [...chart.querySelectorAll("path[data-x]")].filter(isShown);
        if (paths.length) {
          let { path, number } = active && paths.includes(active.path) ? active : { path: paths[0], number: next ? -next : 0 };
          if (next) {
            number = Math.max(0, Math.min(pointsOf(path).length - 1, number + next));
          } else {
            const share = number / Math.max(1, pointsOf(path).length - 1);
            path = paths[Math.max(0, Math.min(paths.length - 1, paths.indexOf(path) + (key === "ArrowDown" ? 1 : -1)))];
            number = Math.round(share * (pointsOf(path).length - 1));
          }
          markPoint(path, Math.max(0, number));
          return true;
        }
        const all = [...chart.querySelectorAll("[data-tip]")].filter(isShown);
        if (!all.length) return false;
        let place = all.indexOf(marked);
        if (place < 0) {
          place = 0;
        } else if (next) {
          place = Math.max(0, Math.min(all.length - 1, place + next));
        } else {
          const group = (element) => element.closest("[data-group]");
          const direction = key === "ArrowDown" ? 1 : -1;
          let other = place;
          while (all[other] && group(all[other]) === group(all[place])) other += direction;
          if (!all[other]) return true;
          while (direction < 0 && all[other - 1] && group(all[other - 1]) === group(all[other])) other -= 1;
          place = other;
        }
        markElement(all[place]);
        return true;
      };
      chart.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        const how = { "+": "in", "=": "in", "-": "out", "0": "reset" }[event.key];
        if (how) zoom(how);
        else if (event.key === "Escape") { if (!goBack()) unmark(); }
        else if (flame && event.key === "Enter") { if (chosen) flame.to(chosen); }
        else if (!event.key.startsWith("Arrow") || !(flame ? choose(event.key) : step(event.key))) return;
        event.preventDefault();
      });
      chart.addEventListener("blur", unmark);
    }
    // Marks for the width that there is.
    new ResizeObserver(drawAllTicks).observe(figure);
  }
})();
