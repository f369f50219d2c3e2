// @ts-check
// Statistics: how the items are spread, all of them beside what matches; before beside after the decisions.

import { html } from "../../vendor/htm-preact-3.1.1.js";
import { choiceOf, data, narrowed, state } from "../state.js";
import { countValues, extent, histogram } from "../table.js";
import { count, date, say } from "../words.js";
import { title, valueName } from "./facets.js";

const BARS = 12;
const BINS = 40;

export function Statistics() {
  const all = new Uint8Array(data.table.count).fill(1);
  return html`<main class="room sheets"><p class="legend"><i class="all"></i><i class="now"></i> ${say("allVsShown")}: ${say("of", { n: narrowed().count, all: data.table.count })}</p>
    <div class="cards wide">${charts(all, narrowed().passed)}</div></main>`;
}

/** Before and after the decisions of a person. */
export function Compare() {
  const all = new Uint8Array(data.table.count).fill(1);
  const after = all.slice();
  for (const [row, choice] of choiceOf()) if (choice.action === "drop") after[row] = 0;
  const left = after.reduce((sum, one) => sum + one, 0);
  return html`<main class="room sheets"><p class="legend"><i class="all"></i> ${say("before")}: ${count(data.table.count)} <i class="now"></i> ${say("after")}: ${count(left)}</p>
    <div class="cards wide">${charts(all, after)}</div></main>`;
}

/** @param {Uint8Array} all @param {Uint8Array} some */
function charts(all, some) {
  const columns = [...data.table.columns.values()].filter((column) => !["x", "y"].includes(column.name) && !(column.name === "decision" && state.room === "compare"));
  return columns.map((column) =>
    column.kind === "category" || column.kind === "categories"
      ? column.values.length ? html`<${Bars} key=${column.name} column=${column} all=${all} some=${some} />` : null
      : html`<${Spread} key=${column.name} column=${column} all=${all} some=${some} />`,
  );
}

/** @param {{column: import("../table.js").Column, all: Uint8Array, some: Uint8Array}} props */
function Bars({ column, all, some }) {
  const [whole, part] = [countValues(data.table, column, all), countValues(data.table, column, some)];
  const order = [...whole.keys()].sort((a, b) => whole[b] - whole[a] || a - b).slice(0, BARS);
  const most = Math.max(1, ...whole);
  return html`<section class="card"><h2>${say("countBy", { x: title(column) })}</h2>
    <table class="bars"><tbody>${order.map((value) => html`<tr key=${value}><th scope="row">${valueName(column, value)}</th>
      <td><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="all" width=${(100 * whole[value]) / most} height="10" /><rect class="now" y="2" width=${(100 * part[value]) / most} height="6" /></svg></td>
      <td class="count">${count(part[value])} / ${count(whole[value])}</td></tr>`)}</tbody></table>
    ${whole.length > BARS ? html`<small>${say("more", { n: whole.length - BARS })}</small>` : null}</section>`;
}

/** @param {{column: import("../table.js").Column, all: Uint8Array, some: Uint8Array}} props */
function Spread({ column, all, some }) {
  const range = extent(column);
  if (!range || range[0] === range[1]) return null;
  const [whole, part] = [all, some].map((mask) => histogram(column, mask, range, BINS));
  const most = Math.max(1, ...whole);
  const ends = range.map((end) => (column.kind === "date" ? date(end) : count(Number(end.toPrecision(3)))));
  return html`<section class="card"><h2>${title(column)}</h2>
    <svg class="spread" viewBox="0 0 ${BINS} 20" preserveAspectRatio="none" role="img" aria-label=${`${title(column)}: ${ends.join(" – ")}`}>
      ${[...whole.keys()].map((bin) => html`<g key=${bin}><rect class="all" x=${bin + 0.05} width="0.9" y=${20 - (20 * whole[bin]) / most} height=${(20 * whole[bin]) / most} />
        <rect class="now" x=${bin + 0.05} width="0.9" y=${20 - (20 * part[bin]) / most} height=${(20 * part[bin]) / most} /></g>`)}
    </svg><p class="ends"><span>${ends[0]}</span><span>${ends[1]}</span></p></section>`;
}
