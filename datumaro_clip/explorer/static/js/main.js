// @ts-check
// Starts the page: loads the columns, draws the rooms, keeps the address up to date.

import { html, render, useLayoutEffect, useState } from "../vendor/htm-preact-3.1.1.js";
import * as act from "./actions.js";
import * as api from "./api.js";
import { planeOf } from "./geometry.js";
import { listen } from "./keys.js";
import { Dialogs } from "./panes/dialogs.js";
import { Compare } from "./panes/compare.js";
import { Detail } from "./panes/detail.js";
import { Duplicates } from "./panes/duplicates.js";
import { Facets } from "./panes/facets.js";
import { Gallery } from "./panes/gallery.js";
import { MapPane } from "./panes/map.js";
import { Review } from "./panes/review.js";
import { Statistics } from "./panes/statistics.js";
import { takePicture, Top } from "./panes/top.js";
import { data, recountVerdicts, sayWrong, state, subscribe, update } from "./state.js";
import { Table } from "./table.js";
import { beginTheme } from "./theme.js";
import { fromAddress, toAddress, usualColour } from "./url.js";
import { language, say } from "./words.js";

const root = /** @type {HTMLElement} */ (document.getElementById("page"));
/** Milliseconds after which a notice disappears, unless it is an error. */
const NOTICE = 5000;
/** Milliseconds after which the page says that it is still loading. */
const SLOW = 1000;

function App() {
  const [, redraw] = useState({});
  // A layout effect, because a plain one waits for the next frame, and an answer that comes before it would not be drawn.
  useLayoutEffect(() => subscribe(() => redraw({})), []);
  const rooms = { explore: Explore, duplicates: state.loading ? Loading : Duplicates, review: state.loading ? Loading : Review, statistics: Statistics, compare: Compare };
  return html`<${Top} />
    ${state.offline ? html`<p class="banner" role="alert">${say("offline")}</p>` : null}
    ${state.job ? html`<${Job} />` : null}
    <${rooms[state.room]} />
    <${Dialogs} />
    ${state.writing ? html`<p class="notice" role="status">${say("writing")}</p>` : state.notice && !state.panel ? html`<p class=${`notice ${state.notice.kind}`} role=${state.notice.kind === "wrong" ? "alert" : "status"}>${state.notice.text} <button class="icon" aria-label=${say("close")} onClick=${() => update({ notice: null })}>×</button></p>` : null}`;
}

function Explore() {
  return html`<main class=${`room explore ${state.filtersOpen ? "filtering" : ""}`}>
    <${Facets} /><div class="middle"><${MapPane} /><${Gallery} /></div><${Detail} />
  </main>`;
}

/** Shown instead of a room about proposals and choices until they are loaded. */
function Loading() {
  return html`<main class="room single" aria-busy="true"><p class="empty">${say("loading", { store: data.overview.name })}</p></main>`;
}

function Job() {
  const job = /** @type {NonNullable<typeof state.job>} */ (state.job);
  return html`<div class="banner job" role="status"><b>${job.tool}</b> ${job.note}
    <progress max=${job.total || 1} value=${job.total ? job.done : undefined} aria-label=${job.tool}></progress>
    <button class="plain" onClick=${act.cancelJob}>${say("cancel")}</button></div>`;
}

async function start() {
  document.documentElement.lang = language;
  beginTheme();
  const slow = setTimeout(() => root.append(Object.assign(document.createElement("p"), { className: "empty", textContent: say("reading") })), SLOW);
  const overview = await api.askJson("overview");
  data.overview = overview;
  const [bytes, ids] = await Promise.all([
    api.askBytes(`columns?version=${overview.version}`),
    api.askJson(`ids?version=${overview.version}`),
  ]);
  data.table = new Table(overview.count, overview.columns, bytes);
  data.ids = ids;
  if (data.table.column("x")) data.planes.pictures = planeOf(data.table, overview.labels);
  state.colour = usualColour();
  recountVerdicts();
  go();
  clearTimeout(slow);
  root.replaceChildren();
  render(html`<${App} />`, root);
  root.removeAttribute("aria-busy");
  listen();
  subscribe(remember);
  window.addEventListener("popstate", go);
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => (event.preventDefault(), takePicture(event.dataTransfer?.files[0])));
  await Promise.all([act.refreshProposals(), act.refreshChoices()]);
  update({ loading: false });
}

/** Set the state from the address. */
function go() {
  const said = fromAddress(location.search);
  Object.assign(state, said);
  if (state.plane === "objects") act.showPlane("objects", state.region);
  act.search(said.query ?? null).catch(sayWrong);
  if (said.words) act.searchCaptions(said.words);
  update({ selected: new Set() });
}

let written = location.search;
let timer = 0;

/** Write the state into the address; remove a notice after a while, unless it is an error. */
function remember() {
  const address = toAddress();
  if (address !== written) {
    const sameRoom = new URLSearchParams(address).get("room") === new URLSearchParams(written).get("room");
    history[sameRoom ? "replaceState" : "pushState"](null, "", `${location.pathname}${address}`);
    written = address;
  }
  if (state.notice?.kind === "said" && !timer)
    timer = window.setTimeout(() => {
      timer = 0;
      if (state.notice?.kind === "said") update({ notice: null });
    }, NOTICE);
}

start().catch((error) => {
  root.removeAttribute("aria-busy");
  root.textContent = error instanceof Error ? error.message : String(error);
});
