// @ts-check
// What a person takes home: exceptions for --except, decisions for `datum-clip decisions apply`.

import { cards, data, state } from "./state.js";

/** @typedef {import("./state.js").Decided} Decided */

/** An id that a line `id@subset` can hold; any other is written as JSON. */
const PLAIN = /^(?![#{\s])[^\p{C}\p{Z}](?:[^\p{C}\u2028\u2029]*[^\p{C}\p{Z}])?$/u;

/** @param {Decided} record */
function line({ id, subset }) {
  const isPlain = PLAIN.test(id) && PLAIN.test(subset) && !subset.includes("@");
  return isPlain ? `${id}@${subset}` : JSON.stringify({ id, subset });
}

/** The items that a person keeps, among them those that an earlier run was told to keep. */
export function exceptions() {
  const kept = cards.filter(({ record }, row) => {
    const choice = state.choices.get(row);
    return choice ? choice === "keep" : record.reason === "excepted";
  });
  return [...new Set(kept.map(({ record }) => line(record)))];
}

/** A decision as a person's choice leaves it. @param {Decided} record @param {import("./state.js").Choice | undefined} choice */
function chosen(record, choice) {
  const { id, subset, score, threshold, annotation, occurrence } = record;
  const about = { id, subset, score, threshold, annotation, occurrence };
  if (choice === "keep" && ["drop", "move", "mark"].includes(record.action)) return { ...about, action: "keep", reason: "excepted" };
  if (choice === "drop" && record.action === "label") return { ...about, action: "keep", reason: "refused" };
  if (choice === "drop" && record.action !== "drop") return { ...about, action: "drop", reason: "by_hand" };
  return record;
}

/** All decisions as the choices leave them, as lines of JSON, in the dataset's order. */
export function decisions() {
  const rows = [...cards.keys()].sort((a, b) => cards[a].order - cards[b].order);
  const lines = rows.map((row) => chosen(cards[row].record, state.choices.get(row)));
  return [data.header, ...lines].map((each) => JSON.stringify(each)).join("\n") + "\n";
}

/** Have the browser save a text. @param {string} name @param {string} text */
export function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
