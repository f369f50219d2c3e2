// @ts-check
// Keyboard shortcuts of each room.

import * as act from "./actions.js";
import { ordered, state, toggled, update } from "./state.js";
import { review } from "./panes/review.js";
import { duplicates } from "./panes/duplicates.js";

/** @typedef {{keys: string, say: string, run: (event: KeyboardEvent) => void}} Binding */

/** Tiles in a row of the gallery, as it was last drawn. */
export const gallery = { columns: 1 };

/** @type {Binding[]} */
const EVERYWHERE = [
  { keys: "/", say: "searchLabel", run: () => document.getElementById("search")?.focus() },
  { keys: "u", say: "undo", run: () => act.undo() },
  { keys: "?", say: "keyHelp", run: () => update({ panel: state.panel === "help" ? "" : "help" }) },
  { keys: "Escape", say: "close", run: escape },
];

/** @type {Binding[]} */
const EXPLORE = [
  { keys: "ArrowRight", say: "keyMove", run: () => act.moveFocus(1) },
  { keys: "ArrowLeft", say: "keyMove", run: () => act.moveFocus(-1) },
  { keys: "ArrowDown", say: "keyMove", run: () => act.moveFocus(gallery.columns) },
  { keys: "ArrowUp", say: "keyMove", run: () => act.moveFocus(-gallery.columns) },
  { keys: " ", say: "keySelect", run: () => state.focus >= 0 && act.select(toggled(state.selected, state.focus)) },
  { keys: "a", say: "selectAll", run: () => act.select(new Set(ordered())) },
  { keys: "k", say: "keep", run: () => act.toggleVerdict("keep") },
  { keys: "x", say: "drop", run: () => act.toggleVerdict("drop") },
  { keys: "t", say: "tag", run: () => act.target().length && update({ panel: "tag" }) },
  { keys: "f", say: "similar", run: () => state.focus >= 0 && act.findSimilar(state.focus) },
  { keys: "Enter", say: "keyOpen", run: () => state.focus >= 0 && update({ panel: "picture" }) },
];

/** @type {Binding[]} */
const JUDGING = [
  { keys: "a", say: "keyAccept", run: () => judge().accept() },
  { keys: "n", say: "keyRefuse", run: () => judge().refuse() },
  { keys: "s", say: "keySkip", run: () => judge().skip() },
  { keys: "j", say: "keyNext", run: () => judge().move(1) },
  { keys: "k", say: "keyBack", run: () => judge().move(-1) },
];

function judge() {
  return state.room === "duplicates" ? duplicates : review;
}

/** The keys of the room that is shown. @returns {Binding[]} */
export function bindings() {
  if (state.room === "explore") return [...EVERYWHERE, ...EXPLORE];
  if (state.room === "duplicates" || state.room === "review") return [...EVERYWHERE, ...JUDGING];
  return EVERYWHERE;
}

function escape() {
  if (state.panel) return update({ panel: "" });
  if (state.selected.size) return act.select(new Set());
  update({ focus: -1 });
}

/** Listen to the keyboard; keys typed into a field are left to it. */
export function listen() {
  document.addEventListener("keydown", (event) => {
    const inField = event.target instanceof HTMLElement && event.target.closest("input, select, textarea, [contenteditable]");
    if (inField && event.key !== "Escape") return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (state.panel && event.key !== "Escape" && event.key !== "?") return;
    const onControl = event.target instanceof HTMLElement && event.target.closest("button, a, summary, .map");
    if (onControl && [" ", "Enter", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    const found = bindings().find((binding) => binding.keys === event.key);
    if (!found) return;
    event.preventDefault();
    if (inField) /** @type {HTMLElement} */ (event.target).blur();
    found.run(event);
  });
}
