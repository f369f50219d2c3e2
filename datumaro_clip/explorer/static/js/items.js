// @ts-check
// Items from the service: loaded when a row is first shown, and kept.

import { askJson, version } from "./api.js";
import { sayWrong, update } from "./state.js";

/** Rows in one request. */
const PAGE = 120;

/** @type {Map<number, any>} */
const items = new Map();
/** @type {Set<number>} */
const asked = new Set();

/**
 * The item of a row; null until it is loaded.
 * @param {number} row
 */
export function known(row) {
  return items.get(row) ?? null;
}

/**
 * Load the items of rows that are not loaded yet, in pages, and draw the page again when they have come.
 * @param {Iterable<number>} rows
 */
export function need(rows) {
  const missing = [...rows].filter((row) => !items.has(row) && !asked.has(row));
  for (let start = 0; start < missing.length; start += PAGE) askFor(missing.slice(start, start + PAGE));
}

/** @param {number[]} rows */
async function askFor(rows) {
  for (const row of rows) asked.add(row);
  try {
    const found = await askJson(`items?version=${version()}&rows=${rows.join(",")}`);
    for (const item of found) items.set(item.row, item);
    update({});
  } catch (error) {
    for (const row of rows) items.set(row, { row, missing: true });
    sayWrong(error);
  }
  for (const row of rows) asked.delete(row);
}

/** Mark the picture of a row as missing, because its file is damaged. @param {number} row */
export function lost(row) {
  Object.assign(items.get(row) ?? {}, { missing: true });
  update({});
}
