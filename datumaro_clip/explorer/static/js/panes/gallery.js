// @ts-check
// The gallery of matching pictures; only those in view are drawn, so that 100,000 scroll as quickly as ten.

import { html, useEffect } from "../../vendor/htm-preact-3.1.1.js";
import * as act from "../actions.js";
import * as api from "../api.js";
import { shownColumns, title } from "../columns.js";
import { Icon } from "../icons.js";
import { known, need } from "../items.js";
import { gallery } from "../keys.js";
import { choiceOf, data, idOf, narrowed, ordered, proposalsOf, state, toggled, update } from "../state.js";
import { say, score } from "../words.js";
import { activeFilters } from "./facets.js";
import { Frames } from "./frames.js";
import { bringIntoView, useScrolled, withValue } from "./hooks.js";
import { Thumbnail } from "./pictures.js";

const GAP = 8;
/** Rows drawn beyond those in view, so that pictures are loaded before they are seen. */
const AHEAD = 4;
/** A gallery narrower than this, in CSS pixels, has three pictures in a row, whatever the size. */
const NARROW = 480;
const SIZES = [96, 128, 176, 240];

export function Gallery() {
  const rows = ordered();
  const { scroller, view } = useScrolled();
  const columns = Math.max(view.width < NARROW ? 3 : 1, Math.floor((view.width - GAP) / (state.tile + GAP)));
  gallery.columns = columns;
  const side = Math.floor((view.width - GAP) / columns) - GAP;
  const tall = side + GAP + (state.captions ? 34 : 0);
  useEffect(() => {
    const at = state.focus >= 0 ? rows.indexOf(state.focus) : -1;
    const top = Math.floor(at / columns) * tall;
    if (scroller.current && at >= 0) bringIntoView(scroller.current, top, top + tall + GAP);
  }, [state.focus]);
  const first = Math.max(0, Math.floor(view.top / tall) - AHEAD) * columns;
  const last = Math.min(rows.length, (Math.ceil((view.top + view.height) / tall) + AHEAD) * columns);
  const shown = rows.subarray(first, last);
  useEffect(() => need(shown));
  return html`<section class="gallery" aria-label=${say("gallery")}>
    <${Bar} />
    <div class="scroll" ref=${scroller}>
      <ul class="tiles" role="listbox" tabindex="0" aria-multiselectable="true" aria-activedescendant=${state.focus >= 0 ? `tile-${state.focus}` : undefined} aria-label=${say("pictures", { n: rows.length })}
        ref=${(/** @type {HTMLElement | null} */ node) => node && (node.style.height = `${Math.ceil(rows.length / columns) * tall + GAP}px`)}>
        ${[...shown].map((row, at) => html`<${Tile} key=${row} row=${row} place=${first + at} columns=${columns} side=${side} tall=${tall} />`)}
      </ul>
      ${rows.length ? null : html`<${Nothing} />`}
    </div>
    <${Actions} />
  </section>`;
}

function Bar() {
  const n = narrowed().count;
  const value = (state.sort.descending ? "-" : "") + state.sort.name;
  return html`<div class="bar">
    <button class="toggle narrowOnly" aria-expanded=${state.filtersOpen} onClick=${() => update({ filtersOpen: !state.filtersOpen })}>${state.filtersOpen ? html`× ${say("close")}` : html`<${Icon} name="filter" /> ${say("filters")}`}</button>
    <b aria-live="polite">${n === 1 ? say("picture1") : say("pictures", { n })}</b>
    <label><span class="hidden">${say("sort")}</span>
      <select value=${value} onChange=${withValue((chosen) => update({ sort: { name: chosen.replace(/^-/, ""), descending: chosen.startsWith("-") } }))}>
        <option value="">${say("inOrder")}</option>
        ${shownColumns().flatMap((column) =>
          column.name === "match"
            ? [html`<option key="-match" value="-match">${say("bestMatch")}</option>`]
            : [
                html`<option key=${column.name} value=${column.name}>${title(column)}, ${say("ascending")}</option>`,
                html`<option key=${`-${column.name}`} value=${`-${column.name}`}>${title(column)}, ${say("descending")}</option>`,
              ],
        )}
      </select>
    </label>
    <button class="toggle" title="a" disabled=${!n} onClick=${() => act.select(new Set(ordered()))}>${say("selectAll")}</button>
    <span class="space"></span>
    <button class="toggle" aria-pressed=${state.boxes} onClick=${() => update({ boxes: !state.boxes })}>${say("boxes")}</button>
    <button class="toggle" aria-pressed=${state.masks} onClick=${() => update({ masks: !state.masks })}>${say("masks")}</button>
    <button class="toggle" aria-pressed=${state.captions} onClick=${() => update({ captions: !state.captions })}>${say("captions")}</button>
    <label class="size">${say("size")} <input type="range" min="0" max=${SIZES.length - 1} value=${Math.max(0, SIZES.indexOf(state.tile))}
      onInput=${withValue((place) => update({ tile: SIZES[Number(place)] }))} /></label>
  </div>`;
}

/** @param {{row: number, place: number, columns: number, side: number, tall: number}} props */
function Tile({ row, place, columns, side, tall }) {
  const item = known(row);
  const id = idOf(row);
  const choice = choiceOf().get(row)?.action;
  const proposal = proposalsOf().get(row)?.find((each) => each.action === "drop");
  const match = data.table.column("match")?.data[row];
  const selected = state.selected.has(row);
  const sign = choice === "keep" ? "✓" : choice === "drop" ? "✕" : proposal ? "◌" : "";
  const verdict = choice === "keep" ? "kept" : choice === "drop" ? "dropped" : proposal ? "proposed" : "";
  const name = [id, verdict && say(verdict), match === undefined ? "" : score(match)].filter(Boolean).join(", ");
  /** @param {HTMLElement | null} node */
  const put = (node) => {
    if (!node) return;
    node.style.transform = `translate(${GAP + (place % columns) * (side + GAP)}px, ${GAP + Math.floor(place / columns) * tall}px)`;
    node.style.width = `${side}px`;
    node.style.height = `${tall - GAP}px`;
  };
  return html`<li ref=${put} role="option" id=${`tile-${row}`} aria-selected=${selected} aria-label=${name}
      class=${["tile", verdict, selected ? "selected" : "", row === state.focus ? "focus" : ""].join(" ")}
      onClick=${(/** @type {MouseEvent} */ event) => clicked(row, event)} onDblClick=${() => act.findSimilar(row)}>
    <span class="frame">
      <${Thumbnail} row=${row} />
      ${state.boxes || state.masks ? html`<${Frames} item=${item} boxes=${state.boxes} masks=${state.masks} />` : null}
      ${match === undefined || Number.isNaN(match) ? null : html`<span class="score">${score(match)}</span>`}
      ${sign ? html`<span class=${`sign ${verdict}`} aria-hidden="true">${sign}</span>` : null}
    </span>
    ${state.captions ? html`<small class="caption">${item?.captions?.[0]?.text ?? ""}</small>` : null}
  </li>`;
}

/** @param {number} row @param {MouseEvent} event */
function clicked(row, event) {
  if (event.ctrlKey || event.metaKey) return act.select(toggled(state.selected, row), row);
  if (event.shiftKey && state.focus >= 0) {
    const rows = ordered();
    const ends = [rows.indexOf(state.focus), rows.indexOf(row)].sort((a, b) => a - b);
    if (ends[0] >= 0) return act.select(new Set([...state.selected, ...rows.subarray(ends[0], ends[1] + 1)]), row);
  }
  act.select(state.selected.size ? new Set() : state.selected, row);
}

function Nothing() {
  if (!data.table.count) return html`<div class="empty"><p>${say("emptyStore")}</p><code>datum-clip add ${data.overview.path} path/to/dataset</code></div>`;
  return html`<div class="empty"><p>${say("noMatch")}</p>
    ${activeFilters().map(({ name, text, lift }) => html`<button key=${name} class="plain" onClick=${lift}>${say("lift")} ${text}</button>`)}
  </div>`;
}

/** Actions on the selection, shown while there is one. */
function Actions() {
  const n = state.selected.size;
  if (!n) return null;
  return html`<div class="actions" role="toolbar" aria-label=${say("selected", { n })}>
    <b>${say("selected", { n })}</b>
    <button onClick=${() => act.toggleVerdict("keep")} title="k">${say("keepN", { n })} <kbd>k</kbd></button>
    <button onClick=${() => act.toggleVerdict("drop")} title="x">${say("dropN", { n })} <kbd>x</kbd></button>
    <button onClick=${() => update({ panel: "tag" })} title="t">${say("tag")} <kbd>t</kbd></button>
    <button onClick=${() => act.search({ rows: [...state.selected] })}>${say("similar")}</button>
    <button onClick=${() => update({ panel: "tools" })}>${say("runTool")}</button>
    <button class="icon" aria-label=${say("clearSelection")} title=${`${say("clearSelection")} (Esc)`} onClick=${() => act.select(new Set())}>×</button>
  </div>`;
}
