// @ts-check
// Pictures of rows: a grey area until the item is loaded, a sign and the reason if the picture cannot be shown.

import { html } from "../../vendor/htm-preact-3.1.1.js";
import * as api from "../api.js";
import { known, lost } from "../items.js";
import { idOf } from "../state.js";
import { say } from "../words.js";

/** Whether a picture cannot be shown. @param {any} item */
export function isMissing(item) {
  return item.missing || !item.image_url;
}

/** A small picture. @param {{row: number, named?: boolean}} props `named`: whether the picture needs the id as its text */
export function Thumbnail({ row, named = false }) {
  const item = known(row);
  if (!item) return html`<i class="shade"></i>`;
  if (isMissing(item)) return html`<span class="broken" role="img" aria-label=${`${idOf(row)}: ${say("pictureMissing")}`}>⊘</span>`;
  return html`<img src=${item.thumbnail_url} alt=${named ? idOf(row) : ""} loading="lazy" onError=${() => lost(row)} />`;
}

/** A picture in full. @param {{row: number, alt?: string}} props */
export function Picture({ row, alt = idOf(row) }) {
  const item = known(row);
  if (!item) return html`<i class="shade"></i>`;
  if (isMissing(item)) return html`<div class="broken"><p>⊘ ${say("pictureMissing")}</p><small>${item.why ?? ""}</small></div>`;
  // The size reserves the picture's room, so that nothing moves when it is loaded.
  return html`<img src=${item.image_url} alt=${alt} width=${item.width || undefined} height=${item.height || undefined} draggable="false" onError=${() => lost(row)} />`;
}
