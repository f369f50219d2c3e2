// @ts-check
// Boxes, polygons and masks drawn over a picture, in its pixels.

import { html, useEffect, useRef } from "../../vendor/htm-preact-3.1.1.js";
import { CATEGORIES, css } from "../palette.js";
import { classInks } from "../state.js";
import { isMissing } from "./pictures.js";

/** Opacity of a mask, of 255. */
const COVER = 120;
/** Most pixels of a mask's longer side that are drawn. */
const FINEST = 1024;

/**
 * Boxes and polygons, over the masks.
 * @param {{item: any, named?: boolean, onPick?: (box: number) => void, fit?: "cover" | "contain", only?: number, picked?: number, fineness?: number, boxes?: boolean, masks?: boolean}} props
 *   `only`: the annotation of the one box that is drawn; `picked`: of the one that stands out; `fineness`: widths of a line
 *   in the picture's longer side
 */
export function Frames({ item, named = false, onPick, fit = "cover", only = -1, picked = -1, fineness = 100, boxes = true, masks = true }) {
  if (!item?.width || !item.height || isMissing(item)) return null;
  const unit = Math.max(item.width, item.height) / fineness;
  const outlines = masks && only < 0 ? item.polygons : [];
  const shown = boxes ? item.boxes.filter((/** @type {any} */ box) => only < 0 || box.annotation === only) : [];
  return html`${masks && only < 0 && item.masks.length ? html`<${Masks} item=${item} fit=${fit} />` : null}
  <svg class="frames" viewBox="0 0 ${item.width} ${item.height}" preserveAspectRatio=${fit === "cover" ? "xMidYMid slice" : "xMidYMid meet"} aria-hidden=${onPick ? undefined : "true"}>
    ${outlines.map((/** @type {any} */ outline, /** @type {number} */ at) => html`<polygon key=${`p${at}`} points=${outline.points.join(" ")} stroke=${css(inkOf(outline))} fill=${css(inkOf(outline))} fill-opacity=${COVER / 255 / 1.5} stroke-width=${unit / 2} />`)}
    ${shown.map((/** @type {any} */ box) => {
      const at = item.boxes.indexOf(box);
      const { x1, y1, x2, y2 } = box.bbox;
      const ink = css(inkOf(box));
      const name = `${box.class_name}${box.confidence === null || box.confidence === undefined ? "" : ` ${Number(box.confidence).toFixed(2)}`}`;
      const top = Math.max(0, y1 - unit * 5);
      return html`<g key=${at} class=${onPick ? "pickable" : ""} opacity=${picked < 0 || picked === box.annotation ? 1 : 0.4} onClick=${onPick && (() => onPick(at))}>
        <title>${name}</title>
        <rect x=${x1} y=${y1} width=${Math.max(0, x2 - x1)} height=${Math.max(0, y2 - y1)} stroke=${ink} fill=${onPick ? "transparent" : "none"} stroke-width=${unit} />
        ${named && name ? html`<rect x=${x1} y=${top} width=${name.length * unit * 2.4 + unit * 2} height=${unit * 5} fill=${ink} />
          <text x=${x1 + unit} y=${top + unit * 3.8} font-size=${unit * 4} fill="#fff">${name}</text>` : null}
      </g>`;
    })}
  </svg>`;
}

/** @param {{class_name: string}} shape */
function inkOf({ class_name }) {
  return classInks().get(class_name) ?? CATEGORIES[1];
}

/** All masks of a picture on one canvas, subsampled where they are large. @param {{item: any, fit: string}} props */
function Masks({ item, fit }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  useEffect(() => {
    const node = canvas.current;
    if (!node) return;
    const step = Math.ceil(Math.max(item.width, item.height) / FINEST);
    Object.assign(node, { width: Math.ceil(item.width / step), height: Math.ceil(item.height / step) });
    const context = /** @type {CanvasRenderingContext2D} */ (node.getContext("2d"));
    const image = context.createImageData(node.width, node.height);
    for (const mask of item.masks) fill(image, mask, step);
    context.putImageData(image, 0, 0);
  }, [item]);
  return html`<canvas ref=${canvas} class=${`frames ${fit}`} aria-hidden="true"></canvas>`;
}

/** Colour a mask's pixels, of every `step`-th row and column. @param {ImageData} image @param {any} mask @param {number} step */
function fill({ data, width, height }, mask, step) {
  const tall = mask.size[0];
  const [red, green, blue] = inkOf(mask);
  for (let run = 1, start = mask.runs[0]; run < mask.runs.length; start += mask.runs[run] + (mask.runs[run + 1] ?? 0), run += 2) {
    const stop = start + mask.runs[run];
    for (let column = Math.floor(start / tall); column * tall < stop; column++) {
      if (column % step || column / step >= width) continue;
      const [from, to] = [Math.max(start - column * tall, 0), Math.min(stop - column * tall, tall)];
      for (let row = Math.ceil(from / step); row * step < to && row < height; row++)
        data.set([red, green, blue, COVER], 4 * (row * width + column / step));
    }
  }
}
