// @ts-check
// Starts the page: its summary, its tools, its cards.

import { html, render, useLayoutEffect, useState } from "../../../explorer/static/vendor/htm-preact-3.1.1.js";
import { Enlarged } from "./enlarged.js";
import { Grid } from "./grid.js";
import { listen } from "./keys.js";
import { remember, subscribe } from "./state.js";
import { Summary } from "./summary.js";
import { Tools } from "./tools.js";

/** A part of the page that is drawn whenever something changes. @param {{part: () => unknown}} props */
function Live({ part }) {
  const [, redraw] = useState({});
  // As part of the first drawing: an effect waits for the next frame, and what changes before it would not be drawn.
  useLayoutEffect(() => subscribe(() => redraw({})), []);
  return html`<${part} />`;
}

function Work() {
  return html`<${Tools} /><${Grid} />`;
}

remember();
for (const [id, part] of Object.entries({ summary: Summary, work: Work, enlarged: Enlarged })) {
  const place = /** @type {HTMLElement} */ (document.getElementById(id));
  place.replaceChildren();
  render(html`<${Live} part=${part} />`, place);
}
listen();

const copy = document.getElementById("copy");
copy?.addEventListener("click", async () => {
  const command = /** @type {HTMLElement} */ (document.getElementById("command"));
  getSelection()?.selectAllChildren(command);
  // A page from a disk may not write to the clipboard of every browser; what is selected can be copied by hand.
  const done = await navigator.clipboard?.writeText(command.textContent ?? "").then(() => true, () => false);
  copy.textContent = done ? "Copied" : "Selected";
});
