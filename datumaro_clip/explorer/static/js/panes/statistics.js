// @ts-check
// The room of statistics: distributions of all items and of those that match, overlap of subsets, coverage.

import { html, useEffect, useState } from "../../vendor/htm-preact-3.1.1.js";
import * as api from "../api.js";
import { numberText, title, unit, valueName } from "../columns.js";
import { data, everything, narrowed, ordered, sayWrong } from "../state.js";
import { countValues, extent, histogram, isCategory } from "../table.js";
import { count, isSaid, percent, say, score } from "../words.js";
import { usePainted } from "./hooks.js";

const BARS = 12;
const BINS = 40;

/**
 * One of the two sets of rows that a chart compares.
 * @typedef {{table: import("../table.js").Table, mask: Uint8Array}} Part
 */

export function Statistics() {
  const isPainted = usePainted();
  const all = { table: data.table, mask: everything() };
  return html`<main class="room sheets" tabindex="0"><p class="legend"><i class="all"></i> ${say("named", { x: say("whole"), n: data.table.count })} <i class="now"></i> ${say("named", { x: say("matching"), n: narrowed().count })}</p>
    <div class="cards wide"><${Overlap} /><${Coverage} rows=${ordered()} what=${say("whatMatches", { n: ordered().length })} none=${say("coverageOfAll")} />${isPainted ? charts(all, { table: data.table, mask: narrowed().passed }) : null}</div></main>`;
}

/**
 * A card for each column that both parts have.
 * @param {Part} all @param {Part} some
 */
export function charts(all, some) {
  const columns = [...all.table.columns.values()].filter((column) => !["x", "y", "match"].includes(column.name) && some.table.column(column.name));
  return columns.map((column) =>
    isCategory(column)
      ? column.values.length ? html`<${Bars} key=${column.name} name=${column.name} all=${all} some=${some} />` : null
      : html`<${Spread} key=${column.name} name=${column.name} all=${all} some=${some} />`,
  );
}

/** How many rows of a part have each value, by the value's text. @param {Part} part @param {string} name @returns {Map<string, number>} */
function counted({ table, mask }, name) {
  const column = /** @type {import("../table.js").Column} */ (table.column(name));
  const counts = countValues(table, column, mask);
  return new Map([...counts].map((n, value) => [valueName(column, value), n]));
}

/** What a part's counts are divided by: its number of rows if the parts are of two tables, else 1. @param {Part} part @param {Part} other */
function unitOf(part, other) {
  return part.table === other.table ? 1 : Math.max(1, part.mask.reduce((sum, one) => sum + one, 0));
}

/** @param {{name: string, all: Part, some: Part}} props */
function Bars({ name, all, some }) {
  const [whole, part] = [counted(all, name), counted(some, name)];
  const [unit, unitOfPart] = [unitOf(all, some), unitOf(some, all)];
  const names = [...new Set([...whole.keys(), ...part.keys()])];
  /** @param {string} value */
  const share = (value) => (whole.get(value) ?? 0) / unit;
  /** @param {string} value */
  const shareOfPart = (value) => (part.get(value) ?? 0) / unitOfPart;
  const order = names.sort((a, b) => share(b) + shareOfPart(b) - share(a) - shareOfPart(a)).slice(0, BARS);
  const most = Math.max(1e-9, ...order.map(share), ...order.map(shareOfPart));
  const column = /** @type {import("../table.js").Column} */ (all.table.column(name));
  return html`<section class="card"><h2>${say("countBy", { x: isSaid(name) ? title(column).toLowerCase() : title(column) })}</h2>
    <table class="bars"><tbody>${order.map((value) => html`<tr key=${value}><th scope="row" title=${value}>${value}</th>
      <td><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="all" width=${(100 * share(value)) / most} height="10" /><rect class="now" y="2" width=${(100 * shareOfPart(value)) / most} height="6" /></svg></td>
      <td class="count">${all.table === some.table ? `${count(part.get(value) ?? 0)} / ${count(whole.get(value) ?? 0)}` : `${percent(share(value))} · ${percent(shareOfPart(value))}`}</td></tr>`)}</tbody></table>
    ${names.length > BARS ? html`<small>${say("more", { n: names.length - BARS })}</small>` : null}</section>`;
}

/** @param {{name: string, all: Part, some: Part}} props */
function Spread({ name, all, some }) {
  const columns = [all, some].map((part) => /** @type {import("../table.js").Column} */ (part.table.column(name)));
  const ends = columns.map(extent).filter((each) => each !== null);
  const range = /** @type {[number, number]} */ ([Math.min(...ends.map((each) => each[0])), Math.max(...ends.map((each) => each[1]))]);
  if (!ends.length || range[0] === range[1]) return null;
  const [whole, part] = [all, some].map(({ mask }, at) => histogram(columns[at], mask, range, BINS));
  return html`<section class="card"><h2>${title(columns[0])} <small>${unit(columns[0])}</small></h2><${Histogram} name=${title(columns[0])} whole=${whole} part=${part} unit=${unitOf(all, some)} unitOfPart=${unitOf(some, all)} ends=${range.map((end) => numberText(columns[0], end))} /></section>`;
}

/** @param {{name: string, whole: ArrayLike<number>, part: ArrayLike<number>, unit?: number, unitOfPart?: number, ends: string[]}} props */
function Histogram({ name, whole, part, unit = 1, unitOfPart = 1, ends }) {
  const [below, above] = [Array.from(whole, (n) => n / unit), Array.from(part, (n) => n / unitOfPart)];
  const most = Math.max(1e-9, ...below, ...above);
  return html`<svg class="spread" viewBox="0 0 ${below.length} 20" preserveAspectRatio="none" role="img" aria-label=${`${name}: ${ends.join(" – ")}`}>
      ${below.map((n, bin) => html`<g key=${bin}><rect class="all" x=${bin + 0.05} width="0.9" y=${20 - (20 * n) / most} height=${(20 * n) / most} />
        <rect class="now" x=${bin + 0.25} width="0.5" y=${20 - (20 * above[bin]) / most} height=${(20 * above[bin]) / most} /></g>`)}
    </svg><p class="ends"><span>${ends[0]}</span><span>${ends[1]}</span></p>`;
}

/** How similar the items of each subset are to those of the others. */
function Overlap() {
  const [found, setFound] = useState(/** @type {any} */ (null));
  useEffect(() => void api.askJson(`overlap?version=${api.version()}`).then(setFound, sayWrong), []);
  if (!found) return html`<section class="card"><h2>${say("overlap")}</h2><div class="shade tall"></div></section>`;
  const { subsets, probes, nearest, alike, alike_from: from } = found;
  if (subsets.length < 2) return null;
  return html`<section class="card"><h2>${say("overlap")}</h2>
    <p>${say("overlapNote", { x: score(from) })}</p>
    <div class="scrolled" tabindex="0" role="region" aria-label=${say("overlap")}><table class="matrix"><thead><tr><td></td>${subsets.map((/** @type {string} */ name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
      <tbody>${subsets.map((/** @type {string} */ name, /** @type {number} */ row) => html`<tr key=${name}><th scope="row">${name} <small>${count(probes[row])}</small></th>
        ${nearest[row].map((/** @type {number | null} */ value, /** @type {number} */ at) => html`<td key=${at} class=${row !== at && alike[row][at] > 0 ? "leaky" : ""}>
          <b>${score(value ?? undefined)}</b><small>${percent(alike[row][at])}</small></td>`)}</tr>`)}</tbody></table></div></section>`;
}

/** How well some rows represent all, beside as many drawn at random. @param {{rows: Uint32Array, what: string, none: string}} props `none`: the text instead, if these are all rows */
export function Coverage({ rows, what, none }) {
  const [found, setFound] = useState(/** @type {any} */ (null));
  useEffect(() => {
    setFound(null);
    if (!rows.length || rows.length === data.table.count) return undefined;
    const timer = setTimeout(() => api.tell("coverage", { version: api.version(), rows: [...rows] }).then(setFound, sayWrong), 300);
    return () => clearTimeout(timer);
  }, [rows]);
  if (!rows.length || rows.length === data.table.count)
    return html`<section class="card"><h2>${say("coverage")}</h2><p class="empty">${none}</p></section>`;
  if (!found) return html`<section class="card"><h2>${say("coverage")}</h2><div class="shade tall"></div></section>`;
  const { chosen, random, probes, range } = found;
  return html`<section class="card"><h2>${say("coverageOf", { x: what })}</h2>
    <p>${say("coverageNote", { n: probes })}</p>
    <table class="bars covers"><thead><tr><td></td><th scope="col">${say("mean")}</th><th scope="col">${say("lowest")}</th></tr></thead><tbody>
      <tr><th scope="row"><i class="key now"></i> ${what}</th><td>${score(chosen.mean)}</td><td>${score(chosen.low)}</td></tr>
      <tr><th scope="row"><i class="key all"></i> ${say("atRandom")}</th><td>${score(random.mean)}</td><td>${score(random.low)}</td></tr></tbody></table>
    <${Histogram} name=${say("coverage")} whole=${random.bins} part=${chosen.bins} ends=${range.map(score)} /></section>`;
}
