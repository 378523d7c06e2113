"use strict";
// The unit cards of a dissected layer: found, sorted, and made as the reader comes to them. Names enter the page as text only.
(() => {
  const data = JSON.parse(document.getElementById("dissection-data").textContent);
  const byId = (id) => document.getElementById(id);
  const BATCH = 36; // cards made at a time
  const state = { concept: null, shown: 0, found: [] };
  const cards = new Map();

  const nameOf = (concept) => data.concepts[concept][0];
  const categoryOf = (concept) => data.concepts[concept][1];
  const iou = (value) => (value === 0 ? "0" : value < 0.0005 ? "<0.001" : value.toFixed(3));

  /** A bar for an IoU on the page's common axis, with the limit for detectors and, where known, interval and chance. */
  function bar(value, interval, chance, label) {
    const at = (number) => (100 * Math.min(number / data.top, 1)).toFixed(2);
    const svg = drawn("svg", { class: "score", viewBox: "0 0 100 12", preserveAspectRatio: "none", role: "img", "aria-label": label });
    svg.append(drawn("rect", { class: "track", width: 100, y: 4, height: 4 }));
    svg.append(drawn("rect", { class: "fill", width: at(value), y: 4, height: 4 }));
    if (interval) {
      const [low, high] = interval.map(at);
      svg.append(drawn("path", { class: "whisker", d: `M${low} 6H${high}M${low} 2.5V9.5M${high} 2.5V9.5` }));
    }
    svg.append(drawn("path", { class: "limit", d: `M${at(data.threshold)} 0V12` }));
    if (chance !== null) svg.append(drawn("path", { class: "chance", d: `M${at(chance)} 0V12` }));
    return svg;
  }

  /** Run lengths back to a mask of 0 and 255, one value a cell. */
  function mask(encoded) {
    const [height, width] = data.grid;
    const values = new Uint8Array(height * width);
    let at = 0, inside = false, length = 0, shift = 0;
    for (const byte of Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0))) {
      length += (byte & 127) * 2 ** shift;
      shift += 7;
      if (byte > 127) continue;
      if (inside) values.fill(255, at, at + length);
      at += length;
      [inside, length, shift] = [!inside, 0, 0];
    }
    return { values, width, height };
  }

  /** Darken what is outside the mask to a quarter and draw the mask's edge. */
  function shade(canvas, region) {
    const { values, width, height } = region;
    const veil = new ImageData(width, height);
    for (let at = 0; at < values.length; at++) veil.data[4 * at + 3] = values[at] ? 0 : 191;
    const small = Maps.sized(document.createElement("canvas"), width, height);
    small.getContext("2d").putImageData(veil, 0, 0);
    const sharp = Math.max(1, Math.round(224 / Math.max(width, height)));
    const context = Maps.sized(canvas, width * sharp, height * sharp).getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
    context.scale(sharp, sharp);
    context.lineWidth = 2.2 / sharp;
    context.strokeStyle = "#ffffffd0";
    context.stroke(new Path2D(Maps.contour(region)));
  }

  function picture(unit, [index, peak, runs], rank) {
    const frame = make("div", { className: "picture" });
    frame.dataset.picture = index;
    frame.dataset.runs = runs;
    const caption = make("figcaption", { title: "largest activation" }, String(Number(peak.toPrecision(3))));
    frame.setAttribute("role", "img");
    frame.setAttribute("aria-label", `Picture ${index}, number ${rank + 1} by activation of unit ${unit.unit}; bright where it fires`);
    return make("figure", {}, frame, caption);
  }

  /** The unit's painted picture beside the real ones, each kind under its name; only the real ones where none was painted. */
  function gallery(unit) {
    const figures = unit.examples.map((example, rank) => picture(unit, example, rank));
    const real = figures.length ? make("div", { className: "pictures" }, ...figures) : null;
    if (!unit.painted) return real;
    const [, short, caption] = unit.painted;
    const frame = make("div", { className: "picture" });
    frame.dataset.painted = unit.unit;
    frame.setAttribute("role", "img");
    frame.setAttribute("aria-label", `Picture painted for unit ${unit.unit}; ${caption}`);
    const className = short.startsWith("failed") ? "vain" : "";
    const figure = make("figure", { className, title: caption }, frame, make("figcaption", {}, short));
    return make("div", { className: "kinds" },
      make("div", { className: "painted" }, make("p", { className: "tag" }, "painted"), make("div", { className: "pictures" }, figure)),
      real && make("div", {}, make("p", { className: "tag" }, "real"), real));
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) fill(entry.target);
  }, { rootMargin: "400px" });

  /** Put picture and mask into the frames of a card. */
  function fill(card) {
    watcher.unobserve(card);
    for (const frame of card.querySelectorAll("[data-painted]:empty")) {
      const [encoded] = data.units[frame.dataset.painted].painted;
      frame.append(make("img", { alt: "", decoding: "async", src: `data:image/jpeg;base64,${encoded}` }));
    }
    for (const frame of card.querySelectorAll("[data-picture]:empty")) {
      const image = make("img", { alt: "", decoding: "async", src: `data:image/jpeg;base64,${data.pictures[frame.dataset.picture]}` });
      const canvas = make("canvas", { ariaHidden: "true" });
      shade(canvas, mask(frame.dataset.runs));
      frame.append(image, canvas);
    }
  }

  function heading(unit) {
    const [name, category] = [nameOf(unit.concept), categoryOf(unit.concept)];
    if (unit.silent) return [make("h3", {}, "never active"), null];
    if (!unit.detector && unit.iou === 0) return [make("h3", {}, "meets no concept"), null];
    const button = make("button", { type: "button", title: `Show all units for ${name}` }, name);
    button.addEventListener("click", () => choose(unit.concept));
    const title = unit.detector ? make("h3", {}, button) : make("h3", {}, `no concept above ${data.threshold}, closest: `, button);
    const [text, color] = data.categories[category];
    return [title, make("span", { className: "kind" }, make("span", { className: `dot shade${color}` }), text)];
  }

  /** What the unit scores where neither its threshold nor its concept was chosen. */
  function heldOut(unit) {
    if (!unit.held) return null;
    const [concept, value] = unit.held;
    const other = concept === unit.concept ? "" : `, where its concept is ${nameOf(concept)}`;
    const verdict = unit.detector && value <= data.threshold ? " – not confirmed" : "";
    return make("p", { className: "held" }, "On unseen pictures ", make("strong", {}, iou(value)), other,
      make("span", { className: "lost" }, verdict));
  }

  function measures(unit) {
    if (unit.silent) return [make("p", { className: "held" }, "Its activation never exceeds its threshold in a labeled picture.")];
    const interval = unit.interval ? `${iou(unit.interval[0])} – ${iou(unit.interval[1])}` : "";
    const chance = unit.chance === null ? "" : `, by chance ${iou(unit.chance)}`;
    const spoken = `IoU ${iou(unit.iou)}${interval && `, 95 % interval ${interval}`}${chance}`;
    const measure = make("div", { className: "measure" },
      make("span", {}, "IoU ", make("strong", {}, iou(unit.iou)), make("span", { className: "soft between" }, interval)),
      bar(unit.iou, unit.interval, unit.chance, spoken));
    const others = unit.others.map(([concept, value]) => make("li", {},
      make("span", { className: "name", title: nameOf(concept) }, nameOf(concept)),
      bar(value, null, null, `IoU ${iou(value)}`), make("span", { className: "value" }, iou(value))));
    const list = others.length ? make("ol", { className: "others", ariaLabel: "Runners-up" }, ...others) : null;
    return [measure, heldOut(unit), list];
  }

  function card(unit) {
    if (!cards.has(unit.unit)) {
      const [title, kind] = heading(unit);
      const place = make("a", { className: "place", href: `#unit-${unit.unit}` }, `unit ${unit.unit}`);
      const made = make("li", { className: unit.detector ? "unit" : "unit quiet", id: `unit-${unit.unit}` },
        make("header", {}, title, kind, place),
        gallery(unit), ...measures(unit));
      cards.set(unit.unit, made);
    }
    return cards.get(unit.unit);
  }

  /** Does the unit answer the words typed? A number means the unit, letters a name or category. */
  function answers(unit, words) {
    const number = words.match(/^(?:unit\s*|#)?(\d+)$/);
    if (number) return unit.unit === Number(number[1]);
    const concepts = byId("runners").checked ? [unit.concept, ...unit.others.map(([concept]) => concept)] : [unit.concept];
    if (unit.silent) return "never active".includes(words);
    return concepts.some((concept) =>
      [nameOf(concept), ...(data.concepts[concept][2] || []), data.categories[categoryOf(concept)][0]]
        .some((text) => text.toLowerCase().includes(words)));
  }

  const low = (unit) => (unit.silent ? 1 : 0);
  const ORDERS = {
    iou: (a, b) => b.iou - a.iou,
    held: (a, b) => b.held[1] - a.held[1],
    unit: () => 0,
    concept: (a, b) => low(a) - low(b) || nameOf(a.concept).localeCompare(nameOf(b.concept), "en") || b.iou - a.iou,
    category: (a, b) => low(a) - low(b) || categoryOf(a.concept) - categoryOf(b.concept) || b.iou - a.iou,
  };

  function find() {
    const words = byId("query").value.trim().toLowerCase();
    const category = byId("category").value;
    state.found = data.units
      .filter((unit) => !byId("detectors").checked || unit.detector)
      .filter((unit) => state.concept === null || (unit.detector && unit.concept === state.concept))
      .filter((unit) => category === "" || (!unit.silent && categoryOf(unit.concept) === Number(category)))
      .filter((unit) => !words || answers(unit, words))
      .sort((a, b) => ORDERS[byId("sort").value](a, b) || a.unit - b.unit);
    state.shown = 0;
    byId("cards").replaceChildren();
    more();
    const all = data.units.length;
    byId("count").textContent = state.found.length === all ? plural(all, "unit") : `${state.found.length} of ${plural(all, "unit")}`;
    byId("clear").hidden = state.concept === null && category === "" && !words && !byId("detectors").checked;
    byId("clear").textContent = state.concept === null ? "Show all units" : `Only ${nameOf(state.concept)}: show all units`;
    for (const row of document.querySelectorAll("[data-concept]")) {
      row.setAttribute("aria-pressed", Number(row.dataset.concept) === state.concept);
    }
    for (const head of document.querySelectorAll("[data-category]")) {
      head.setAttribute("aria-pressed", category !== "" && head.dataset.category === category && state.concept === null);
    }
  }

  function more(until = state.shown + BATCH) {
    const next = state.found.slice(state.shown, until).map(card);
    state.shown += next.length;
    byId("cards").append(...next);
    next.forEach((made) => watcher.observe(made));
    const left = state.found.length - state.shown;
    byId("more").hidden = left === 0;
    byId("more").textContent = `Show ${Math.min(left, BATCH)} of ${plural(left, "more unit")}`;
  }

  function reset() {
    state.concept = null;
    for (const id of ["query", "category"]) byId(id).value = "";
    byId("detectors").checked = false;
  }

  /** Show the units of one concept, or all again when it is chosen already. */
  function choose(concept, category = "") {
    const again = concept !== null ? state.concept === concept : byId("category").value === category;
    reset();
    if (!again) {
      state.concept = concept;
      byId("category").value = category;
      byId("detectors").checked = concept === null;
    }
    find();
    byId("units").scrollIntoView({ block: "start" });
  }

  /** Come to the unit the address names, whatever is filtered now. */
  function visit() {
    const number = Number(location.hash.match(/^#unit-(\d+)$/)?.[1] ?? -1);
    if (!data.units[number]) return;
    if (!state.found.includes(data.units[number])) { reset(); find(); }
    const at = state.found.indexOf(data.units[number]);
    if (at >= state.shown) more(at + 1);
    cards.get(number).scrollIntoView({ block: "center" });
  }

  function listen() {
    byId("finder").addEventListener("submit", (event) => event.preventDefault());
    for (const id of ["query", "category", "sort", "detectors", "runners"]) byId(id).addEventListener("input", find);
    byId("whole")?.addEventListener("input", () => byId("cards").classList.toggle("whole", byId("whole").checked));
    byId("clear").addEventListener("click", () => { reset(); find(); byId("query").focus(); });
    byId("more").addEventListener("click", () => more());
    for (const row of document.querySelectorAll("[data-concept]")) {
      row.addEventListener("click", () => choose(Number(row.dataset.concept)));
    }
    for (const head of document.querySelectorAll("[data-category]")) {
      head.addEventListener("click", () => choose(null, head.dataset.category));
    }
    new IntersectionObserver(([entry]) => { if (entry.isIntersecting && state.shown) more(); }, { rootMargin: "800px" })
      .observe(byId("more"));
    addEventListener("hashchange", visit);
    addEventListener("beforeprint", () => {
      more(state.found.length);
      state.found.forEach((unit) => fill(card(unit)));
    });
  }

  listen();
  find();
  visit();
  document.documentElement.dataset.ready = "true";
})();
