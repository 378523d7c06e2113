"use strict";
// The cards of a layer's filters: found, sorted, and made as the reader comes to them. Names enter the page as text only.
(() => {
  const data = JSON.parse(document.getElementById("parts-data").textContent);
  const byId = (id) => document.getElementById(id);
  const BATCH = 36; // cards made at a time
  const [HEIGHT, WIDTH] = data.size;
  const state = { part: null, shown: 0, found: [] };
  const cards = new Map();

  const nameOf = (filter) => (filter.part === null ? "" : data.parts[filter.part][0]);
  const known = (value) => value !== null && value !== undefined;
  const share = (value) => (known(value) ? `${(100 * value).toFixed(value > 0 && value < 0.095 ? 1 : 0)} %` : "–");
  const length = (value) => (known(value) ? `${(100 * value).toFixed(1)} %` : "–");

  /** A bar from 0 to `end`, with its interval and, where known, what chance gives. */
  function bar(value, end, interval, chance, label) {
    const at = (number) => (100 * Math.min(Math.max(number / end, 0), 1)).toFixed(2);
    const svg = drawn("svg", { class: "score", viewBox: "0 0 100 12", preserveAspectRatio: "none", role: "img", "aria-label": label });
    svg.append(drawn("rect", { class: "track", width: 100, y: 4, height: 4 }));
    if (known(value)) svg.append(drawn("rect", { class: "fill", width: at(value), y: 4, height: 4 }));
    if (interval && interval.every(known)) {
      const [low, high] = interval.map(at);
      svg.append(drawn("path", { class: "whisker", d: `M${low} 6H${high}M${low} 2.5V9.5M${high} 2.5V9.5` }));
    }
    if (known(chance)) svg.append(drawn("path", { class: "chance", d: `M${at(chance)} 0V12` }));
    return svg;
  }

  /** The outline of a template of this reach around (x, y). */
  function outline(y, x, [down, across]) {
    return data.norm === "l1"
      ? `M${x - across} ${y}L${x} ${y - down}L${x + across} ${y}L${x} ${y + down}Z`
      : `M${x - across} ${y}A${across} ${down} 0 1 1 ${x + across} ${y}A${across} ${down} 0 1 1 ${x - across} ${y}Z`;
  }

  /** Where the filter peaks in a picture, with its template around that or around a place of its own. */
  function mark(y, x, reach, down = y, across = x) {
    const svg = drawn("svg", { class: "sites", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    if (reach) {
      const line = outline(down, across, reach);
      svg.append(drawn("path", { class: "veil", "fill-rule": "evenodd", d: `M0 0H${WIDTH}V${HEIGHT}H0Z${line}` }));
      svg.append(drawn("path", { class: "template", d: line }));
    }
    const radius = 0.055 * WIDTH;
    for (const name of ["halo", "mark"]) svg.append(drawn("ellipse", { class: name, cx: x, cy: y, rx: radius, ry: (radius * HEIGHT) / WIDTH, fill: "none", "vector-effect": "non-scaling-stroke" }));
    return svg;
  }

  function picture(filter, [index, y, x, top, ...place], rank) {
    const frame = make("div", { className: "picture", role: "img" });
    frame.dataset.picture = index;
    frame.setAttribute("aria-label", `Picture ${index}, number ${rank + 1} by activation of filter ${filter.index}; it peaks ${Math.round((100 * x) / WIDTH)} % from the left, ${Math.round((100 * y) / HEIGHT)} % from the top`);
    frame.append(mark(y, x, filter.reach, ...place));
    return make("figure", {}, frame, make("figcaption", { title: "largest activation" }, String(top)));
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) fill(entry.target);
  }, { rootMargin: "400px" });

  function fill(card) {
    watcher.unobserve(card);
    for (const frame of card.querySelectorAll("[data-picture]:not(:has(img))")) {
      frame.prepend(make("img", { alt: "", decoding: "async", src: `data:image/jpeg;base64,${data.pictures[frame.dataset.picture]}` }));
    }
  }

  function heading(filter) {
    if (filter.part === null) return [make("h3", {}, "lies on no known part"), null];
    const [name, place] = data.parts[filter.part];
    const button = make("button", { type: "button", title: `Show all filters whose part this is` }, name);
    button.addEventListener("click", () => choose(filter.part));
    const title = filter.clear ? make("h3", {}, button) : make("h3", {}, "no clear part, most often ", button);
    const kind = data.classes.length > 1 ? make("span", { className: "kind" }, make("span", { className: `dot shade${place % 10}` }), data.classes[place]) : null;
    return [title, kind];
  }

  function measures(filter) {
    if (filter.part === null && !known(filter.instability)) return [make("p", { className: "held" }, "It is the same everywhere in the pictures: it has no place.")];
    const found = [];
    const row = (word, value, drawing) => found.push(make("div", { className: "measure" }, make("span", {}, `${word} `, make("strong", {}, value)), drawing));
    if (filter.part !== null) {
      const interval = filter.interval && filter.interval.every(known) ? `, 95 % interval ${share(filter.interval[0])} to ${share(filter.interval[1])}` : "";
      const chance = known(filter.chance) ? `, by chance ${share(filter.chance)}` : "";
      row("On it in", share(filter.share), bar(filter.share, 1, filter.interval, filter.chance, `Lies on it in ${share(filter.share)} of pictures${interval}${chance}`));
      if (known(filter.wanders)) row("Wanders", length(filter.wanders), bar(filter.wanders, data.top, null, filter.wandersByChance, `Its distance to the part wanders ${length(filter.wanders)} of the diagonal`));
    }
    const [low, high] = filter.steady && filter.steady.every(known) ? filter.steady : [null, null];
    const near = known(filter.near) && filter.near !== filter.part ? `; steadiest to the ${data.parts[filter.near][0]}` : "";
    if (known(filter.instability)) {
      found.push(make("p", { className: "held" }, "Location instability ", make("strong", {}, length(filter.instability)), known(low) ? ` (${length(low)} to ${length(high)})` : "", near));
    }
    return found;
  }

  function card(filter) {
    if (!cards.has(filter.index)) {
      const [title, kind] = heading(filter);
      const figures = filter.examples.map((example, rank) => picture(filter, example, rank));
      cards.set(filter.index, make("li", { className: filter.clear ? "unit" : "unit quiet", id: `filter-${filter.index}` },
        make("header", {}, title, kind, make("a", { className: "place", href: `#filter-${filter.index}` }, `filter ${filter.index}`)),
        figures.length ? make("div", { className: "pictures" }, ...figures) : null, ...measures(filter)));
    }
    return cards.get(filter.index);
  }

  /** Does the filter answer the words typed? A number means the filter, letters its part. */
  function answers(filter, words) {
    const number = words.match(/^(?:filter\s*|#)?(\d+)$/);
    if (number) return filter.index === Number(number[1]);
    return (nameOf(filter) || "lies on no known part").toLowerCase().includes(words);
  }

  const last = (value) => (known(value) ? value : Infinity);
  const ORDERS = {
    share: (a, b) => (b.share ?? -1) - (a.share ?? -1) || last(a.wanders) - last(b.wanders),
    wanders: (a, b) => last(a.part === null ? null : a.wanders) - last(b.part === null ? null : b.wanders) || 0,
    instability: (a, b) => last(a.instability) - last(b.instability) || 0,
    part: (a, b) => (a.part === null) - (b.part === null) || nameOf(a).localeCompare(nameOf(b), "en") || b.share - a.share,
    index: () => 0,
  };

  function find() {
    const words = byId("query").value.trim().toLowerCase();
    const only = byId("clear-only").checked;
    state.found = data.filters
      .filter((filter) => !only || filter.clear)
      .filter((filter) => state.part === null || (filter.clear && filter.part === state.part))
      .filter((filter) => !words || answers(filter, words))
      .sort((a, b) => ORDERS[byId("sort").value](a, b) || a.index - b.index);
    state.shown = 0;
    byId("cards").replaceChildren();
    more();
    const all = data.filters.length;
    byId("count").textContent = state.found.length === all ? plural(all, "filter") : `${state.found.length} of ${plural(all, "filter")}`;
    byId("reset").hidden = state.part === null && !words && !only;
    byId("reset").textContent = state.part === null ? "Show all filters" : `Only ${data.parts[state.part][0]}: show all filters`;
    for (const button of document.querySelectorAll("[data-part]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.part) === state.part));
    }
  }

  function more(count = BATCH) {
    for (const filter of state.found.slice(state.shown, state.shown + count)) {
      const made = card(filter);
      byId("cards").append(made);
      watcher.observe(made);
    }
    state.shown = Math.min(state.found.length, state.shown + count);
    byId("more").hidden = state.shown >= state.found.length;
    byId("more").textContent = `Show ${Math.min(BATCH, state.found.length - state.shown)} more`;
  }

  function choose(part) {
    state.part = part === state.part ? null : part;
    find();
    byId("filters").scrollIntoView({ block: "start" });
  }

  function reset() {
    state.part = null;
    byId("query").value = "";
    byId("clear-only").checked = false;
    find();
  }

  /** Bring the filter of the address into view, whatever was being looked for. */
  function follow() {
    const number = location.hash.match(/^#filter-(\d+)$/);
    if (!number || Number(number[1]) >= data.filters.length) return;
    if (!state.found.some((filter) => filter.index === Number(number[1]))) reset();
    const place = state.found.findIndex((filter) => filter.index === Number(number[1]));
    if (place >= state.shown) more(place + 1 - state.shown);
    const target = byId(`filter-${number[1]}`);
    fill(target);
    target.scrollIntoView({ block: "center" });
  }

  byId("finder").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["query", "sort", "clear-only"]) byId(id).addEventListener("input", find);
  byId("more").addEventListener("click", () => more());
  byId("reset").addEventListener("click", reset);
  for (const button of document.querySelectorAll("[data-part]")) button.addEventListener("click", () => choose(Number(button.dataset.part)));
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => { more(Infinity); for (const made of cards.values()) fill(made); });
  find();
  follow();
  document.documentElement.dataset.ready = "";
})();
