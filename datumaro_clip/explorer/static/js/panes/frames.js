// @ts-check
// Boxes drawn over a picture, in the picture's own pixels.

import { html } from "../../vendor/htm-preact-3.1.1.js";
import { CATEGORIES, css } from "../palette.js";
import { classInks } from "../state.js";

/** Whether a picture has boxes or outlines to draw. @param {any} item */
export function hasShapes(item) {
  return Boolean(item?.boxes?.length || item?.polygons?.length);
}

/**
 * @param {{item: any, named?: boolean, onPick?: (box: number) => void, fit?: "cover" | "contain"}} props
 */
export function Frames({ item, named = false, onPick, fit = "cover" }) {
  if (!item.width || !item.height) return null;
  const unit = Math.max(item.width, item.height) / 100;
  const outlines = item.polygons ?? [];
  return html`<svg class="frames" viewBox="0 0 ${item.width} ${item.height}" preserveAspectRatio=${fit === "cover" ? "xMidYMid slice" : "xMidYMid meet"} aria-hidden=${onPick ? undefined : "true"}>
    ${outlines.map((/** @type {any} */ outline, /** @type {number} */ at) => html`<polygon key=${`p${at}`} points=${outline.points.join(" ")} stroke=${css(classInks().get(outline.class_name) ?? CATEGORIES[1])} fill="none" stroke-width=${unit / 2} />`)}
    ${item.boxes.map((/** @type {any} */ box, /** @type {number} */ at) => {
      const { x1, y1, x2, y2 } = box.bbox;
      const ink = css(classInks().get(box.class_name) ?? CATEGORIES[1]);
      const name = `${box.class_name}${box.confidence === null || box.confidence === undefined ? "" : ` ${Number(box.confidence).toFixed(2)}`}`;
      return html`<g key=${at} class=${onPick ? "pickable" : ""} onClick=${onPick && (() => onPick(at))}>
        <title>${name}</title>
        <rect x=${x1} y=${y1} width=${Math.max(0, x2 - x1)} height=${Math.max(0, y2 - y1)} stroke=${ink} fill=${onPick ? "transparent" : "none"} stroke-width=${unit} />
        ${named ? html`<rect x=${x1} y=${Math.max(0, y1 - unit * 5)} width=${name.length * unit * 2.4 + unit * 2} height=${unit * 5} fill=${ink} />
          <text x=${x1 + unit} y=${Math.max(0, y1 - unit * 5) + unit * 3.8} font-size=${unit * 4} fill="#fff">${name}</text>` : null}
      </g>`;
    })}
  </svg>`;
}
