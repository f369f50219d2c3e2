// @ts-check
// The user's actions: each changes the state, and writes to the service what must be kept.

import * as api from "./api.js";
import { planeOf } from "./geometry.js";
import { choiceOf, data, ordered, recountVerdicts, sayWrong, state, toggled, update } from "./state.js";
import { Table } from "./table.js";
import { say } from "./words.js";

/** Milliseconds after which the page says that it is still writing. */
const SLOW = 400;

/** @type {AbortController | null} */
let searching = null;

/**
 * Rank all rows by a query; a newer query cancels one that still runs.
 * @param {import("./state.js").Query | null} query
 * @param {File} [picture]
 */
export async function search(query, picture) {
  searching?.abort();
  searching = new AbortController();
  const { signal } = searching;
  if (!query) {
    data.table.drop("match");
    const sort = state.sort.name === "match" ? { name: "", descending: false } : state.sort;
    const filters = new Map(state.filters);
    filters.delete("match");
    update({ query: null, sort, filters });
    return;
  }
  update({ query });
  try {
    const found = await api.scores(picture ?? query, signal);
    if (signal.aborted) return;
    data.table.put({ name: "match", kind: "number", title: "match", values: [], data: found });
    update({ sort: { name: "match", descending: true } });
  } catch (error) {
    if (!signal.aborted) sayWrong(error);
  }
}

/** @param {string} words */
export async function searchCaptions(words) {
  if (!words.trim()) return update({ words: "", wordsMask: null });
  update({ words });
  try {
    const answer = await api.askBytes(`words?version=${api.version()}&text=${encodeURIComponent(words)}`);
    if (state.words === words) update({ wordsMask: new Uint8Array(answer) });
  } catch (error) {
    sayWrong(error);
  }
}

/**
 * @param {string} name
 * @param {import("./table.js").Filter | null} filter
 */
export function setFilter(name, filter) {
  const filters = new Map(state.filters);
  if (filter && (!("values" in filter) || filter.values.size)) filters.set(name, filter);
  else filters.delete(name);
  update({ filters });
}

/** @param {string} name @param {number} value */
export function toggleValue(name, value) {
  const before = state.filters.get(name);
  setFilter(name, { values: toggled(before && "values" in before ? before.values : [], value) });
}

export function clearFilters() {
  update({ filters: new Map(), words: "", wordsMask: null, region: null });
}

/**
 * Show the map of pictures or of objects; the latter is loaded when it is first shown.
 * @param {"pictures" | "objects"} plane
 * @param {[number, number][] | null} [region] of that map
 */
export async function showPlane(plane, region = null) {
  try {
    if (plane === "objects" && !data.planes.objects) {
      const path = `version=${api.version()}`;
      const [told, bytes] = await Promise.all([
        api.askJson(`objects?${path}`),
        api.askBytes(`objects/columns?${path}`),
      ]);
      data.planes.objects = planeOf(new Table(told.count, told.columns, bytes), told.labels);
    }
    update({ plane, region });
  } catch (error) {
    update({ plane: "pictures" });
    sayWrong(error);
  }
}

/** @param {Set<number>} selected @param {number} [focus] @param {number} [object] */
export function select(selected, focus, object = -1) {
  update(focus === undefined ? { selected } : { selected, focus, object });
}

/** The rows that an action changes: the selection, or else the row in focus. */
export function target() {
  return state.selected.size ? [...state.selected] : state.focus >= 0 ? [state.focus] : [];
}

/** The last write to the journal: writes go one after the other, because each names the version that it follows. */
let lastWrite = Promise.resolve(true);

/** Write after all earlier writes. @param {() => Promise<boolean>} write */
function inTurn(write) {
  lastWrite = lastWrite.then(async () => {
    const slow = setTimeout(() => update({ writing: true }), SLOW);
    const done = await write();
    clearTimeout(slow);
    if (state.writing) update({ writing: false });
    return done;
  });
  return lastWrite;
}

/**
 * Write choices into the journal; if somebody else has decided meanwhile, load their choices instead.
 * @param {{row: number, annotation?: number, action: string, tag?: string, group?: number, tool?: string}[]} changes
 *   `tool`: the tool whose proposal is judged
 */
export function decide(changes) {
  return inTurn(() => write(changes));
}

/** @param {Parameters<typeof decide>[0]} changes */
async function write(changes) {
  if (!changes.length) return false;
  try {
    const asked = { version: state.choiceVersion, store: api.version(), changes };
    take(await api.tell("decisions", asked));
    return true;
  } catch (error) {
    if (error instanceof api.ServiceError && error.status === 409) {
      if (error.kind !== "outdated") await refreshChoices();
      update({ notice: { text: error.kind === "outdated" ? say("changedStore") : say("conflict"), kind: "wrong" } });
    } else {
      sayWrong(error);
    }
    return false;
  }
}

/** @param {string} action @param {number[]} [rows] @param {string} [tag] */
export function decideRows(action, rows = target(), tag) {
  return decide(rows.map((row) => (tag === undefined ? { row, action } : { row, action, tag })));
}

/** Keep or drop the target rows; a second time takes that back. @param {"keep" | "drop"} action */
export function toggleVerdict(action) {
  const rows = target();
  const chosen = choiceOf();
  const all = rows.every((row) => chosen.get(row)?.action === action);
  return decideRows(all ? "clear" : action, rows);
}

export function undo() {
  return inTurn(async () => {
    if (!state.undoable) return false;
    try {
      take(await api.tell("undo", { version: state.choiceVersion, store: api.version() }));
      return true;
    } catch (error) {
      if (error instanceof api.ServiceError && error.status === 409) await refreshChoices();
      else sayWrong(error);
      return false;
    }
  });
}

/**
 * Judge what is shown and move on at once; move back if it could not be written.
 * @param {Parameters<typeof decide>[0]} changes
 * @param {(by: number) => void} move
 */
export function judge(changes, move) {
  const { current } = state;
  decide(changes).then((done) => done || update({ current }));
  move(1);
}

/** @param {{version: number, undoable: number, choices: import("./state.js").Choice[], tags?: any}} answer */
function take(answer) {
  if (answer.tags) {
    const { values, data: codes, starts } = answer.tags;
    data.table.put({ name: "tags", title: "tags", kind: "categories", values, data: Uint16Array.from(codes), starts: Uint32Array.from(starts) });
  }
  Object.assign(state, { choices: answer.choices, choiceVersion: answer.version, undoable: answer.undoable });
  recountVerdicts();
  update({});
}

export async function refreshChoices() {
  take(await api.askJson(`decisions?version=${api.version()}`));
}

export async function refreshProposals() {
  state.proposals = await api.askJson(`proposals?version=${api.version()}`);
  recountVerdicts();
  update({});
}

/** @param {string} tool @param {Record<string, unknown>} options @param {number[] | null} rows */
export async function runTool(tool, options, rows) {
  try {
    const { job } = await api.tell(`tools/${tool}`, { options, rows, version: api.version() });
    update({ panel: "", job: { id: job, tool, done: 0, total: 0, note: "" } });
    await follow(job, tool);
  } catch (error) {
    sayWrong(error);
  }
}

/** @param {string} id @param {string} tool */
async function follow(id, tool) {
  for (;;) {
    const job = await api.askJson(`jobs/${id}`);
    if (job.state === "running") {
      update({ job: { id, tool, done: job.done, total: job.total, note: job.note } });
      await new Promise((resolve) => setTimeout(resolve, 250));
      continue;
    }
    update({ job: null });
    if (job.state === "failed") return sayWrong(new Error(job.note));
    if (job.state === "cancelled") return;
    await refreshProposals();
    const room = tool === "clip_dedup" ? "duplicates" : "review";
    return update({ room, current: 0, notice: { text: say("proposals", { n: state.proposals.filter((one) => one.tool === tool && one.action !== "keep").length }), kind: "said" } });
  }
}

export async function cancelJob() {
  if (state.job) await api.ask(`jobs/${state.job.id}`, { method: "DELETE" });
}

/** Rank all rows by one row, or by one of its boxes. @param {number} row @param {number} [box] */
export function findSimilar(row, box) {
  update({ typed: "" });
  return search(box === undefined ? { row } : { row, box });
}

/** Move the focus by so many rows in the gallery's order. @param {number} by */
export function moveFocus(by) {
  const rows = ordered();
  if (!rows.length) return;
  const at = rows.indexOf(state.focus);
  const to = at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by));
  update({ focus: rows[to], object: -1 });
}
