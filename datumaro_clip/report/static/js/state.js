// @ts-check
// The page's data, what a person chose, and what follows from both.

import { applyFilters, NONE, sortedRows, Table } from "../../../explorer/static/js/table.js";

/**
 * @typedef {{id: string, subset: string, action: string, reason?: string, score?: number, threshold?: number, group?: number,
 *   representative?: {id: string, subset: string}, resembles?: {id: string, subset: string}, annotation?: number,
 *   occurrence?: number, text?: string, label?: string, move_to?: string, detail?: string, rank?: number}} Decided
 * @typedef {{record: Decided, order: number, picture?: number, failure?: string, places?: number[], labels?: string[],
 *   captions?: string[]}} Card
 * @typedef {{header: Record<string, any>, total: number, leftOut: number, selects: boolean, judged: boolean, name: string,
 *   cards: Card[], pictures: string[]}} Data
 * @typedef {"keep" | "drop"} Choice
 * @typedef {import("../../../explorer/static/js/table.js").Filter} Filter
 */

/** @type {Data} */
export const data = JSON.parse(/** @type {HTMLElement} */ (document.getElementById("data")).textContent ?? "");
export const cards = data.cards;

/** What becomes of a card's subject: the class of its badge, and the words of the summary. @param {Decided} record */
export function fateOf({ action, reason = "", move_to }) {
  if (reason === "hit" || reason === "picked") return { kind: "chosen", title: reason === "hit" ? "Found" : "Picked" };
  if (action === "drop") return data.selects && !reason.startsWith("failed") ? { kind: "left", title: "Not chosen" } : { kind: "dropped", title: "Go" };
  if (action === "move") return { kind: "marked", title: `Move to ${move_to}` };
  if (action === "label") return { kind: "kept", title: "Get a label" };
  if (action === "keep") return { kind: "kept", title: "Stay" };
  return { kind: "marked", title: "Stay, marked" };
}

/** A reason as people read it. @param {Decided} record */
export function reasonOf({ action, reason = "" }) {
  return reason ? reason.replaceAll("_", " ") : action === "keep" ? "nothing found" : action;
}

const SEPARATOR = "\u0000";
/** What the title of a fate begins with that captions, labels or boxes share, and not items. */
export const OF_PARTS = "Annotations: ";

/** @param {Card} card */
function verdictOf({ record }) {
  const { title } = fateOf(record);
  return [record.annotation === undefined ? title : `${OF_PARTS}${title.toLowerCase()}`, reasonOf(record)].join(SEPARATOR);
}

export const table = new Table(cards.length, [], new ArrayBuffer(0));

/** @param {string} name @param {string} title @param {(card: Card) => string[]} valuesOf */
function putCategories(name, title, valuesOf) {
  /** @type {Map<string, number>} */
  const numbers = new Map();
  const codes = [];
  const starts = new Uint32Array(cards.length + 1);
  for (const [row, card] of cards.entries()) {
    for (const value of valuesOf(card)) {
      if (!numbers.has(value) && numbers.size < NONE) numbers.set(value, numbers.size);
      codes.push(numbers.get(value) ?? NONE);
    }
    starts[row + 1] = codes.length;
  }
  table.put({ name, title, kind: "categories", values: [...numbers.keys()], data: Uint16Array.from(codes), starts });
}

putCategories("verdict", "Reason", (card) => [verdictOf(card)]);
putCategories("subset", "Subset", (card) => [card.record.subset]);
putCategories("label", "Label", (card) => [...new Set([...(card.labels ?? []), ...(card.record.label ? [card.record.label] : [])])]);
table.put({ name: "score", title: "Score", kind: "number", values: [], data: Float32Array.from(cards, ({ record }) => record.score ?? NaN) });

/** What the words of a search are looked for in. */
const said = cards.map(({ record, captions = [], labels = [] }) =>
  [record.id, record.detail, record.text, record.label, ...labels, ...captions].join("\n").toLowerCase(),
);

/**
 * @type {{filters: Map<string, Filter>, words: string, sort: {name: string, descending: boolean}, focus: number,
 *   enlarged: number, choices: Map<number, Choice>}}
 */
export const state = {
  filters: new Map(),
  words: "",
  sort: { name: "", descending: false },
  focus: -1,
  enlarged: -1,
  choices: new Map(),
};

/** @type {Set<() => void>} */
const listeners = new Set();

/** @param {() => void} listener */
export function subscribe(listener) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Change the state and have the page drawn. @param {Partial<typeof state>} changed */
export function update(changed) {
  Object.assign(state, changed);
  for (const listener of listeners) listener();
}

/** @type {{inputs: unknown[], result: ReturnType<typeof compute>}} */
let latest;

function compute() {
  const words = state.words.trim().toLowerCase();
  const masks = words ? [Uint8Array.from(said, (text) => (text.includes(words) ? 1 : 0))] : [];
  const found = applyFilters(table, state.filters, masks);
  return { ...found, rows: sortedRows(table, found.passed, state.sort.name, state.sort.descending) };
}

/** The rows that pass the filters, in order, and what the filters' own counts are made of. */
export function shown() {
  const inputs = [state.filters, state.words, state.sort, state.filters.has("choice") ? state.choices : null];
  if (!latest || inputs.some((input, at) => input !== latest.inputs[at])) latest = { inputs, result: compute() };
  return latest.result;
}

/** @param {string} name @param {Filter | null} filter */
export function setFilter(name, filter) {
  const filters = new Map(state.filters);
  if (filter) filters.set(name, filter);
  else filters.delete(name);
  update({ filters });
}

const CHOICES = ["keep", "drop"];
const KEPT_IN = `datumaro-clip report ${data.name}`;
/** @type {Map<number, Choice>[]} */
const past = [];

/** @param {Map<number, Choice>} choices */
function take(choices) {
  const codes = new Uint16Array(cards.length).fill(NONE);
  for (const [row, choice] of choices) codes[row] = CHOICES.indexOf(choice);
  table.put({ name: "choice", title: "Your choice", kind: "category", values: CHOICES, data: codes });
  try {
    localStorage.setItem(KEPT_IN, JSON.stringify([...choices]));
  } catch {
    // Nothing is kept in this browser: choices last as long as the page is open.
  }
  update({ choices });
}

/** Choose for some rows; the same choice for all of them again takes it back. @param {number[]} rows @param {Choice} choice */
export function choose(rows, choice) {
  const choices = new Map(state.choices);
  const again = rows.every((row) => choices.get(row) === choice);
  for (const row of rows) again ? choices.delete(row) : choices.set(row, choice);
  past.push(state.choices);
  take(choices);
}

/** Have one of a group stay instead of the others. @param {number} row */
export function keepInstead(row) {
  const choices = new Map(state.choices);
  for (const other of groupOf(row)) choices.set(other, other === row ? "keep" : "drop");
  past.push(state.choices);
  take(choices);
}

export function undo() {
  const before = past.pop();
  if (before) take(before);
}

/** Take up what was chosen when the page was last open. */
export function remember() {
  let kept = "[]";
  try {
    kept = localStorage.getItem(KEPT_IN) ?? kept;
  } catch {
    // As above.
  }
  take(new Map(JSON.parse(kept)));
}

/** @type {Map<number, number[]>} */
const groups = new Map();
for (const [row, { record }] of cards.entries()) {
  if (record.group === undefined) continue;
  const members = groups.get(record.group);
  if (members) members.push(row);
  else groups.set(record.group, [row]);
}

/** The rows of a row's group, the one that stays first; empty where it is in none. @param {number} row */
export function groupOf(row) {
  const { group } = cards[row].record;
  return group === undefined ? [] : /** @type {number[]} */ (groups.get(group));
}

/** The row that a row is compared with: what stays for it, what it looks like, or its first copy; -1 for none. @param {number} row */
export function partnerOf(row) {
  const { resembles } = cards[row].record;
  if (resembles) return cards.findIndex(({ record }) => record.id === resembles.id && record.subset === resembles.subset);
  return groupOf(row).find((other) => other !== row) ?? -1;
}

/** Whether a row stays once the choices are obeyed. @param {number} row */
export function stays(row) {
  const choice = state.choices.get(row);
  return choice ? choice === "keep" : cards[row].record.action !== "drop";
}

/** How many groups lose every member. */
export function lostGroups() {
  const touched = new Set([...state.choices.keys()].map((row) => cards[row].record.group).filter((group) => group !== undefined));
  return [...touched].filter((group) => !groups.get(/** @type {number} */ (group))?.some(stays)).length;
}

/** Where the picture of a number is. @param {number | undefined} number */
export function pictureAt(number) {
  return number === undefined ? "" : `data:image/webp;base64,${data.pictures[number]}`;
}
