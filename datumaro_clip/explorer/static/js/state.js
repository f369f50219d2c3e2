// @ts-check
// The page's whole state, what is derived from it, and the listeners that are called when it changes.

import { applyFilters, sortedRows } from "./table.js";
import { colouring } from "./palette.js";

/**
 * @typedef {{text: string} | {row: number, box?: number} | {rows: number[]} | {picture: string}} Query
 * @typedef {{name: string, descending: boolean}} Sort
 * @typedef {{row: number, annotation?: number, action: string, reason: string, detail: string, score?: number,
 *   threshold?: number, group?: number, keeper?: number, rank?: number, label?: string, text?: string,
 *   tool: string}} Proposal
 * @typedef {{row: number, annotation?: number, action: string, tag?: string, group?: number, by: string, at: string}} Choice
 *
 * A map of pictures or objects: its points, a table with a row for each, and for objects the row of each one's picture.
 * @typedef {{grid: import("./geometry.js").PointGrid, table: import("./table.js").Table, rows: Uint32Array | null,
 *   labels: {x: number, y: number, text: string}[]}} Plane
 */

/**
 * @typedef {object} State
 * @property {"explore" | "duplicates" | "review" | "statistics" | "compare"} room
 * @property {Query | null} query what the rows are ranked by
 * @property {string} typed what stands in the search field
 * @property {Map<string, import("./table.js").Filter>} filters
 * @property {string} words wanted in captions
 * @property {Uint8Array | null} wordsMask
 * @property {"pictures" | "objects"} plane what the map shows
 * @property {[number, number][] | null} region corners of a lasso, in map units
 * @property {Sort} sort
 * @property {string} colour
 * @property {number} tile width of a picture in the gallery, CSS pixels
 * @property {boolean} boxes
 * @property {boolean} masks
 * @property {boolean} captions
 * @property {Set<number>} selected
 * @property {number} focus row that is shown in full, or -1
 * @property {number} object annotation of the object that was picked in it, or -1
 * @property {Proposal[]} proposals
 * @property {Choice[]} choices the latest choice about each row
 * @property {number} choiceVersion
 * @property {number} undoable how many choices can be taken back
 * @property {number} current number of the proposal or group that is shown in review
 * @property {string} panel a dialog that is open: "", "help", "export", "tools", "tag", "picture"
 * @property {{id: string, tool: string, done: number, total: number, note: string} | null} job
 * @property {{text: string, kind: "said" | "wrong"} | null} notice
 * @property {boolean} offline
 * @property {boolean} loading whether proposals and choices are still being asked for
 * @property {boolean} writing whether choices take their time to be written down
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
  plane: "pictures",
  region: null,
  sort: { name: "", descending: false },
  colour: "subset",
  tile: 128,
  boxes: false,
  masks: false,
  captions: false,
  selected: new Set(),
  focus: -1,
  object: -1,
  proposals: [],
  choices: [],
  choiceVersion: 0,
  undoable: 0,
  current: 0,
  panel: "",
  job: null,
  notice: null,
  offline: false,
  loading: true,
  writing: false,
  filtersOpen: false,
};

/**
 * What is loaded once: the overview of the store, its columns, ids and maps.
 * @type {{overview: any, table: import("./table.js").Table, ids: string[], planes: {pictures?: Plane, objects?: Plane}}}
 */
export const data = /** @type {any} */ ({ planes: {} });

/** @param {number} row */
export function idOf(row) {
  return data.ids[row];
}

/** @param {number} row */
export function subsetOf(row) {
  const column = data.table.column("subset");
  return column?.values[column.data[row]] ?? "";
}

/** The map that is shown, if it is loaded. @returns {Plane | undefined} */
export function shownPlane() {
  return data.planes[state.plane];
}

/** @type {Set<(changed: Partial<State>) => void>} */
const listeners = new Set();

/** @param {(changed: Partial<State>) => void} listener */
export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Change the state and call all listeners.
 * @param {Partial<State>} changed
 */
export function update(changed) {
  Object.assign(state, changed);
  for (const listener of listeners) listener(changed);
}

/**
 * A copy of a set, with a value added, or removed if the set has it.
 * @template T
 * @param {Iterable<T>} set @param {T} value
 */
export function toggled(set, value) {
  const found = new Set(set);
  if (!found.delete(value)) found.add(value);
  return found;
}

/** @param {unknown} error */
export function sayWrong(error) {
  update({ notice: { text: error instanceof Error ? error.message : String(error), kind: "wrong" } });
}

/**
 * Compute a result anew only when one of its inputs has changed.
 * @template T
 * @param {() => unknown[]} inputs
 * @param {() => T} compute
 * @returns {() => T}
 */
export function derived(inputs, compute) {
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

/** A mask of the rows inside the lasso, or with an object in it; null without a lasso. */
const inRegion = derived(
  () => [state.region, shownPlane()],
  () => {
    const plane = shownPlane();
    if (!state.region || !plane) return null;
    const inside = plane.grid.inside(state.region);
    if (!plane.rows) return inside;
    const rows = new Uint8Array(data.table.count);
    for (let point = 0; point < inside.length; point++) if (inside[point]) rows[plane.rows[point]] = 1;
    return rows;
  },
);

/** A mask of all rows. */
export const everything = derived(
  () => [data.table],
  () => new Uint8Array(data.table.count).fill(1),
);

/** The rows that pass all filters, and how many. */
export const narrowed = derived(
  () => [state.filters, state.wordsMask, inRegion(), data.table, data.table.column("match"), data.table.column("decision")],
  () => {
    const others = [state.wordsMask, inRegion()].filter((mask) => mask !== null);
    return applyFilters(data.table, state.filters, /** @type {Uint8Array[]} */ (others));
  },
);

/** The rows that pass all filters, in the chosen order. */
export const ordered = derived(
  () => [narrowed(), state.sort, data.table.column("match")],
  () => sortedRows(data.table, narrowed().passed, state.sort.name, state.sort.descending),
);

/** For each point of the map: 0 pale, 1 matching, 2 selected; an object matches if its picture does and its class is not filtered out. */
export const layers = derived(
  () => [narrowed(), state.selected, shownPlane()],
  () => {
    const found = narrowed().passed.slice();
    for (const row of state.selected) found[row] = 2;
    const { rows, table } = shownPlane() ?? { rows: null, table: data.table };
    if (!rows) return found;
    const filter = state.filters.get("class");
    const names = filter && "values" in filter ? new Set([...filter.values].map((value) => data.table.column("class")?.values[value])) : null;
    const own = /** @type {import("./table.js").Column} */ (table.column("class"));
    return Uint8Array.from(rows, (row, point) => (names && !names.has(own.values[own.data[point]]) ? 0 : found[row]));
  },
);

/** The colour of each point of the map: by a column of the map's table, or else by its picture's. */
export const mapColours = derived(
  () => [state.colour, data.table.column(state.colour), shownPlane()],
  () => {
    const { rows, table } = shownPlane() ?? { rows: null, table: data.table };
    if (rows && table.column(state.colour)) return colouring(table, state.colour);
    const found = colouring(data.table, state.colour);
    return rows ? { ...found, colours: Uint8Array.from(rows, (row) => found.colours[row]) } : found;
  },
);

/** Actions about a whole row. */
const WHOLE = new Set(["keep", "drop", "accept"]);

/** The latest choice about each whole row. */
export const choiceOf = derived(
  () => [state.choices],
  () => new Map(state.choices.filter((choice) => choice.annotation === undefined && WHOLE.has(choice.action)).map((choice) => [choice.row, choice])),
);

/** The rows that no person dropped. */
export const remainingRows = derived(
  () => [choiceOf(), data.table],
  () => {
    const chosen = choiceOf();
    return Uint32Array.from({ length: data.table.count }, (_, row) => row).filter((row) => chosen.get(row)?.action !== "drop");
  },
);

/** The latest choice about each annotation of a row. */
const choicesOfParts = derived(
  () => [state.choices],
  () => new Map(state.choices.filter((choice) => choice.annotation !== undefined).map((choice) => [`${choice.row} ${choice.annotation}`, choice])),
);

/** The latest choice about the row, or the annotation, of a proposal. @param {Proposal} proposal */
export function choiceAbout({ row, annotation }) {
  return annotation === undefined ? choiceOf().get(row) : choicesOfParts().get(`${row} ${annotation}`);
}

/** The proposals about each row. */
export const proposalsOf = derived(
  () => [state.proposals],
  () => Map.groupBy(state.proposals, (proposal) => proposal.row),
);

/** The group into which a person moved each row. */
const splits = derived(
  () => [state.choices],
  () => new Map(state.choices.filter((choice) => choice.group !== undefined).map((choice) => [choice.row, /** @type {number} */ (choice.group)])),
);

/**
 * Groups of duplicates, each with its proposals; rows that a person split off are a group whose first member stays.
 * @returns {{group: number, keeper: number, members: Proposal[]}[]}
 */
export const groups = derived(
  () => [state.proposals, splits()],
  () => {
    /** @type {Map<number, {group: number, keeper: number, members: Proposal[]}>} */
    const found = new Map();
    for (const proposal of state.proposals) {
      if (proposal.tool !== "clip_dedup" || proposal.group === undefined) continue;
      const group = splits().get(proposal.row) ?? proposal.group;
      const held = found.get(group) ?? { group, keeper: -1, members: [] };
      if (group !== proposal.group && held.keeper < 0) held.keeper = proposal.row;
      else if (group === proposal.group && proposal.keeper !== undefined && proposal.keeper >= 0) held.keeper = proposal.keeper;
      held.members.push(proposal);
      found.set(group, held);
    }
    return [...found.values()].filter((group) => group.members.some((member) => member.action === "drop" && member.row !== group.keeper));
  },
);

/** Whether a person has judged every member of a group that is proposed to be dropped. @param {ReturnType<typeof groups>[number]} group */
export function isJudged(group) {
  const chosen = choiceOf();
  return group.members.filter((member) => member.action === "drop").every((member) => chosen.has(member.row));
}

/** Proposals to judge one by one: all that would change something, except duplicates. */
export const reviewable = derived(
  () => [state.proposals],
  () => state.proposals.filter((proposal) => proposal.tool !== "clip_dedup" && proposal.action !== "keep"),
);

/** How many groups or proposals wait to be judged in each room. @type {() => Record<string, number>} */
export const waiting = derived(
  () => [groups(), reviewable(), state.choices],
  () => ({
    duplicates: groups().filter((group) => !isJudged(group)).length,
    review: reviewable().filter((proposal) => !choiceAbout(proposal)).length,
  }),
);

/** The colour of each class that has one of its own. */
export const classInks = derived(
  () => [data.table.column("class")],
  () => new Map(colouring(data.table, "class").legend.map(({ text, ink }) => [text, ink])),
);

/** The values of the `decision` column. */
const VERDICTS = ["undecided", "proposed", "kept", "dropped"];
/** The verdict of each action, as an index of these. @type {Record<string, number>} */
const VERDICT_OF = { keep: 2, drop: 3 };

/**
 * Make the columns `decision` and `reason` from proposals and choices, to filter, colour and sort by like any other.
 */
export function recountVerdicts() {
  const { table } = data;
  const verdicts = new Uint16Array(table.count);
  for (const proposal of state.proposals) if (proposal.action === "drop" && proposal.annotation === undefined) verdicts[proposal.row] = 1;
  for (const [row, choice] of choiceOf()) verdicts[row] = VERDICT_OF[choice.action] ?? verdicts[row];
  table.put({ name: "decision", kind: "category", title: "decision", values: VERDICTS, data: verdicts });
  putReasons();
}

/** Make the column of the reasons of the proposals about each row. */
function putReasons() {
  const { table } = data;
  const told = [...proposalsOf()].map(([row, proposals]) => ({ row, reasons: new Set(proposals.filter((each) => each.action !== "keep" && each.reason).map((each) => each.reason)) }));
  const values = [...new Set(told.flatMap(({ reasons }) => [...reasons]))].sort();
  if (!values.length) return table.drop("reason");
  const starts = new Uint32Array(table.count + 1);
  for (const { row, reasons } of told) starts[row + 1] = reasons.size;
  for (let row = 0; row < table.count; row++) starts[row + 1] += starts[row];
  const codes = new Uint16Array(starts[table.count]);
  for (const { row, reasons } of told) [...reasons].forEach((reason, at) => (codes[starts[row] + at] = values.indexOf(reason)));
  return table.put({ name: "reason", kind: "categories", title: "reason", values, data: codes, starts });
}
