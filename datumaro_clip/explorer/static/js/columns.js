// @ts-check
// Columns for people: which are shown, and how titles, units and values are written.

import { data } from "./state.js";
import { count, date, isSaid, say, score, spoken } from "./words.js";

/** @typedef {import("./table.js").Column} Column */

/** Names of units. @type {Record<string, string>} */
const UNITS = { alignment: "cosine", match: "cosine", added: "utc", width: "pixels", height: "pixels" };

/** The columns to show: all but the place on the map. */
export function shownColumns() {
  return [...data.table.columns.values()].filter(({ name }) => name !== "x" && name !== "y");
}

/** A column's title, translated where the page has words for it. @param {Column} column */
export function title({ name, title }) {
  return isSaid(name) ? say(name) : title.replace(/^attribute:/, "");
}

/** The unit of a column's numbers; empty where it is not known. @param {Column} column */
export function unit({ name }) {
  return UNITS[name] ? say(UNITS[name]) : "";
}

/** Write a value of a category. @param {Column} column @param {number} value */
export function valueName({ name, values }, value) {
  return name === "decision" ? say(values[value]) : name === "reason" ? spoken(values[value]) : values[value];
}

/** Write a number or a date. @param {Column} column @param {number} value */
export function numberText({ name, kind }, value) {
  return kind === "date" ? date(value) : UNITS[name] === "cosine" ? score(value) : count(value);
}
