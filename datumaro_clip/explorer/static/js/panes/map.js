// @ts-check
// The map of the whole dataset: what matches is strong, the rest pale.

import { html, useEffect, useMemo, useRef, useState } from "../../vendor/htm-preact-3.1.1.js";
import * as act from "../actions.js";
import * as api from "../api.js";
import { numberText, shownColumns, title } from "../columns.js";
import { simplified } from "../geometry.js";
import { Icon } from "../icons.js";
import { known, need } from "../items.js";
import { css, pixelsOf } from "../palette.js";
import { Scatter } from "../scatter.js";
import { data, idOf, layers, mapColours, narrowed, shownPlane, state, subsetOf, update } from "../state.js";
import { theme } from "../theme.js";
import { say } from "../words.js";
import { Frames } from "./frames.js";
import { withValue } from "./hooks.js";

/** Pixels from the pointer within which a point is picked. */
const REACH = 8;
const STEP = 60;
/** Square pixels of a map from which the number of points alone decides their size; on a smaller map they are smaller. */
const ROOMY = 320_000;

export function MapPane() {
  const holder = useRef(/** @type {HTMLElement | null} */ (null));
  const scatter = useRef(/** @type {Scatter | null} */ (null));
  const frame = useRef(0);
  const moving = useRef(false);
  const pointers = useRef(new Map());
  const line = useRef(/** @type {[number, number][]} */ ([]));
  const [tool, setTool] = useState(/** @type {"pan" | "rectangle" | "lasso"} */ ("pan"));
  const [hover, setHover] = useState(/** @type {{point: number, x: number, y: number} | null} */ (null));
  const [, setMoved] = useState(0);
  const plane = shownPlane();
  const colours = mapColours();
  const pixels = useMemo(() => pixelsOf(colours.inks, ...panelColours()), [colours, theme()]);
  const layered = layers();
  const shown = useRef({ plane, pixels });
  shown.current = { plane, pixels };

  const draw = () => {
    frame.current = 0;
    const plot = scatter.current;
    const { plane, pixels } = shown.current;
    if (!plot || !plane) return;
    const crowd = Math.sqrt((plot.view.width * plot.view.height) / ROOMY / plane.table.count);
    const size = Math.max(1.5, Math.min(9, 1.4 + 120 * crowd + Math.log2(plot.view.scale / plot.fitted) * 0.8));
    plot.draw(pixels, size);
    drawLine(plot);
    if (moving.current) setMoved((n) => n + 1);
    moving.current = false;
  };
  const redraw = () => (frame.current ||= requestAnimationFrame(draw));
  /** Draw the map and, in the same frame, move the labels over it. */
  const move = () => {
    moving.current = true;
    redraw();
  };

  /** @param {Scatter} plot */
  const drawLine = (plot) => {
    const { context, view, ratio } = plot;
    const corners = line.current.length ? line.current : state.region;
    if (!corners || corners.length < 2) return;
    context.save();
    context.scale(ratio, ratio);
    context.beginPath();
    for (const [cx, cy] of corners) context.lineTo(...view.toCanvas(cx, cy));
    context.closePath();
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    context.lineWidth = 1.5;
    context.setLineDash([5, 4]);
    context.stroke();
    context.globalAlpha = 0.1;
    context.fillStyle = context.strokeStyle;
    context.fill();
    context.restore();
  };

  useEffect(() => {
    const node = holder.current;
    if (!node) return undefined;
    const canvas = /** @type {HTMLCanvasElement} */ (node.querySelector("canvas"));
    const plot = new Scatter(canvas);
    scatter.current = plot;
    const sized = new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      if (!width || !height) return;
      const first = plot.view.width <= 1;
      plot.resize(width, height, Math.min(devicePixelRatio || 1, 2));
      if (first) showAll();
      draw();
      setMoved((n) => n + 1);
    });
    sized.observe(node);
    const wheeled = (/** @type {WheelEvent} */ event) => {
      event.preventDefault();
      plot.view.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event.offsetX, event.offsetY);
      move();
    };
    canvas.addEventListener("wheel", wheeled, { passive: false });
    return () => (sized.disconnect(), canvas.removeEventListener("wheel", wheeled));
  }, []);
  const showAll = () => {
    const plot = scatter.current;
    const { plane } = shown.current;
    if (!plot || !plane) return;
    plot.view.fit(plane.grid.bounds);
    plot.fitted = plot.view.scale;
    move();
  };
  useEffect(showAll, [plane]);
  useEffect(() => {
    if (plane) scatter.current?.arrange(plane.grid, layered, colours.colours);
    redraw();
  }, [plane, layered, colours]);
  useEffect(() => void redraw(), [pixels, state.region]);

  /** @param {PointerEvent} event @returns {[number, number]} */
  const at = (event) => {
    const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  /** @param {PointerEvent} event */
  const pressed = (event) => {
    /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
    pointers.current.set(event.pointerId, { from: at(event), now: at(event), travelled: 0 });
    if (drawing(event)) line.current = [/** @type {Scatter} */ (scatter.current).view.toMap(...at(event))];
  };
  /** @param {PointerEvent} event */
  const drawing = (event) => tool !== "pan" || event.shiftKey || line.current.length > 0;
  /** @param {PointerEvent} event */
  const dragged = (event) => {
    const plot = scatter.current;
    if (!plot) return;
    const held = pointers.current.get(event.pointerId);
    const [px, py] = at(event);
    if (!held) return pointed(px, py);
    const [dx, dy] = [px - held.now[0], py - held.now[1]];
    held.travelled += Math.hypot(dx, dy);
    if (pointers.current.size === 2) {
      const other = [...pointers.current.entries()].find(([id]) => id !== event.pointerId)?.[1].now ?? [px, py];
      const [before, after] = [held.now, [px, py]].map((point) => Math.hypot(point[0] - other[0], point[1] - other[1]));
      if (before > 0) plot.view.zoom(after / before, (px + other[0]) / 2, (py + other[1]) / 2);
      line.current = [];
    } else if (line.current.length) {
      const corner = plot.view.toMap(px, py);
      const [fx, fy] = line.current[0];
      if (tool === "rectangle") line.current = [[fx, fy], [corner[0], fy], corner, [fx, corner[1]]];
      else line.current.push(corner);
    } else {
      plot.view.pan(dx, dy);
    }
    held.now = [px, py];
    if (hover) setHover(null);
    if (line.current.length) redraw();
    else move();
  };
  /** @param {PointerEvent} event */
  const released = (event) => {
    const held = pointers.current.get(event.pointerId);
    pointers.current.delete(event.pointerId);
    const plot = scatter.current;
    if (!held || !plot) return;
    if (line.current.length) {
      const region = simplified(line.current, 2 / plot.view.scale);
      line.current = [];
      if (held.travelled > 6 && region.length > 2) {
        Object.assign(state, { region });
        const { passed } = narrowed();
        /** @type {Set<number>} */
        const rows = new Set();
        for (let row = 0; row < passed.length; row++) if (passed[row]) rows.add(row);
        update({ selected: rows });
      }
      setTool("pan");
      redraw();
    } else if (held.travelled < 4) {
      const point = under(held.from[0], held.from[1]);
      act.select(new Set(), rowOf(point), objectOf(point));
    }
  };
  /** @param {number} px @param {number} py */
  const under = (px, py) => {
    const view = /** @type {Scatter} */ (scatter.current).view;
    const [atX, atY] = view.toMap(px, py);
    return plane ? plane.grid.nearest(atX, atY, REACH / view.scale) : -1;
  };
  /** @param {number} px @param {number} py */
  const pointed = (px, py) => {
    const point = under(px, py);
    if (point >= 0) need([rowOf(point)]);
    if (point >= 0 || hover) setHover(point >= 0 ? { point, x: px, y: py } : null);
  };
  /** @param {KeyboardEvent} event */
  const keyed = (event) => {
    const plot = scatter.current;
    const by = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key];
    if (!plot) return;
    if (by) plot.view.pan(by[0], by[1]);
    else if (event.key === "+" || event.key === "-") plot.view.zoom(event.key === "+" ? 1.3 : 1 / 1.3, plot.view.width / 2, plot.view.height / 2);
    else return;
    event.preventDefault();
    move();
  };
  /** @param {number} factor */
  const zoomBy = (factor) => () => {
    const plot = /** @type {Scatter} */ (scatter.current);
    plot.view.zoom(factor, plot.view.width / 2, plot.view.height / 2);
    move();
  };
  const inFocus = plane ? pointInFocus(plane) : -1;
  // A picture without a vector has the place NaN.
  const place = plane && inFocus >= 0 && !Number.isNaN(plane.grid.x[inFocus]) && scatter.current ? scatter.current.view.toCanvas(plane.grid.x[inFocus], plane.grid.y[inFocus]) : null;
  return html`<section class="mapPane" aria-label=${say("map")}>
    <div class=${`map ${tool}`} ref=${holder} tabindex="0" role="application" aria-label=${say("mapLabel")} onKeyDown=${keyed}>
      <canvas hidden=${!plane} onPointerDown=${pressed} onPointerMove=${dragged} onPointerUp=${released} onPointerCancel=${released} onPointerLeave=${() => setHover(null)}></canvas>
      ${plane ? html`<${Labels} plot=${scatter.current} labels=${plane.labels} />` : html`<div class="empty"><p>${say("noMap")}</p><code>datum-clip map ${data.overview.path}</code></div>`}
      ${place ? html`<i class="focusRing" ref=${placed(...place)}></i>` : null}
      ${hover ? html`<${Hover} ...${hover} row=${rowOf(hover.point)} object=${objectOf(hover.point)} width=${scatter.current?.view.width ?? 0} height=${scatter.current?.view.height ?? 0} />` : null}
    </div>
    <div class="float topLeft">
      ${data.overview.objects ? html`<label><span>${say("mapOf")}</span>
        <select value=${state.plane} onChange=${withValue((name) => act.showPlane(/** @type {any} */ (name)))}>
          <option value="pictures">${say("picturesPlane")}</option><option value="objects">${say("objects")}</option>
        </select>
      </label>` : null}
      <label><span>${say("colour")}</span>
        <select value=${state.colour} onChange=${withValue((colour) => update({ colour }))}>
          ${shownColumns().map((column) => html`<option key=${column.name} value=${column.name}>${title(column)}</option>`)}
        </select>
      </label>
      <${Ramp} colours=${colours} />
    </div>
    <p class="float bottomLeft" aria-live="polite">${say(plane?.rows ? "pointsOfObjects" : "points", { all: plane?.table.count ?? 0, n: narrowed().count, s: state.selected.size })}</p>
    <div class="float bottomRight tools">
      <button title=${`${say("zoomIn")} (+)`} aria-label=${say("zoomIn")} onClick=${zoomBy(1.5)}>+</button>
      <button title=${`${say("zoomOut")} (−)`} aria-label=${say("zoomOut")} onClick=${zoomBy(1 / 1.5)}>−</button>
      <button title=${say("rectangle")} aria-label=${say("rectangle")} aria-pressed=${tool === "rectangle"} onClick=${() => setTool(tool === "rectangle" ? "pan" : "rectangle")}><${Icon} name="rectangle" /></button>
      <button title=${`${say("lasso")} (⇧)`} aria-label=${say("lasso")} aria-pressed=${tool === "lasso"} onClick=${() => setTool(tool === "lasso" ? "pan" : "lasso")}><${Icon} name="lasso" /></button>
      <button title=${say("fit")} aria-label=${say("fit")} onClick=${showAll}><${Icon} name="fit" /></button>
    </div>
  </section>`;
}

/** A reference that moves its node to a place; the page's policy forbids style attributes. @param {number} x @param {number} y */
function placed(x, y) {
  return (/** @type {HTMLElement | null} */ node) => {
    if (node) node.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
  };
}

/** The row of a point's picture; -1 for no point. @param {number} point */
function rowOf(point) {
  const rows = shownPlane()?.rows;
  return rows && point >= 0 ? rows[point] : point;
}

/** The annotation of a point on the map of objects; -1 for any other. @param {number} point */
function objectOf(point) {
  const column = shownPlane()?.table.column("annotation");
  return column && point >= 0 ? column.data[point] : -1;
}

/** The point of the picture or object in focus. @param {import("../state.js").Plane} plane */
function pointInFocus({ rows, table }) {
  if (!rows || state.focus < 0) return state.focus;
  const annotations = /** @type {import("../table.js").Column} */ (table.column("annotation")).data;
  return rows.findIndex((row, point) => row === state.focus && (state.object < 0 || annotations[point] === state.object));
}

/** The legend of a map that is coloured by numbers or dates. @param {{colours: ReturnType<typeof mapColours>}} props */
function Ramp({ colours: { inks, range } }) {
  const column = shownPlane()?.table.column(state.colour) ?? data.table.column(state.colour);
  if (!range || !column) return null;
  const steps = inks.slice(0, -1);
  return html`<span class="ramp"><span>${numberText(column, range[0])}</span>
    <svg viewBox="0 0 ${steps.length} 1" preserveAspectRatio="none" aria-hidden="true">${steps.map((ink, at) => html`<rect key=${at} x=${at} width="1.1" height="1" fill=${css(ink)} />`)}</svg>
    <span>${numberText(column, range[1])}</span></span>`;
}

/** Names of regions, the clearest first; a name that would cover another is left out. @param {{plot: Scatter | null, labels: import("../state.js").Plane["labels"]}} props */
function Labels({ plot, labels }) {
  if (!plot) return null;
  /** @type {{x: number, y: number, text: string}[]} */
  const shown = [];
  for (const label of labels) {
    const [x, y] = plot.view.toCanvas(label.x, label.y);
    if (x < 20 || y < 12 || x > plot.view.width - 20 || y > plot.view.height - 12) continue;
    const width = label.text.length * 7 + 16;
    if (shown.every((other) => Math.abs(other.x - x) > (width + other.text.length * 7 + 16) / 2 || Math.abs(other.y - y) > 18))
      shown.push({ x, y, text: label.text });
  }
  return shown.map((label) => html`<span key=${label.text} class="mapLabel" ref=${placed(label.x, label.y)}>${label.text}</span>`);
}

/** @param {{row: number, object: number, x: number, y: number, width: number, height: number}} props */
function Hover({ row, object, x, y, width, height }) {
  const item = known(row);
  const left = x > width - 190 ? x - 180 : x + 14;
  const top = Math.max(4, y > height - 230 ? y - 225 : y + 14);
  return html`<div class="hover" ref=${placed(left, top)}>
    <span class="look">${item?.thumbnail_url ? html`<img src=${item.thumbnail_url} alt="" />` : html`<i class="shade"></i>`}
      ${item && object >= 0 ? html`<${Frames} item=${item} only=${object} fit="contain" />` : null}</span>
    <b>${idOf(row)}</b> · ${subsetOf(row)}
    ${item?.captions?.[0] ? html`<small>${item.captions[0].text}</small>` : null}
  </div>`;
}

/** The panel's colour and the ring's, as the style sheet says. @returns {[[number, number, number], [number, number, number]]} */
function panelColours() {
  const style = getComputedStyle(document.documentElement);
  return [parts(style.getPropertyValue("--panel")), parts(style.getPropertyValue("--accent"))];
}

/** @param {string} text as rgb(1, 2, 3) @returns {[number, number, number]} */
function parts(text) {
  const [red, green, blue] = (text.match(/\d+/g) ?? ["0", "0", "0"]).map(Number);
  return [red, green, blue];
}
