"use strict";
// From numbers to pixels: decodes grey pictures, colors maps, enlarges them anchored at receptive-field centers (the same
// arithmetic as pellucid.geometry.upsample), and outlines regions. Knows nothing of the page.
const Maps = (() => {
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // Evidence for the target: inferno (matplotlib, CC0) at 25 points. Evidence against: a blue that darkens the same way.
  const FOR = ramp(
    "000004 050417 110a30 210c4a 320a5e 450a69 57106e 67166e 781c6d 8a226a 9a2865 ab2f5e bc3754 ca404a d84c3e e45a31 " +
      "ed6925 f57b17 f98e09 fca108 fbb61a f9cb35 f4df53 f2f27d fcffa4");
  const AGAINST = ramp("000010 06123a 0a2868 104896 1a6cc0 3c95dc 74bcec aedcf6 e4f5ff");
  const STEPS = 1021; // quarter grey levels from 0 to 255

  function ramp(colors) {
    const anchors = colors.split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
    return Array.from({ length: 256 }, (_, level) => {
      const place = (level / 255) * (anchors.length - 1);
      const low = Math.min(Math.floor(place), anchors.length - 2);
      return anchors[low].map((value, c) => Math.round(value + (place - low) * (anchors[low + 1][c] - value)));
    });
  }

  const uri = (png) => (png.startsWith("data:image/") ? png : `data:image/png;base64,${png}`);

  function sized(canvas, wide, high) {
    canvas.width = Math.max(1, Math.round(wide));
    canvas.height = Math.max(1, Math.round(high));
    return canvas;
  }

  /** The grey levels of an encoded picture. */
  async function grey(png) {
    const image = new Image();
    image.src = uri(png);
    await image.decode();
    const canvas = sized(document.createElement("canvas"), image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return { values: data.filter((_, at) => at % 4 === 0), width: canvas.width, height: canvas.height };
  }

  /** Colors of a map at quarter grey levels: transparent without evidence, bright and dense where it is strongest. */
  function palette(map, opacity) {
    const table = new ImageData(STEPS, 1);
    const peak = map.full || Math.max(Math.abs(map.min), Math.abs(map.max)) || 1; // a lone peak must not hide the rest
    for (let at = 0; at < STEPS; at++) {
      const part = at / (STEPS - 1);
      const value = map.min + part * (map.max - map.min);
      const strength = Math.min(1, Math.abs(value) / peak);
      const alpha = Math.round(255 * opacity * Math.min(1, 1.4 * strength));
      table.data.set([...(value < 0 ? AGAINST : FOR)[Math.round(255 * strength)], alpha], 4 * at);
    }
    return table;
  }

  /** Per canvas pixel of one axis: the cells on both sides and the weight of the second. Cell i sits at start + i * stride. */
  function axis(cells, start, stride, extent, pixels, smooth) {
    return Array.from({ length: pixels }, (_, pixel) => {
      const position = ((pixel + 0.5) * extent) / pixels - 0.5;
      let cell = cells > 1 ? clamp((position - start) / stride, 0, cells - 1) : 0;
      if (!smooth) cell = Math.round(cell);
      const low = Math.floor(cell);
      return [low, Math.min(low + 1, cells - 1), cell - low];
    });
  }

  /** Draw a map over the whole canvas, which shows an input of `size` (height, width). */
  function paint(canvas, stage, map, size, opacity, smooth) {
    const [down, across] = [canvas.height, canvas.width].map((pixels, k) =>
      axis(stage.shape[k + 1], stage.start[k], stage.stride[k], size[k], pixels, smooth));
    const colors = new Uint32Array(palette(map, opacity).data.buffer);
    const picture = new ImageData(canvas.width, canvas.height);
    const pixels = new Uint32Array(picture.data.buffer);
    const { values, width } = map.cells;
    let at = 0;
    for (const [top, bottom, y] of down) {
      for (const [left, right, x] of across) {
        const above = values[top * width + left] * (1 - x) + values[top * width + right] * x;
        const below = values[bottom * width + left] * (1 - x) + values[bottom * width + right] * x;
        pixels[at++] = colors[Math.round(4 * (above * (1 - y) + below * y))];
      }
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }

  /** The outline of a binary picture as an SVG path, cutting corners: marching squares through the middles of pixel edges. */
  function contour({ values, width, height }) {
    const SEGMENTS = ["", "30", "01", "31", "12", "3012", "02", "32", "23", "20", "0123", "21", "13", "10", "03", ""];
    const inside = (y, x) => (y >= 0 && x >= 0 && y < height && x < width && values[y * width + x] > 127 ? 1 : 0);
    let path = "";
    for (let y = -1; y < height; y++) {
      for (let x = -1; x < width; x++) {
        const middles = [[x + 1, y + 0.5], [x + 1.5, y + 1], [x + 1, y + 1.5], [x + 0.5, y + 1]];
        const code = inside(y, x) + 2 * inside(y, x + 1) + 4 * inside(y + 1, x + 1) + 8 * inside(y + 1, x);
        for (let k = 0; k < SEGMENTS[code].length; k += 2) {
          path += `M${middles[SEGMENTS[code][k]]}L${middles[SEGMENTS[code][k + 1]]}`;
        }
      }
    }
    return path;
  }

  /** Darken everything that is in none of the regions. */
  function dim(canvas, regions, [height, width]) {
    const picture = new ImageData(width, height);
    for (let at = 0; at < width * height; at++) {
      if (!regions.some((region) => region.cells.values[at] > 127)) picture.data.set([8, 10, 14, 178], 4 * at);
    }
    sized(canvas, width, height).getContext("2d").putImageData(picture, 0, 0);
    return canvas;
  }

  /** Receptive field of a cell as (top, left, bottom, right), end excluded, clipped to the picture: `Geometry.region`. */
  function receptiveField(stage, cell, size) {
    const box = [];
    size.forEach((extent, k) => {
      const center = stage.start[k] + cell[k] * stage.stride[k];
      const half = (stage.receptive_field[k] - 1) / 2;
      box[k] = clamp(Math.round(center - half), 0, extent);
      box[k + 2] = clamp(Math.round(center + half) + 1, box[k], extent);
    });
    return box;
  }

  /** The patch of the picture a cell stands for when cells are drawn as they are. */
  function cellBox(stage, cell) {
    const edge = (k, side) => stage.start[k] + (cell[k] + side) * stage.stride[k] + 0.5;
    return [edge(0, -0.5), edge(1, -0.5), edge(0, 0.5), edge(1, 0.5)];
  }

  /** A box as an SVG path, kept a little inside the picture so that its lines are seen. */
  function rectangle([top, left, bottom, right], [height, width]) {
    const inset = 0.006 * Math.max(height, width);
    const [t, b] = [top, bottom].map((y) => clamp(y, inset, height - inset));
    const [l, r] = [left, right].map((x) => clamp(x, inset, width - inset));
    return `M${l},${t}H${r}V${b}H${l}Z`;
  }

  return { clamp, uri, sized, grey, palette, paint, contour, dim, receptiveField, cellBox, rectangle };
})();
