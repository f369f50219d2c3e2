// @ts-check
// Search, filters, order; what was chosen, and its files.

import { html, useState } from "../../../explorer/static/vendor/htm-preact-3.1.1.js";
import { countValues } from "../../../explorer/static/js/table.js";
import { decisions, exceptions, save } from "./files.js";
import { cards, data, lostGroups, setFilter, shown, state, table, undo, update } from "./state.js";

/** @param {Event} event */
const valueOf = (event) => /** @type {HTMLInputElement | HTMLSelectElement} */ (event.target).value;

export function Tools() {
  if (!cards.length) return null;
  const { count } = shown();
  const narrowed = state.filters.size > 0 || state.words !== "";
  return html`<div class="tools">
    <div class="row">
      <input id="words" type="search" placeholder="Search ids, captions, labels" aria-label="Search ids, captions, labels" value=${state.words} onInput=${(/** @type {Event} */ event) => update({ words: valueOf(event) })} />
      <${Chooser} name="subset" all="All subsets" />
      <${Chooser} name="label" all="All labels" />
      ${state.choices.size ? html`<${Chooser} name="choice" all="Any choice" words=${{ keep: "kept by you", drop: "dropped by you" }} />` : null}
      <${Order} />
      <span class="count" role="status">${count.toLocaleString("en")} of ${cards.length.toLocaleString("en")}</span>
      ${narrowed ? html`<button type="button" class="plain" onClick=${() => update({ filters: new Map(), words: "" })}>Clear filters</button>` : null}
    </div>
    ${data.judged ? html`<${Chosen} />` : null}
  </div>`;
}

/** A list of one column's values with their numbers; nothing where there is no choice. @param {{name: string, all: string, words?: Record<string, string>}} props */
function Chooser({ name, all, words }) {
  const column = table.column(name);
  if (!column || (column.values.length < 2 && !words)) return null;
  const counts = countValues(table, column, shown().without(name));
  const filter = state.filters.get(name);
  const chosen = filter && "values" in filter ? [...filter.values][0] : "";
  const order = [...column.values.keys()].sort((a, b) => column.values[a].localeCompare(column.values[b], "en", { numeric: true }));
  return html`<select aria-label=${column.title} value=${chosen} onChange=${(/** @type {Event} */ event) => setFilter(name, valueOf(event) === "" ? null : { values: new Set([Number(valueOf(event))]) })}>
    <option value="">${all}</option>
    ${order.map((value) => html`<option key=${value} value=${value}>${words?.[column.values[value]] ?? column.values[value]} (${counts[value].toLocaleString("en")})</option>`)}
  </select>`;
}

function Order() {
  if (!cards.some(({ record }) => record.score !== undefined)) return null;
  const value = (state.sort.descending ? "-" : "") + state.sort.name;
  return html`<select aria-label="Order" value=${value} onChange=${(/** @type {Event} */ event) => update({ sort: { name: valueOf(event).replace("-", ""), descending: valueOf(event).startsWith("-") } })}>
    <option value="">Most telling first</option><option value="-score">Highest score first</option><option value="score">Lowest score first</option>
  </select>`;
}

/** What was chosen, and the files of it. */
function Chosen() {
  const [saved, setSaved] = useState("");
  const kept = exceptions();
  const [keep, drop] = ["keep", "drop"].map((choice) => [...state.choices.values()].filter((each) => each === choice).length);
  const lost = lostGroups();
  return html`<div class="row chosen">
    <span role="status">${state.choices.size ? html`<b>${keep}</b> kept, <b>${drop}</b> dropped by you` : null}</span>
    ${state.choices.size ? html`<button type="button" class="plain" onClick=${undo}>Undo</button>` : null}
    ${state.choices.size ? null : html`<span class="hint">Keep refuses what was found, Drop adds to it: arrows, <kbd>k</kbd> keep, <kbd>x</kbd> drop, <kbd>j</kbd> next, <kbd>u</kbd> undo</span>`}
    <span class="space"></span>
    <button type="button" class="primary" disabled=${!kept.length} onClick=${() => (save("except.txt", `# Items never to drop: give this file to --except\n${kept.join("\n")}\n`), setSaved("except.txt"))}>Download exceptions${kept.length ? ` (${kept.length.toLocaleString("en")})` : ""}</button>
    ${data.leftOut ? null : html`<button type="button" class="plain" onClick=${() => (save("decisions.jsonl", decisions()), setSaved("decisions.jsonl"))}>Download decisions</button>`}
    ${lost ? html`<p class="warn" role="alert">${lost} ${lost === 1 ? "group loses every picture" : "groups lose every picture"}: keep one of each.</p>` : null}
    ${saved ? html`<p role="status">${saved === "except.txt" ? html`Saved. Run the same command again with <code>--except except.txt</code>, or obey it without a model: <code>datum-clip decisions apply decisions.jsonl DATASET -o OUT --except except.txt</code>` : html`Saved. <code>datum-clip decisions apply decisions.jsonl DATASET -o OUT</code> writes the dataset as they leave it.`}</p>` : null}
  </div>`;
}
