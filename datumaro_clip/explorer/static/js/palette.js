// @ts-check
// Colours of values: a class has the same colour in the map, the chips, the boxes and the bars.

import { countValues, extent, NONE } from "./table.js";

/** Distinct with the common colour-vision deficiencies, with a contrast of at least 3:1 on both panels (Tol, "muted" and "bright", adapted). */
export const CATEGORIES = /** @type {[number, number, number][]} */ ([
  [47, 107, 214], [214, 107, 20], [16, 128, 118], [178, 62, 88], [124, 92, 190],
  [140, 104, 36], [196, 70, 150], [84, 126, 38], [40, 130, 172],
]);
const OTHERS = /** @type {[number, number, number]} */ ([128, 132, 140]);
/** From low to high: dark blue to yellow in even steps of brightness (after viridis, Smith and van der Walt, 2015). */
const RAMP = /** @type {[number, number, number][]} */ ([
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [230, 215, 40],
]);
const STEPS = 64;

/**
 * The colours of a column: for each row an index of the colours, and for the legend the coloured values, or the range.
 * @param {import("./table.js").Table} table
 * @param {string} name
 */
export function colouring(table, name) {
  const column = table.column(name);
  const colours = new Uint8Array(table.count);
  if (!column) return { colours, inks: [CATEGORIES[0]], legend: /** @type {Legend} */ ([]), range: null };
  if (column.kind === "number" || column.kind === "date") return ramped(column, colours);
  const all = new Uint8Array(table.count).fill(1);
  const counts = countValues(table, column, all);
  const largest = [...counts.keys()].sort((a, b) => counts[b] - counts[a] || a - b).slice(0, CATEGORIES.length);
  const place = new Uint8Array(Math.max(column.values.length, 1)).fill(CATEGORIES.length);
  largest.forEach((value, at) => (place[value] = at));
  for (let row = 0; row < table.count; row++) {
    const value = table.firstOf(column, row);
    colours[row] = value === NONE ? CATEGORIES.length : place[value];
  }
  const legend = largest.map((value, at) => ({ text: column.values[value], ink: CATEGORIES[at], value }));
  return { colours, inks: [...CATEGORIES, OTHERS], legend, range: null };
}

/** @typedef {{text: string, ink: [number, number, number], value: number}[]} Legend */

/**
 * @param {import("./table.js").Column} column
 * @param {Uint8Array} colours
 */
function ramped(column, colours) {
  const range = extent(column) ?? [0, 1];
  const span = range[1] - range[0] || 1;
  for (let row = 0; row < colours.length; row++) {
    const value = column.data[row];
    colours[row] = Number.isNaN(value) ? STEPS : Math.min(STEPS - 1, Math.floor(((value - range[0]) / span) * STEPS));
  }
  const inks = Array.from({ length: STEPS }, (_, step) => {
    const at = (step / (STEPS - 1)) * (RAMP.length - 1);
    const low = Math.min(RAMP.length - 2, Math.floor(at));
    return mixed(RAMP[low + 1], RAMP[low], at - low);
  });
  return { colours, inks: [...inks, OTHERS], legend: /** @type {Legend} */ ([]), range };
}

/**
 * The colours as pixels, strong and pale, on a panel.
 * @param {[number, number, number][]} inks
 * @param {[number, number, number]} panel
 * @param {[number, number, number]} ring
 */
export function pixelsOf(inks, panel, ring) {
  return {
    strong: Uint32Array.from(inks, packed),
    pale: Uint32Array.from(inks, (ink) => packed(mixed(ink, panel, 0.22))),
    background: packed(panel),
    ring: packed(ring),
  };
}

/** @param {[number, number, number]} rgb */
export function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}

/**
 * A colour as a pixel of little-endian RGBA memory.
 * @param {[number, number, number]} rgb
 */
function packed([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * A mixture of two colours.
 * @param {[number, number, number]} one @param {[number, number, number]} other
 * @param {number} share of the first
 * @returns {[number, number, number]}
 */
function mixed(one, other, share) {
  return /** @type {[number, number, number]} */ (one.map((part, at) => Math.round(part * share + other[at] * (1 - share))));
}
