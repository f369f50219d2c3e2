// @ts-check
// The pane of filters: values with their counts, ranges, words in captions.

import { html, useMemo, useRef, useState } from "../../vendor/htm-preact-3.1.1.js";
import * as act from "../actions.js";
import { numberText, shownColumns, title, unit, valueName } from "../columns.js";
import { colouring, css } from "../palette.js";
import { data, everything, narrowed, state, update } from "../state.js";
import { countValues, extent, histogram, isCategory } from "../table.js";
import { count, say } from "../words.js";
import { usePainted, withValue } from "./hooks.js";

const SHOWN = 9;
const BINS = 24;

export function Facets() {
  const isPainted = usePainted();
  return html`<aside class="facets" aria-label=${say("filters")}>
    <${Chips} />
    <label class="words"><span>${say("wordsInCaptions")}</span>
      <input type="search" value=${state.words} onChange=${withValue(act.searchCaptions)} /></label>
    ${isPainted && shownColumns().map((column) =>
      isCategory(column)
        ? column.values.length ? html`<${Values} key=${column.name} column=${column} />` : null
        : html`<${Range} key=${column.name} column=${column} />`,
    )}
  </aside>`;
}

/** The active filters, each with a button that removes it. */
function Chips() {
  const chips = activeFilters();
  if (!chips.length) return null;
  return html`<div class="chips">
    ${chips.map(({ name, text, lift }) => html`<button class="chip" key=${name} aria-label=${say("remove", { name: text })} onClick=${lift}>${text} <span aria-hidden="true">×</span></button>`)}
    ${chips.length > 1 ? html`<button class="link" onClick=${act.clearFilters}>${say("clearAll")}</button>` : null}
  </div>`;
}

/** The active filters in words, each with a function that removes it. */
export function activeFilters() {
  /** @type {{name: string, text: string, lift: () => void}[]} */
  const found = [];
  for (const [name, filter] of state.filters) {
    const column = data.table.column(name);
    if (!column) continue;
    const what = "values" in filter ? [...filter.values].map((value) => valueName(column, value)).join(", ") : rangeText(column, filter);
    found.push({ name, text: `${title(column)}: ${what}`, lift: () => act.setFilter(name, null) });
  }
  if (state.words) found.push({ name: "words", text: `“${state.words}”`, lift: () => act.searchCaptions("") });
  if (state.region) found.push({ name: "region", text: say("region"), lift: () => update({ region: null }) });
  return found;
}

/** @param {import("../table.js").Column} column @param {{from: number, to: number}} filter */
function rangeText(column, { from, to }) {
  const [low, high] = [from, to].map((end) => (Number.isFinite(end) ? numberText(column, end) : ""));
  return low && high ? `${low} – ${high}` : low ? `≥ ${low}` : `≤ ${high}`;
}

/** @param {{column: import("../table.js").Column}} props */
function Values({ column }) {
  const [open, setOpen] = useState(false);
  const found = narrowed();
  const counts = countValues(data.table, column, useMemo(() => found.without(column.name), [found, column]));
  const filter = state.filters.get(column.name);
  const chosen = filter && "values" in filter ? filter.values : new Set();
  const order = [...counts.keys()].sort((a, b) => counts[b] - counts[a] || a - b);
  const fixed = column.name === "decision";
  const shown = fixed ? [...counts.keys()] : order.filter((value, at) => open || at < SHOWN || chosen.has(value));
  const most = Math.max(1, ...counts);
  const inks = useMemo(() => (state.colour === column.name ? colouring(data.table, column.name).legend : []), [state.colour, column]);
  return html`<fieldset class="facet">
    <legend>${title(column)} <small>${count(column.values.length)}</small></legend>
    <ul>
      ${shown.map((value) => {
        const ink = inks.find((each) => each.value === value);
        return html`<li key=${value}>
          <label class=${chosen.has(value) ? "on" : ""}>
            <input type="checkbox" checked=${chosen.has(value)} onChange=${() => act.toggleValue(column.name, value)} />
            ${ink ? html`<i class="swatch" ref=${(/** @type {HTMLElement | null} */ node) => node && (node.style.background = css(ink.ink))}></i>` : null}
            <span class="name">${valueName(column, value)}</span><span class="count">${count(counts[value])}</span>
          </label>
          <meter min="0" max=${most} value=${counts[value]} aria-hidden="true"></meter>
        </li>`;
      })}
    </ul>
    ${!fixed && order.length > SHOWN ? html`<button class="link" onClick=${() => setOpen(!open)}>${open ? say("fewer") : say("more", { n: order.length - SHOWN })}</button>` : null}
  </fieldset>`;
}

/** A filter by a range: dragged over a histogram, or typed into two fields. @param {{column: import("../table.js").Column}} props */
function Range({ column }) {
  const range = useMemo(() => extent(column) ?? /** @type {[number, number]} */ ([0, 0]), [column]);
  const drag = useRef(/** @type {number | null} */ (null));
  const found = narrowed();
  const all = useMemo(() => histogram(column, everything(), range, BINS), [column]);
  const now = useMemo(() => histogram(column, found.without(column.name), range, BINS), [found, column]);
  if (range[0] === range[1]) return null;
  const most = Math.max(1, ...all);
  const filter = state.filters.get(column.name);
  const [from, to] = filter && "from" in filter ? [filter.from, filter.to] : [-Infinity, Infinity];
  const width = (range[1] - range[0]) / BINS;
  /** @param {PointerEvent} event */
  const place = (event) => {
    const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * (range[1] - range[0]) + range[0];
  };
  /** @param {PointerEvent} event */
  const dragged = (event) => {
    if (drag.current === null) return;
    const [low, high] = [drag.current, place(event)].sort((a, b) => a - b);
    if (high - low > width / 3) act.setFilter(column.name, { from: low, to: high });
  };
  /** @param {"from" | "to"} end */
  const typed = (end) => withValue((text) => {
    const value = column.kind === "date" ? Date.parse(text) / 1000 : Number(text);
    const open = end === "from" ? -Infinity : Infinity;
    const ends = { from, to, [end]: text === "" || Number.isNaN(value) ? open : value };
    act.setFilter(column.name, ends.from === -Infinity && ends.to === Infinity ? null : ends);
  });
  /** @param {number} end */
  const shown = (end) => (!Number.isFinite(end) ? "" : column.kind === "date" ? new Date(end * 1000).toISOString().slice(0, 10) : Number(end.toPrecision(4)));
  return html`<fieldset class="facet range">
    <legend>${title(column)} <small>${unit(column)}</small></legend>
    <svg viewBox="0 0 ${BINS} 24" preserveAspectRatio="none" role="img" aria-label=${`${title(column)}: ${numberText(column, range[0])} – ${numberText(column, range[1])}`}
      onPointerDown=${(/** @type {PointerEvent} */ event) => { drag.current = place(event); /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId); }}
      onPointerMove=${dragged} onPointerUp=${() => (drag.current = null)} onDblClick=${() => act.setFilter(column.name, null)}>
      ${[...all.keys()].map((bin) => {
        const middle = range[0] + (bin + 0.5) * width;
        const inside = middle >= from && middle <= to;
        return html`<g key=${bin}><rect class="all" x=${bin + 0.06} width="0.88" y=${24 - (24 * all[bin]) / most} height=${(24 * all[bin]) / most} />
          <rect class=${inside ? "now" : "out"} x=${bin + 0.06} width="0.88" y=${24 - (24 * now[bin]) / most} height=${(24 * now[bin]) / most} /></g>`;
      })}
    </svg>
    <div class="ends">
      <input type=${column.kind === "date" ? "date" : "text"} inputmode="decimal" placeholder=${numberText(column, range[0])} value=${shown(from)} aria-label=${`${title(column)} ≥`} onChange=${typed("from")} />
      <input type=${column.kind === "date" ? "date" : "text"} inputmode="decimal" placeholder=${numberText(column, range[1])} value=${shown(to)} aria-label=${`${title(column)} ≤`} onChange=${typed("to")} />
    </div>
  </fieldset>`;
}
