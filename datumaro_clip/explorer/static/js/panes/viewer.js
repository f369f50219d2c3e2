// @ts-check
// One picture as large as the window, with zoom and pan.

import { html, useEffect, useRef } from "../../vendor/htm-preact-3.1.1.js";
import * as act from "../actions.js";
import * as api from "../api.js";
import { known, need } from "../items.js";
import { choiceOf, idOf, ordered, state, subsetOf, update } from "../state.js";
import { say } from "../words.js";
import { Frames } from "./frames.js";
import { Picture } from "./pictures.js";

const CLOSEST = 32;

export function Viewer() {
  const row = state.focus;
  const stage = useRef(/** @type {HTMLElement | null} */ (null));
  const view = useRef({ scale: 1, x: 0, y: 0 });
  const held = useRef(/** @type {{x: number, y: number} | null} */ (null));
  need([row]);
  const item = known(row);
  const show = () => {
    const { scale, x, y } = view.current;
    if (stage.current) stage.current.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  };
  /** Zoom by a factor about a place; never to less than the window. @param {number} factor @param {number} [px] @param {number} [py] */
  const zoom = (factor, px = (stage.current?.clientWidth ?? 0) / 2, py = (stage.current?.clientHeight ?? 0) / 2) => {
    const { scale, x, y } = view.current;
    const next = Math.max(1, Math.min(CLOSEST, scale * factor));
    view.current = next === 1 ? { scale: 1, x: 0, y: 0 } : { scale: next, x: px - ((px - x) * next) / scale, y: py - ((py - y) * next) / scale };
    show();
  };
  useEffect(() => zoom(0), [row]);
  /** @param {{clientX: number, clientY: number}} event @returns {[number, number]} */
  const at = (event) => {
    const box = /** @type {HTMLElement} */ (stage.current?.parentElement).getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  /** @param {PointerEvent} event */
  const dragged = (event) => {
    if (!held.current || view.current.scale === 1) return;
    view.current.x += event.clientX - held.current.x;
    view.current.y += event.clientY - held.current.y;
    held.current = { x: event.clientX, y: event.clientY };
    show();
  };
  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowRight: () => act.moveFocus(1),
    ArrowLeft: () => act.moveFocus(-1),
    "+": () => zoom(1.5),
    "-": () => zoom(1 / 1.5),
    0: () => zoom(0),
    k: () => act.toggleVerdict("keep"),
    x: () => act.toggleVerdict("drop"),
    u: () => act.undo(),
  };
  useEffect(() => {
    const pressed = (/** @type {KeyboardEvent} */ event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
  const rows = ordered();
  const chosen = choiceOf().get(row)?.action;
  return html`<header>
      <h1 id="dialogTitle">${idOf(row)} <small>${subsetOf(row)}${item?.width ? ` · ${item.width} × ${item.height}` : ""}</small></h1>
      ${chosen ? html`<em class=${chosen === "drop" ? "dropped" : "kept"}>${chosen === "drop" ? `✕ ${say("dropped")}` : `✓ ${say("kept")}`}</em>` : null}
      <span class="space"></span>
      <button class="toggle" aria-pressed=${state.boxes} onClick=${() => update({ boxes: !state.boxes })}>${say("boxes")}</button>
      <button class="toggle" aria-pressed=${state.masks} onClick=${() => update({ masks: !state.masks })}>${say("masks")}</button>
      <button aria-label=${say("zoomOut")} title=${`${say("zoomOut")} (-)`} onClick=${() => zoom(1 / 1.5)}>−</button>
      <button aria-label=${say("zoomIn")} title=${`${say("zoomIn")} (+)`} onClick=${() => zoom(1.5)}>+</button>
    </header>
    <div class="window" onWheel=${(/** @type {WheelEvent} */ event) => (event.preventDefault(), zoom(Math.exp(-event.deltaY * 0.0015), ...at(event)))}
        onDblClick=${(/** @type {MouseEvent} */ event) => zoom(view.current.scale > 1 ? 0 : 3, ...at(event))}
        onPointerDown=${(/** @type {PointerEvent} */ event) => (event.preventDefault(), (held.current = { x: event.clientX, y: event.clientY }))}
        onPointerMove=${dragged} onPointerUp=${() => (held.current = null)} onPointerLeave=${() => (held.current = null)}>
      <div class="stage" ref=${stage}><${Picture} row=${row} alt=${item?.captions?.[0]?.text} />
        <${Frames} item=${item} named=${true} fit="contain" fineness=${Math.min(300, innerWidth / 4)} boxes=${state.boxes} masks=${state.masks} /></div>
    </div>
    <footer><button disabled=${rows[0] === row} onClick=${() => act.moveFocus(-1)}>← ${say("back")}</button>
      <small>${say("of", { n: rows.indexOf(row) + 1, all: rows.length })}</small>
      <button disabled=${rows[rows.length - 1] === row} onClick=${() => act.moveFocus(1)}>${say("next")} →</button></footer>`;
}
