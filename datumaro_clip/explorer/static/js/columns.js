// @ts-check
// Columns as people read them: which are shown, their titles and units, their values.

import { data } from "./state.js";
import { count, date, isSaid, say, score, spoken } from "./words.js";

/** @typedef {import("./table.js").Column} Column */

/** Names of units; a cosine has as many digits as a score everywhere else. @type {Record<string, string>} */
const UNITS = { alignment: "cosine", match: "cosine", added: "utc", width: "pixels", height: "pixels" };

/** The columns that say something about a picture: all but its place on the map. */
export function shownColumns() {
  return [...data.table.columns.values()].filter(({ name }) => name !== "x" && name !== "y");
}

/** A column's title, in the page's language where the page knows it. @param {Column} column */
export function title({ name, title }) {
  return isSaid(name) ? say(name) : title.replace(/^attribute:/, "");
}

/** What a column's numbers are counted in, where that is known. @param {Column} column */
export function unit({ name }) {
  return UNITS[name] ? say(UNITS[name]) : "";
}

/** A value of a category. @param {Column} column @param {number} value */
export function valueName({ name, values }, value) {
  return name === "decision" ? say(values[value]) : name === "reason" ? spoken(values[value]) : values[value];
}

/** A number or a date. @param {Column} column @param {number} value */
export function numberText({ name, kind }, value) {
  return kind === "date" ? date(value) : UNITS[name] === "cosine" ? score(value) : count(value);
}
