// @ts-check
// What became of everything, by fate and reason; each reason is a filter.

import { html } from "../../../explorer/static/vendor/htm-preact-3.1.1.js";
import { countValues } from "../../../explorer/static/js/table.js";
import { cards, data, fateOf, OF_PARTS, setFilter, shown, state, table } from "./state.js";

const column = /** @type {import("../../../explorer/static/js/table.js").Column} */ (table.column("verdict"));
const everything = new Uint8Array(cards.length).fill(1);
const totals = countValues(table, column, everything);

/** The verdicts under the fate that they share, in the order of the cards. */
const fates = (() => {
  /** @type {Map<string, {title: string, kind: string, count: number, values: number[]}>} */
  const found = new Map();
  for (const [value, verdict] of column.values.entries()) {
    const [title] = verdict.split("\u0000");
    const card = cards.find((_, row) => column.data[/** @type {Uint32Array} */ (column.starts)[row]] === value);
    const fate = found.get(title) ?? { title, kind: card ? fateOf(card.record).kind : "left", count: 0, values: [] };
    fate.count += totals[value];
    fate.values.push(value);
    found.set(title, fate);
  }
  return [...found.values()];
})();

export function Summary() {
  if (!cards.length) return null;
  const filter = state.filters.get("verdict");
  const chosen = filter && "values" in filter ? filter.values : new Set();
  const counts = countValues(table, column, shown().without("verdict"));
  /** @param {number} value */
  const toggle = (value) => {
    const values = new Set(chosen);
    if (!values.delete(value)) values.add(value);
    setFilter("verdict", values.size ? { values } : null);
  };
  const ofItems = fates.filter(({ title }) => !title.startsWith(OF_PARTS));
  return html`<div class="ratio" aria-hidden="true">${ofItems.map(({ title, kind, count }) => html`<i key=${title} class=${kind} style=${{ flexGrow: String(count) }}></i>`)}</div>
    <ul class="fates">${fates.map(({ title, kind, count, values }) => html`<li key=${title} class=${kind}>
      <h2><b>${count.toLocaleString("en")}</b> ${title}</h2>
      <div class="chips">${values.map((value) => html`<button key=${value} type="button" class="chip" aria-pressed=${chosen.has(value)} onClick=${() => toggle(value)}>
        ${column.values[value].split("\u0000")[1]} <span>${counts[value].toLocaleString("en")}</span></button>`)}</div>
    </li>`)}</ul>
    ${data.leftOut ? html`<p class="more">The page shows ${cards.length.toLocaleString("en")} of ${data.total.toLocaleString("en")} decisions, as --report-items says; decisions.jsonl, beside this page, has all.</p>` : null}`;
}
