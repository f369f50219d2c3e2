// @ts-check
// A small picture of a row: a shade until it is known, a sign where it cannot be shown.

import { html } from "../../vendor/htm-preact-3.1.1.js";
import * as api from "../api.js";
import { idOf } from "../state.js";
import { say } from "../words.js";

/** @param {{row: number, named?: boolean}} props `named`: whether the picture alone says which row it is */
export function Thumbnail({ row, named = false }) {
  const item = api.known(row);
  if (!item) return html`<i class="shade"></i>`;
  if (item.missing || !item.thumbnail_url) return html`<span class="broken" role="img" aria-label=${`${idOf(row)}: ${say("pictureMissing")}`}>⊘</span>`;
  return html`<img src=${item.thumbnail_url} alt=${named ? idOf(row) : ""} loading="lazy" onError=${() => api.lost(row)} />`;
}
