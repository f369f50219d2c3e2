// @ts-check
// The state in the page's address, for back, reload and shared links.

import { storeName } from "./api.js";
import { data, idOf, state, subsetOf } from "./state.js";
import { isCategory } from "./table.js";

const ROOMS = ["explore", "duplicates", "review", "statistics", "compare"];

/** The state as the part of an address behind "?". */
export function toAddress() {
  const said = new URLSearchParams();
  if (storeName) said.set("store", storeName);
  if (state.room !== "explore") said.set("room", state.room);
  if (state.query && "text" in state.query) said.set("q", state.query.text);
  if (state.query && "row" in state.query) said.set("like", rowName(state.query.row) + (state.query.box === undefined ? "" : `#${state.query.box}`));
  for (const [name, filter] of state.filters) {
    const column = data.table.column(name);
    if (!column) continue;
    if ("values" in filter) for (const value of filter.values) said.append(name, column.values[value]);
    else said.set(name, `${bound(filter.from)}..${bound(filter.to)}`);
  }
  if (state.words) said.set("words", state.words);
  if (state.plane !== "pictures") said.set("map", state.plane);
  if (state.region) said.set("region", state.region.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" "));
  if (state.sort.name) said.set("sort", (state.sort.descending ? "-" : "") + state.sort.name);
  if (state.colour !== usualColour()) said.set("colour", state.colour);
  if (state.focus >= 0) said.set("focus", rowName(state.focus));
  if (state.current) said.set("at", String(state.current));
  const words = said.toString();
  return words ? `?${words}` : "";
}

/**
 * The state that an address describes, as far as this store has it.
 * @param {string} search
 * @returns {Partial<import("./state.js").State> & {like?: string}}
 */
export function fromAddress(search) {
  const said = new URLSearchParams(search);
  const room = said.get("room") ?? "explore";
  const sort = said.get("sort") ?? "";
  /** @type {Map<string, import("./table.js").Filter>} */
  const filters = new Map();
  for (const [name, column] of data.table.columns) {
    const given = said.getAll(name);
    if (!given.length) continue;
    if (isCategory(column)) {
      const values = given.map((text) => column.values.indexOf(text)).filter((value) => value >= 0);
      if (values.length) filters.set(name, { values: new Set(values) });
    } else {
      const [from, to] = given[0].split("..");
      filters.set(name, { from: from ? Number(from) : -Infinity, to: to ? Number(to) : Infinity });
    }
  }
  const text = said.get("q");
  const [like, box] = (said.get("like") ?? "").split("#");
  const row = rowNamed(like);
  const region = (said.get("region") ?? "").split(" ").filter(Boolean).map((corner) => corner.split(",").map(Number));
  return {
    room: /** @type {any} */ (ROOMS.includes(room) ? room : "explore"),
    query: text ? { text } : row < 0 ? null : { row, ...(box ? { box: Number(box) } : {}) },
    typed: text ?? "",
    filters,
    words: said.get("words") ?? "",
    plane: said.get("map") === "objects" && data.overview.objects ? "objects" : "pictures",
    region: region.length > 2 && region.flat().every(Number.isFinite) ? /** @type {[number, number][]} */ (region) : null,
    sort: { name: sort.replace(/^-/, ""), descending: sort.startsWith("-") },
    colour: said.get("colour") ?? usualColour(),
    focus: rowNamed(said.get("focus") ?? ""),
    current: Math.max(0, Number(said.get("at")) || 0),
  };
}

/** The column that colours the points at first: the class, if there is one. */
export function usualColour() {
  return data.table.column("class")?.values.length ? "class" : "subset";
}

/** @param {number} row */
export function rowName(row) {
  return `${idOf(row)}@${subsetOf(row)}`;
}

/** The row of a name that `rowName` made; -1 if there is none. @param {string} name */
function rowNamed(name) {
  const end = name.lastIndexOf("@");
  const [id, subset] = [name.slice(0, end), name.slice(end + 1)];
  return end < 0 ? -1 : data.ids.findIndex((each, row) => each === id && subsetOf(row) === subset);
}

/** @param {number} number */
function bound(number) {
  return Number.isFinite(number) ? String(Number(number.toPrecision(6))) : "";
}
