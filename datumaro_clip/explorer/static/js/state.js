// @ts-check
// The page's whole state in one place, what follows from it, and who is told when it changes.

import { applyFilters, sortedRows } from "./table.js";
import { PointGrid } from "./geometry.js";
import { colouring } from "./palette.js";

/**
 * @typedef {{text: string} | {row: number, box?: number} | {rows: number[]} | {picture: string}} Query
 * @typedef {{name: string, descending: boolean}} Sort
 * @typedef {{row: number, annotation?: number, action: string, reason: string, detail: string, score?: number,
 *   threshold?: number, group?: number, keeper?: number, rank?: number, label?: string, text?: string,
 *   tool: string}} Proposal
 * @typedef {{row: number, annotation?: number, action: string, tag?: string, by: string, at: string}} Choice
 */

/**
 * @typedef {object} State
 * @property {"explore" | "duplicates" | "review" | "statistics" | "compare"} room
 * @property {Query | null} query what the rows are ranked by
 * @property {string} typed what stands in the search field
 * @property {Map<string, import("./table.js").Filter>} filters
 * @property {string} words wanted in captions
 * @property {Uint8Array | null} wordsMask
 * @property {[number, number][] | null} region corners of a lasso, in map units
 * @property {Sort} sort
 * @property {string} colour
 * @property {number} tile width of a picture in the gallery, CSS pixels
 * @property {boolean} boxes
 * @property {boolean} captions
 * @property {Set<number>} selected
 * @property {number} focus row that is shown in full, or -1
 * @property {Proposal[]} proposals
 * @property {Choice[]} choices the latest choice about each row
 * @property {number} choiceVersion
 * @property {number} undoable how many choices can be taken back
 * @property {number} current number of the proposal or group that is shown in review
 * @property {string} panel a dialog that is open: "", "help", "export", "tools", "tag"
 * @property {{id: string, tool: string, done: number, total: number, note: string} | null} job
 * @property {{text: string, kind: "said" | "wrong"} | null} notice
 * @property {boolean} offline
 * @property {boolean} filtersOpen whether a narrow screen shows the filters
 */

/** @type {State} */
export const state = {
  room: "explore",
  query: null,
  typed: "",
  filters: new Map(),
  words: "",
  wordsMask: null,
  region: null,
  sort: { name: "", descending: false },
  colour: "subset",
  tile: 128,
  boxes: false,
  captions: false,
  selected: new Set(),
  focus: -1,
  proposals: [],
  choices: [],
  choiceVersion: 0,
  undoable: 0,
  current: 0,
  panel: "",
  job: null,
  notice: null,
  offline: false,
  filtersOpen: false,
};

/**
 * What was loaded once: the store's facts and its columns.
 * @type {{overview: any, table: import("./table.js").Table, grid: PointGrid, keys: [string, string][], rowOf: Map<string, number>}}
 */
export const data = /** @type {any} */ ({});

/** @type {Set<(changed: Partial<State>) => void>} */
const listeners = new Set();

/** @param {(changed: Partial<State>) => void} listener */
export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Change the state and tell everybody.
 * @param {Partial<State>} changed
 */
export function update(changed) {
  Object.assign(state, changed);
  for (const listener of listeners) listener(changed);
}

/**
 * Remember a result until one of its inputs is another object or value.
 * @template T
 * @param {() => unknown[]} inputs
 * @param {() => T} compute
 * @returns {() => T}
 */
function derived(inputs, compute) {
  /** @type {unknown[]} */
  let before = [NaN];
  /** @type {T} */
  let result;
  return () => {
    const now = inputs();
    if (now.length !== before.length || now.some((value, at) => value !== before[at])) {
      before = now;
      result = compute();
    }
    return result;
  };
}

/** The rows inside the lasso; null where there is none. */
const inRegion = derived(
  () => [state.region, data.grid],
  () => (state.region ? data.grid.inside(state.region) : null),
);

/** Which rows pass what narrows, and how many. */
export const narrowed = derived(
  () => [state.filters, state.wordsMask, inRegion(), data.table, data.table.column("match"), data.table.column("decision")],
  () => {
    const others = [state.wordsMask, inRegion()].filter((mask) => mask !== null);
    return applyFilters(data.table, state.filters, /** @type {Uint8Array[]} */ (others));
  },
);

/** The rows that pass, in order. */
export const ordered = derived(
  () => [narrowed(), state.sort, data.table.column("match")],
  () => sortedRows(data.table, narrowed().passed, state.sort.name, state.sort.descending),
);

/** For the map: 0 pale, 1 matching, 2 selected. */
export const layers = derived(
  () => [narrowed(), state.selected],
  () => {
    const found = narrowed().passed.slice();
    for (const row of state.selected) found[row] = 2;
    return found;
  },
);

/** The latest choice about each row as a whole. */
export const choiceOf = derived(
  () => [state.choices],
  () => new Map(state.choices.filter((choice) => choice.annotation === undefined).map((choice) => [choice.row, choice])),
);

/** The proposals about each row. */
export const proposalsOf = derived(
  () => [state.proposals],
  () => {
    /** @type {Map<number, Proposal[]>} */
    const found = new Map();
    for (const proposal of state.proposals) {
      const held = found.get(proposal.row);
      if (held) held.push(proposal);
      else found.set(proposal.row, [proposal]);
    }
    return found;
  },
);

/**
 * Groups of duplicates, each with its proposals, the keeper's first.
 * @returns {{group: number, keeper: number, members: Proposal[]}[]}
 */
export const groups = derived(
  () => [state.proposals],
  () => {
    /** @type {Map<number, {group: number, keeper: number, members: Proposal[]}>} */
    const found = new Map();
    for (const proposal of state.proposals) {
      if (proposal.tool !== "clip_dedup" || proposal.group === undefined) continue;
      const held = found.get(proposal.group) ?? { group: proposal.group, keeper: -1, members: [] };
      if (proposal.keeper !== undefined && proposal.keeper >= 0) held.keeper = proposal.keeper;
      held.members.push(proposal);
      found.set(proposal.group, held);
    }
    return [...found.values()].filter((group) => group.members.some((member) => member.action === "drop"));
  },
);

/** Proposals to be judged one by one: all that would change something, but for duplicates. */
export const reviewable = derived(
  () => [state.proposals],
  () => state.proposals.filter((proposal) => proposal.tool !== "clip_dedup" && proposal.action !== "keep"),
);

/** The colour of each class that has one of its own. */
export const classInks = derived(
  () => [data.table.column("class")],
  () => new Map(colouring(data.table, "class").legend.map(({ text, ink }) => [text, ink])),
);

/** Words for the states that a row can be in; the order is that of the `decision` column's values. */
export const VERDICTS = ["undecided", "proposed", "kept", "dropped"];

/** Make the column `decision` from proposals and choices, so that it is a facet, a colour and an order like any other. */
export function recountVerdicts() {
  const { table } = data;
  const verdicts = new Uint16Array(table.count);
  for (const proposal of state.proposals) if (proposal.action === "drop" && proposal.annotation === undefined) verdicts[proposal.row] = 1;
  for (const [row, choice] of choiceOf()) {
    if (choice.action === "keep") verdicts[row] = 2;
    if (choice.action === "drop") verdicts[row] = 3;
  }
  table.put({ name: "decision", kind: "category", title: "decision", values: VERDICTS, data: verdicts });
}
