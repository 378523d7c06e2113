"use strict";
// The living part of a report: ties the words, the neurons, the controls and the picture together. Names and texts enter the
// page as text only, never as markup.
(async () => {
  const report = JSON.parse(document.getElementById("report-data").textContent);
  const words = JSON.parse(document.getElementById("report-words").textContent);
  const T = (text, ...values) => (words.strings[text] || text).replace(/\{(\d)\}/g, (_, at) => values[at]);
  const nameOf = (name) => words.names[name] || T(name);
  const size = report.image.size;
  const [height, width] = size;
  const sharpness = Math.max(1, Math.ceil(640 / Math.max(height, width))); // canvas pixels per input pixel
  const byId = (id) => document.getElementById(id);
  const STATUS = {
    constant: [T("Constant"), T("Every cell has the same value: the map points nowhere.")],
    negative: [T("Negative"), T("All evidence at this stage speaks against {0}; nothing here speaks for it.", nameOf(report.target.name))],
    zero: [T("Zero"), T("No cell of this stage moves {0} by this method.", nameOf(report.target.name))],
    "not finite": [T("Not finite"), T("The numbers overflowed or are undefined, so there is no map to read.")],
    missing: [T("Not made at this stage"), T("This method was not run at this stage.")],
    unreadable: [T("Unreadable"), T("The picture of this map could not be decoded.")],
  };
  const statusOf = (map) => STATUS[map.status] || [map.status, T("This map cannot be read.")];

  // What is shown: the chosen map, unless a part of the sentence or a neuron is pointed at (hovered) or kept (pinned).
  const methodNames = report.methods.map((method) => method.name);
  const stageIndex = (layer) => report.stages.findIndex((stage) => stage.layer === layer);
  const mapAt = (at, method) => report.stages[at].maps[method] || { status: "missing" };
  const firstTold = report.clauses.findIndex((clause) => methodNames.includes(clause.method) && stageIndex(clause.layer) >= 0);
  const state = { ...firstView(), cell: null, hovered: null, pinned: null };
  let stripped = ""; // how the strip was last drawn

  /** What the sentence speaks of first; else the deepest map of the default method that can be read. */
  function firstView() {
    const told = report.clauses[firstTold];
    if (told) return { at: stageIndex(told.layer), method: told.method };
    const method = (report.methods.find((entry) => entry.default) || report.methods[0]).name;
    const readable = report.stages.findLastIndex((stage) => stage.maps[method]?.status === "ok");
    return { at: readable < 0 ? report.stages.length - 1 : readable, method };
  }

  function current() {
    const item = state.hovered || state.pinned;
    const told = item ? stageIndex(item.layer) : -1;
    const at = told >= 0 ? told : state.at;
    const method = item && methodNames.includes(item.method) ? item.method : state.method;
    const regions = item ? item.regions.filter((region) => region?.cells) : [];
    const title = [...byId("method").options].find((option) => option.value === method).textContent;
    return { item, at, stage: report.stages[at], method, title, map: mapAt(at, method), regions };
  }

  /** The neuron or clause an element belongs to, with what it shows in the picture. */
  function itemOf(element) {
    const found = element?.closest?.("[data-neuron], [data-clause], [data-spot]");
    if (!found) return null;
    if (found.dataset.spot !== undefined) {
      const number = found.dataset.spot;
      const about = T("Bright is the region these words speak of; the rest of the picture is dimmed.");
      return { key: `spot ${number}`, layer: null, regions: [report.regions[number]], label: T("Region {0}", number), about, numbers: null };
    }
    if (found.dataset.neuron !== undefined) {
      const neuron = report.neurons[found.dataset.neuron];
      const numbers = found.matches(".mention") ? `#neuron-${found.dataset.neuron} > div` : null;
      const label = T("{0} of {1}", T("Neuron {0}", neuron.unit), neuron.layer);
      return { key: `neuron ${found.dataset.neuron}`, layer: neuron.layer, regions: [neuron.region], label, numbers };
    }
    const clause = report.clauses[found.dataset.clause];
    const told = report.neurons.filter((neuron) =>
      clause.units.some(([layer, index]) => layer === neuron.layer && index === neuron.unit));
    const label = T("{0} of {1}", told.map((neuron) => T("Neuron {0}", neuron.unit)).join(", "), told[0]?.layer);
    const key = `clause ${found.dataset.clause}`;
    const numbers = `#clause-${found.dataset.clause}`;
    const part = report.regions?.[clause.part];
    const about = T("Bright is the region these words speak of; the rest of the picture is dimmed.");
    if (part) return { ...clause, key, regions: [part], label: nameOf(clause.part), about, numbers };
    return { ...clause, key, regions: told.map((neuron) => neuron.region), label, numbers };
  }

  /** A number for a reader: three digits, powers of ten written out. */
  function figure(value) {
    if (value === null || value === undefined) return "–";
    if (value === 0 || (Math.abs(value) >= 0.001 && Math.abs(value) < 1e5)) return String(Number(value.toPrecision(3)));
    const [digits, exponent] = value.toExponential(1).split("e");
    return `${digits} · 10${[...String(Number(exponent))].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign])).join("")}`;
  }

  /** Grid, stride and receptive field of a stage in plain words. */
  function describe(stage) {
    const [, high, wide] = stage.shape;
    const [tall, broad] = stage.receptive_field.map(Math.round);
    const part = (Math.min(tall, height) * Math.min(broad, width)) / (height * width);
    const [down, across] = stage.stride.map((step) => Number(step.toPrecision(3)));
    const spacing =
      down !== across ? T("one every {0} × {1} pixels", across, down)
      : down === 1 ? T("one per pixel")
      : T("one every {0} pixels", down);
    const sees =
      tall <= 1 && broad <= 1 ? T("each is a pixel itself")
      : part >= 1 ? T("each can see the whole picture")
      : part < 0.01 ? T("each sees {0} × {1} pixels, under 1 % of the picture", broad, tall)
      : T("each sees {0} × {1} pixels, {2} % of the picture", broad, tall, Math.round(100 * part));
    return T("{0} × {1} cells, {2}; {3}.", wide, high, spacing, sees);
  }

  function draw() {
    const view = current();
    const { item, at, stage, method, map, regions } = view;
    const opacity = byId("opacity").value / 100;
    const smooth = byId("smooth").checked;
    const readable = map.status === "ok";
    const heat = Maps.sized(byId("heat"), width * sharpness, height * sharpness);
    const shown = byId("show-map").checked || (item && item.layer && !regions.length);
    if (readable && shown && !regions.length) Maps.paint(heat, stage, map, size, opacity, smooth);
    byId("dim").hidden = !regions.length;
    if (regions.length) Maps.dim(byId("dim"), regions, size);
    byId("stage").value = at;
    byId("stage").setAttribute("aria-valuetext", T("{0}, stage {1} of {2}", stage.layer, at + 1, report.stages.length));
    byId("method").value = method;
    byId("legend").classList.toggle("off", !readable || !shown || regions.length > 0);
    if (readable) {
      byId("ramp").getContext("2d").putImageData(Maps.palette(map, opacity), 0, 0);
      byId("low").textContent = Math.abs(map.min) < 1e-6 * map.max ? "0" : figure(map.min);
      byId("high").textContent = figure(map.max);
    }
    drawInk(view);
    drawWords(view);
    drawStrip(view, opacity, smooth);
    drawTrust(view);
    for (const marked of document.querySelectorAll("[data-clause], [data-neuron], [data-spot]")) {
      marked.classList.toggle("active", itemOf(marked).key === item?.key);
    }
    if (item?.numbers) showNumbers(item.numbers);
  }

  /** Lines over the picture: regions, the object, boxes, and the cell pointed at with what it sees. */
  function drawInk({ item, regions, stage, map }) {
    const lines = regions.map((region) => ["region", region.path]);
    const spots = regions.length || !byId("show-spots")?.checked ? [] : report.spots.map((spot) => report.regions[spot.number]);
    lines.push(...spots.filter((region) => region?.path).map((region) => ["region", region.path]));
    byId("badges").hidden = !spots.length;
    const outlined = byId("outline")?.checked || item?.kind === "object";
    if (outlined && report.mask?.path) lines.push(["mask", report.mask.path]);
    const box = item?.box || (byId("box").checked && map.box);
    if (box && !regions.length) lines.push(["box", Maps.rectangle(box, size)]);
    if (state.cell) {
      lines.push(["field", Maps.rectangle(Maps.receptiveField(stage, state.cell, size), size)]);
      lines.push(["cell", Maps.rectangle(Maps.cellBox(stage, state.cell), size)]);
    }
    byId("ink").replaceChildren(...lines.flatMap(([kind, path]) => ["halo", kind].map((name) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      line.setAttribute("class", name);
      line.setAttribute("d", path);
      return line;
    })));
  }

  /** Caption, message over an unreadable map, and the read-out of the cell pointed at. */
  function drawWords({ item, regions, stage, title, map }) {
    const told = byId("show-map").checked || (item && !regions.length);
    const unread = map.status !== "ok" && !regions.length && told;
    byId("caption").textContent = regions.length ? item.label : told ? T("{0} at {1}", title, stage.layer) : T("What the network saw");
    byId("plainly").textContent = regions.length
      ? item.about || T("Bright is where it responded most strongly; the rest of the picture is dimmed.")
      : told ? describe(stage) : "";
    byId("message").hidden = !unread;
    byId("view").classList.toggle("unread", unread);
    const heading = document.createElement("strong");
    heading.textContent = statusOf(map)[0];
    byId("message").replaceChildren(...(unread ? [heading, statusOf(map)[1]] : []));
    const { cell } = state;
    byId("needle").hidden = !cell || map.status !== "ok";
    byId("readout").textContent = cell ? readCell(cell, stage, map) : T("Point at the picture to read a cell and see how far it looks.");
  }

  /** Says beside the test of a map when the picture shows another one. */
  function drawTrust({ regions, stage, method, title }) {
    if (!byId("trust")) return;
    const tested = byId("trust").dataset;
    const same = stage.layer === tested.layer && method === tested.method;
    byId("trust-other").hidden = same || regions.length > 0;
    byId("trust-now").textContent = T("{0} at {1}", title, stage.layer);
    byId("trust-show").hidden = stageIndex(tested.layer) < 0;
  }

  function readCell(cell, stage, map) {
    const [top, left, bottom, right] = Maps.receptiveField(stage, cell, size);
    let value = statusOf(map)[0].toLowerCase();
    if (map.status === "ok") {
      const part = map.cells.values[cell[0] * map.cells.width + cell[1]] / 255;
      const read = map.min + part * (map.max - map.min);
      value = map.max > 0 ? T("{0} ({1} % of the highest)", figure(read), Math.round((100 * read) / map.max)) : figure(read);
      byId("needle").style.left = `${100 * part}%`;
    }
    const seen = T("rows {0}–{1}, columns {2}–{3}", top, bottom - 1, left, right - 1);
    return T("Row {0}, column {1}: {2}. Sees the dashed box: {3}.", cell[0] + 1, cell[1] + 1, value, seen);
  }

  function drawStrip({ method, title, at: chosen }, opacity, smooth) {
    const strip = byId("strip");
    const look = [method, opacity, smooth].join();
    if (look !== stripped) {
      stripped = look;
      byId("strip-method").textContent = T("{0}, each map by its own scale.", title);
      const focused = [...strip.children].indexOf(document.activeElement);
      strip.replaceChildren(...report.stages.map((stage, at) => tile(stage, at, mapAt(at, method), opacity, smooth)));
      strip.children[focused]?.focus({ preventScroll: true });
    }
    [...strip.children].forEach((button, at) => {
      button.setAttribute("aria-pressed", at === chosen);
      button.hidden = mapAt(at, method).status === "missing" && at !== chosen;
    });
  }

  function tile(stage, at, map, opacity, smooth) {
    const [button, grid] = [document.createElement("button"), document.createElement("small")];
    const picture = document.createElement(map.status === "ok" ? "canvas" : "span");
    button.type = "button";
    if (map.status === "ok") {
      const heat = Maps.sized(document.createElement("canvas"), 200, (200 * height) / width);
      Maps.paint(heat, stage, map, size, opacity, smooth);
      const context = Maps.sized(picture, heat.width, heat.height).getContext("2d");
      for (const layer of [byId("photo"), heat]) context.drawImage(layer, 0, 0, heat.width, heat.height);
    } else {
      picture.className = "unread";
      [picture.textContent, picture.title] = statusOf(map);
    }
    picture.style.aspectRatio = `${width} / ${height}`;
    const layer = document.createElement("b");
    layer.textContent = stage.layer;
    grid.textContent = `${stage.shape[2]} × ${stage.shape[1]}`;
    button.append(picture, layer, grid);
    button.addEventListener("click", () => choose({ at }));
    return button;
  }

  function showNumbers(selector) {
    const box = document.createElement("div");
    box.className = "numbers";
    box.append(...[...document.querySelector(selector).children].map((child) => child.cloneNode(true)));
    byId("numbers").replaceChildren(box);
  }

  function drawCard(canvas) {
    const { region } = report.neurons[canvas.dataset.region];
    const scale = 320 / width;
    const context = Maps.sized(canvas, width * scale, height * scale).getContext("2d");
    context.drawImage(byId("photo"), 0, 0, canvas.width, canvas.height);
    if (!region?.cells) return;
    context.drawImage(Maps.dim(document.createElement("canvas"), [region], size), 0, 0, canvas.width, canvas.height);
    context.scale(scale, scale);
    for (const [color, line] of [["#04141acc", 7], ["#4ff0e6", 4]]) {
      context.strokeStyle = color;
      context.lineWidth = line / scale;
      context.stroke(new Path2D(region.path));
    }
  }

  /** A region cut out of the picture, enlarged, with its outline. */
  function drawCrop(canvas) {
    const region = report.regions[canvas.dataset.crop];
    const [top, left, bottom, right] = region.box;
    const side = Math.min(Math.max(1.15 * Math.max(bottom - top, right - left), 0.15 * Math.min(height, width)), Math.max(height, width));
    const y = (top + bottom - side) / 2, x = (left + right - side) / 2;
    const context = Maps.sized(canvas, 240, 240).getContext("2d");
    context.scale(240 / side, 240 / side);
    context.translate(-x, -y);
    context.drawImage(byId("photo"), 0, 0, width, height);
    if (!region.path) return;
    for (const [color, line] of [["#04141acc", 6], ["#4ff0e6", 3]]) {
      context.strokeStyle = color;
      context.lineWidth = (line * side) / 240;
      context.stroke(new Path2D(region.path));
    }
  }

  /** Numbers of the regions, at their upper left inside the picture. */
  function placeBadges() {
    byId("badges").replaceChildren(...report.spots.map((spot) => {
      const [top, left, bottom, right] = report.regions[spot.number].box;
      const badge = document.createElement("span");
      badge.className = "badge";
      badge.textContent = spot.number;
      badge.style.left = `${(100 * (left + right)) / 2 / width}%`;
      badge.style.top = `${(100 * (top + bottom)) / 2 / height}%`;
      return badge;
    }));
  }

  /** Take a stage or a method; what was pointed at is let go, but its stage or method stays where nothing else is asked. */
  function choose(change) {
    const { at, method } = current();
    Object.assign(state, { at, method, cell: null, hovered: null, pinned: null }, change);
    byId("show-map").checked = true;
    if (change.method && mapAt(state.at, state.method).status === "missing") {
      const other = report.stages.findLastIndex((stage) => stage.maps[state.method]);
      if (other >= 0) state.at = other;
    }
    draw();
  }

  function hover(element) {
    const item = itemOf(element);
    if (item?.key === state.hovered?.key) return;
    Object.assign(state, { hovered: item, cell: null });
    draw();
  }

  function pin(element, keep) {
    const item = itemOf(element);
    if (!item) return;
    state.pinned = item.key === state.pinned?.key && !keep ? null : item;
    draw();
  }

  function moveTo(cell) {
    const view = current();
    const next = cell && cell.map((place, k) => Maps.clamp(place, 0, view.stage.shape[k + 1] - 1));
    if (String(next) === String(state.cell)) return;
    state.cell = next;
    drawInk(view);
    drawWords(view);
  }

  function pointAt(event) {
    const frame = byId("view").getBoundingClientRect();
    const { stage } = current();
    const place = [(event.clientY - frame.top) / frame.height, (event.clientX - frame.left) / frame.width];
    moveTo(place.map((part, k) => Math.round((part * size[k] - 0.5 - stage.start[k]) / (stage.stride[k] || 1))));
  }

  function step(event) {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!by) return;
    event.preventDefault();
    const { shape } = current().stage;
    moveTo(state.cell ? state.cell.map((place, k) => place + by[k]) : [shape[1] >> 1, shape[2] >> 1]);
  }

  function press(event) {
    if (event.key === "Escape") {
      Object.assign(state, { cell: null, hovered: null, pinned: null });
      draw();
    } else if ((event.key === "Enter" || event.key === " ") && event.target.matches(".clause, .neuron, .spot")) {
      event.preventDefault();
      pin(event.target);
    }
  }

  function download() {
    const text = JSON.stringify(JSON.parse(byId("report-data").textContent), null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = byId("download").dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function listen() {
    const view = byId("view");
    for (const kind of ["pointermove", "pointerdown"]) view.addEventListener(kind, pointAt);
    for (const kind of ["pointerleave", "blur"]) view.addEventListener(kind, () => moveTo(null));
    view.addEventListener("keydown", step);
    byId("stage").addEventListener("input", (event) => choose({ at: Number(event.target.value) }));
    byId("method").addEventListener("change", (event) => choose({ method: event.target.value }));
    for (const id of ["opacity", "smooth", "cells", "outline", "box", "show-map", "show-spots"]) byId(id)?.addEventListener("input", draw);
    let rest = ""; // a page that scrolls moves under a resting pointer, which says nothing
    document.addEventListener("focusin", (event) => hover(event.target));
    document.addEventListener("pointerover", (event) => {
      const at = `${event.clientX} ${event.clientY}`;
      if (at !== rest) hover(event.target);
      rest = at;
    });
    document.addEventListener("click", (event) => pin(event.target, event.target.closest(".mention")));
    document.addEventListener("keydown", press);
    byId("download").addEventListener("click", download);
    byId("trust-show")?.addEventListener("click", () => {
      const tested = byId("trust").dataset;
      choose({ at: stageIndex(tested.layer), method: tested.method });
    });
    for (const link of document.querySelectorAll("[data-open]")) link.addEventListener("click", () => (byId(link.dataset.open).open = true));
    window.addEventListener("beforeprint", () => (byId("all-numbers").open = byId("more").open = true));
  }

  async function readMap(map) {
    if (map.status !== "ok") return;
    map.cells = await Maps.grey(map.png).catch(() => null);
    if (!map.cells) map.status = "unreadable";
  }

  async function readRegion(picture) {
    if (!picture) return;
    picture.cells = await Maps.grey(picture.png).catch(() => null);
    if (picture.cells) picture.path = Maps.contour(picture.cells);
  }

  async function start() {
    byId("photo").src = Maps.uri(report.image.png);
    byId("view").style.aspectRatio = `${width} / ${height}`;
    byId("view").style.setProperty("--ratio", width / height);
    byId("view").classList.toggle("coarse", Math.max(width, height) < 100);
    byId("ink").setAttribute("viewBox", `0 0 ${width} ${height}`);
    byId("box-label").hidden = !report.stages.some((stage) => Object.values(stage.maps).some((map) => map.box));
    const maps = report.stages.flatMap((stage) => Object.values(stage.maps));
    const regions = [report.mask, ...report.neurons.map((neuron) => neuron.region), ...Object.values(report.regions || {})];
    await Promise.all([byId("photo").decode(), ...regions.map(readRegion), ...maps.map(readMap)]);
    if (report.mask?.cells && byId("area")) {
      const covered = report.mask.cells.values.reduce((sum, value) => sum + (value > 127), 0) / (width * height);
      byId("area").textContent =
        T(" The object covers {0} % of the picture: a map that knew nothing would have about that share.", Math.round(100 * covered));
    }
    document.querySelectorAll("canvas[data-region]").forEach(drawCard);
    document.querySelectorAll("canvas[data-crop]").forEach(drawCrop);
    placeBadges();
    for (const image of document.querySelectorAll("img[data-painted]")) image.src = report.neurons[image.dataset.painted].painted.picture;
    listen();
    draw();
    if (report.clauses.length) showNumbers(`#clause-${Math.max(firstTold, 0)}`);
    document.documentElement.dataset.ready = "true";
  }

  await start();
})();
