// @ts-check
// All cards in one grid; only those in view are drawn.

import { html, useEffect, useRef, useState } from "../../../explorer/static/vendor/htm-preact-3.1.1.js";
import { cards, choose, data, fateOf, groupOf, pictureAt, reasonOf, shown, state, update } from "./state.js";

const GAP = 14;
const NARROWEST = 168;
/** Below this width two cards stand side by side whatever their size. */
const PHONE = 520;
/** Rows of text, and the boxes, below a picture, in CSS pixels. */
const SAID = 104;
const BOXES = 42;
/** Rows drawn beyond what is in view, so that pictures are there before the eye. */
const AHEAD = 3;

/** How many cards stand side by side, as last drawn. */
export const grid = { columns: 1 };

export function Grid() {
  const { rows } = shown();
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  const [view, setView] = useState({ width: 0, first: 0, last: 0 });
  const gap = view.width < PHONE ? 10 : GAP;
  const columns = Math.max(view.width < PHONE ? 2 : 1, Math.floor((view.width + gap) / (NARROWEST + gap)));
  const side = Math.floor((view.width - gap * (columns - 1)) / columns);
  const tall = side + SAID + (data.judged ? BOXES : 0) + gap;
  grid.columns = columns;
  useEffect(() => {
    const node = list.current;
    if (!node) return undefined;
    const look = () => {
      const { top, width } = node.getBoundingClientRect();
      const first = Math.max(0, Math.floor(-top / tall) - AHEAD);
      const last = Math.max(0, Math.ceil((innerHeight - top) / tall) + AHEAD);
      setView((now) => (now.width === width && now.first === first && now.last === last ? now : { width, first, last }));
    };
    look();
    const sized = new ResizeObserver(look);
    sized.observe(node);
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => (sized.disconnect(), removeEventListener("scroll", look), removeEventListener("resize", look));
  }, [tall, rows]);
  useEffect(() => {
    const at = rows.indexOf(state.focus);
    const node = list.current;
    if (!node || at < 0 || state.enlarged >= 0) return;
    const top = node.getBoundingClientRect().top + Math.floor(at / columns) * tall;
    const head = document.querySelector(".tools")?.getBoundingClientRect().height ?? 0;
    if (top < head) scrollBy({ top: top - head - gap });
    else if (top + tall > innerHeight) scrollBy({ top: top + tall - innerHeight });
    requestAnimationFrame(() => document.getElementById(`card-${state.focus}`)?.querySelector("button")?.focus({ preventScroll: true }));
  }, [state.focus, state.enlarged]);
  if (!cards.length) return null;
  const drawn = view.width ? rows.subarray(view.first * columns, view.last * columns) : [];
  return html`<ul class="grid" ref=${list} aria-label="Pictures" style=${{ height: `${Math.ceil(rows.length / columns) * tall}px` }}>
    ${[...drawn].map((row, at) => {
      const place = view.first * columns + at;
      const band = [
        (place + 1) % columns && isTogether(row, rows[place + 1]) ? "follows" : "",
        place % columns && isTogether(row, rows[place - 1]) ? "leads" : "",
      ].join(" ");
      const x = (place % columns) * (side + gap);
      const box = { transform: `translate(${x}px, ${Math.floor(place / columns) * tall}px)`, width: `${side}px`, height: `${tall - gap}px`, "--side": `${side}px`, "--gap": `${gap}px` };
      return html`<${Tile} key=${row} row=${row} band=${band} box=${box} />`;
    })}
  </ul>
  ${rows.length ? null : html`<p class="empty">No card passes the filters.</p>`}`;
}

/** Whether two rows belong to one group. @param {number} row @param {number | undefined} other */
function isTogether(row, other) {
  const { group } = cards[row].record;
  return group !== undefined && other !== undefined && cards[other].record.group === group;
}

/** What a badge says of a card; nothing where nothing is the matter. @param {import("./state.js").Decided} record */
export function badgeOf(record) {
  if (record.reason === "representative") return "stays";
  if (!record.reason && record.action === "keep") return "";
  return reasonOf(record).replace(/ duplicate$/, " copy");
}

/** @param {{row: number, box: Record<string, string>, band: string}} props */
function Tile({ row, box, band }) {
  const { record, picture, failure, labels = [], captions = [] } = cards[row];
  const { kind } = fateOf(record);
  const choice = state.choices.get(row);
  const badge = badgeOf(record);
  const group = record.group === undefined ? "" : `band${record.group % 2} ${band}`;
  const label = record.label ?? labels.join(", ");
  const text = record.text || record.detail || captions[0] || "";
  return html`<li id=${`card-${row}`} class=${`card ${kind} ${choice ?? ""} ${group} ${row === state.focus ? "focus" : ""}`} style=${box}>
    <button type="button" class="picture" aria-label=${`Enlarge ${record.id}`} onClick=${() => update({ focus: row, enlarged: row })}>
      ${picture === undefined ? html`<span class="none">${failure ? "cannot be shown" : "no picture"}</span>` : html`<img src=${pictureAt(picture)} alt="" decoding="async" />`}
    </button>
    ${badge ? html`<span class=${`badge ${kind}`}>${badge}</span>` : null}
    ${groupOf(row).length > 2 && record.reason === "representative" ? html`<span class="badge number">${groupOf(row).length - 1} copies</span>` : null}
    <div class="said"><b title=${record.id}>${record.id}</b>
      <span>${[record.score === undefined ? "" : `score ${score(record.score)}`, record.subset, label].filter(Boolean).join(" · ")}</span>
      <span class="text" title=${text}>${text}</span></div>
    ${data.judged ? html`<${Boxes} row=${row} />` : null}
  </li>`;
}

/** The boxes of one card: keep it, drop it. @param {{row: number}} props */
export function Boxes({ row }) {
  const { record } = cards[row];
  const choice = state.choices.get(row);
  const [yes, no] = record.action === "label" ? ["Accept", "Refuse"] : ["Keep", "Drop"];
  return html`<div class="boxes" role="group" aria-label=${`Your choice for ${record.id}`}>
    <button type="button" class="keep" aria-pressed=${choice === "keep"} title="k" onClick=${() => choose([row], "keep")}>✓ ${yes}</button>
    <button type="button" class="drop" aria-pressed=${choice === "drop"} title="x" onClick=${() => choose([row], "drop")}>✕ ${no}</button>
  </div>`;
}

/** @param {number} number */
export function score(number) {
  return number.toLocaleString("en", { maximumSignificantDigits: 3 });
}
