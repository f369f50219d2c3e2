// @ts-check
// Hands on the keyboard: the keys are the explorer's.

import { grid } from "./grid.js";
import { choose, data, shown, state, undo, update } from "./state.js";

/** Move to another card, in the grid or enlarged. @param {number} by */
function move(by) {
  const { rows } = shown();
  if (!rows.length) return;
  const at = rows.indexOf(state.focus);
  const focus = rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by))];
  update(state.enlarged >= 0 ? { focus, enlarged: focus } : { focus });
}

/** @type {Record<string, () => void>} */
const KEYS = {
  ArrowRight: () => move(1),
  ArrowLeft: () => move(-1),
  ArrowDown: () => move(state.enlarged >= 0 ? 1 : grid.columns),
  ArrowUp: () => move(state.enlarged >= 0 ? -1 : -grid.columns),
  j: () => move(1),
  k: () => data.judged && state.focus >= 0 && choose([state.focus], "keep"),
  x: () => data.judged && state.focus >= 0 && choose([state.focus], "drop"),
  u: undo,
  "/": () => document.getElementById("words")?.focus(),
};

/** Listen to the keyboard; what is typed into a field stays there. */
export function listen() {
  document.addEventListener("keydown", (event) => {
    const target = event.target instanceof HTMLElement ? event.target : null;
    if (target?.closest("input, select, pre") || event.ctrlKey || event.metaKey || event.altKey) return;
    const run = KEYS[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  });
  // A card that is reached with Tab is the one that the keys are about.
  const follow = (/** @type {Event} */ event) => {
    const card = event.target instanceof HTMLElement ? event.target.closest(".card") : null;
    const row = card ? Number(card.id.replace("card-", "")) : -1;
    if (row >= 0 && row !== state.focus) update({ focus: row });
  };
  // A press of the mouse focuses, too: a page that scrolled then would take the click from what was pressed.
  document.addEventListener("focusin", (event) => /** @type {Element} */ (event.target).matches(":focus-visible") && follow(event));
  document.addEventListener("click", follow);
}
