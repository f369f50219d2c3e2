// @ts-check
// Icons of buttons, drawn here because no font has them on every system.

import { html } from "../vendor/htm-preact-3.1.1.js";

/** @type {Record<string, string>} */
const PATHS = {
  explore: "M4 7a2 2 0 1 0 0-.1M11 4.500a1.500 1.500 0 1 0 0-.1M12 11a2.500 2.500 0 1 0 0-.1M4.500 12.500a1.500 1.500 0 1 0 0-.1",
  duplicates: "M2.500 2.500h8v8h-8zM5.500 10.500v3h8v-8h-3",
  review: "M2.500 8.500l3.500 3.500 7.500-8",
  statistics: "M3 13.500v-4M8 13.500v-11M13 13.500v-7",
  compare: "M2.500 5.500h10l-2.500-2.500M13.500 10.500h-10l2.500 2.500",
  rectangle: "M2.500 3.500h11v9h-11z",
  lasso: "M8 2.500c3.500 0 6 1.600 6 4s-2.500 4-6 4-6-1.600-6-4 2.500-4 6-4M5 10.200c-1.500.8-1.200 2.800.3 3.300",
  fit: "M2.500 6v-3.500h3.500M10 2.500h3.500v3.500M13.500 10v3.500h-3.500M6 13.500h-3.500v-3.500",
  picture: "M2.500 3h11v10h-11zM2.500 11l3.500-3.500 3 3 1.500-1.500 3 3",
  search: "M7 2.500a4.500 4.500 0 1 0 0 9a4.500 4.500 0 0 0 0-9M10.200 10.200l3.800 3.800",
  filter: "M2 3.500h12M4.500 8h7M7 12.500h2",
  theme: "M8 2.500a5.500 5.500 0 1 0 0 11zM8 2.500a5.500 5.500 0 1 1 0 11",
  undo: "M3 6.500h7a3.500 3.500 0 0 1 0 7h-3M3 6.500l3-3M3 6.500l3 3",
};

/** @param {{name: string}} props */
export function Icon({ name }) {
  return html`<svg class="drawn" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}
