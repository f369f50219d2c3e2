// @ts-check
// The pane about one item, or about what several selected items have in common.

import { html, useMemo } from "../../vendor/htm-preact-3.1.1.js";
import * as act from "../actions.js";
import * as api from "../api.js";
import { numberText, shownColumns, title, unit, valueName } from "../columns.js";
import { Icon } from "../icons.js";
import { known, need } from "../items.js";
import { choiceOf, data, idOf, narrowed, ordered, proposalsOf, sayWrong, state, subsetOf, update } from "../state.js";
import { countValues, isCategory } from "../table.js";
import { count, isSaid, say, score, spoken, time } from "../words.js";
import { Frames } from "./frames.js";
import { isMissing, Picture, Thumbnail } from "./pictures.js";

const NEIGHBOURS = 8;

export function Detail() {
  if (state.selected.size > 1) return html`<aside class="detail" aria-label=${say("detail")}><${Common} /></aside>`;
  const row = state.selected.size ? [...state.selected][0] : state.focus;
  if (row < 0) return html`<aside class="detail" aria-label=${say("detail")}><p class="empty">${say("pickOne")}</p></aside>`;
  return html`<aside class="detail" aria-label=${say("detail")}>
    <button class="icon close" aria-label=${say("close")} title=${`${say("close")} (Esc)`} onClick=${() => update({ focus: -1, selected: new Set() })}>×</button><${One} key=${row} row=${row} /></aside>`;
}

/** @param {{row: number}} props */
function One({ row }) {
  need([row]);
  const item = known(row);
  const [id, subset] = [idOf(row), subsetOf(row)];
  const match = data.table.column("match")?.data[row];
  const chosen = choiceOf().get(row)?.action;
  const others = shownColumns().filter(({ name }) => !["match", "subset", "decision", "width", "height"].includes(name));
  return html`
    <${Large} item=${item} row=${row} />
    <div class="verdicts">
      <button aria-pressed=${chosen === "keep"} class="keep" onClick=${() => act.decideRows(chosen === "keep" ? "clear" : "keep", [row])}>✓ ${say("keep")}</button>
      <button aria-pressed=${chosen === "drop"} class="drop" onClick=${() => act.decideRows(chosen === "drop" ? "clear" : "drop", [row])}>✕ ${say("drop")}</button>
      <button onClick=${() => act.findSimilar(row)}><${Icon} name="search" /> ${say("similar")}</button>
    </div>
    <dl>
      <dt>${say("id")}</dt><dd>${id} · ${subset}</dd>
      ${match === undefined || Number.isNaN(match) ? null : html`<dt>${say("match")}</dt><dd>${score(match)} · ${say("rank", { n: ordered().indexOf(row) + 1, all: narrowed().count })}</dd>`}
      ${item?.width ? html`<dt>${say("file")}</dt><dd>${item.width} × ${item.height}${item.file ? ` · ${item.file}` : ""}</dd>` : null}
      ${others.map((column) => html`<${Value} key=${column.name} column=${column} row=${row} />`)}
    </dl>
    ${item?.captions?.length ? html`<${Captions} item=${item} row=${row} />` : null}
    <${Nearest} row=${row} />
    <${History} item=${item} row=${row} />`;
}

/** @param {{item: any, row: number}} props */
function Large({ item, row }) {
  const picture = html`<${Picture} row=${row} alt=${item?.captions?.[0]?.text} />`;
  return html`<div class="full">
    ${item && !isMissing(item) ? html`<button class="look" aria-label=${say("openPicture")} title=${`${say("openPicture")} (Enter)`} onClick=${() => update({ focus: row, panel: "picture" })}>${picture}</button>` : picture}
    <${Frames} item=${item} named=${true} fit="contain" picked=${state.object} onPick=${(/** @type {number} */ box) => act.findSimilar(row, box)} />
  </div>`;
}

/** @param {{column: import("../table.js").Column, row: number}} props */
function Value({ column, row }) {
  if (column.kind === "number" || column.kind === "date") {
    const value = column.data[row];
    if (Number.isNaN(value)) return null;
    return html`<dt>${title(column)}</dt><dd>${numberText(column, value)} ${unit(column)}</dd>`;
  }
  const values = [...data.table.valuesOf(column, row)];
  if (!values.length) return null;
  return html`<dt>${title(column)}</dt><dd>${values.map((value) => valueName(column, value)).join(", ")}</dd>`;
}

/** @param {{item: any, row: number}} props */
function Captions({ item, row }) {
  const proposals = proposalsOf().get(row) ?? [];
  const range = data.overview.caption_range;
  const scale = range ? range[1] - range[0] || 1 : 1;
  return html`<h2>${say("captions")} <small>${say("captionScale")}</small></h2>
    <ul class="captions">
      ${item.captions.map((/** @type {any} */ caption, /** @type {number} */ at) => {
        const proposal = proposals.find((each) => each.annotation === caption.annotation && each.action === "drop");
        const share = range && caption.score !== null ? (caption.score - range[0]) / scale : null;
        const limit = range && proposal?.threshold !== undefined ? (proposal.threshold - range[0]) / scale : null;
        return html`<li key=${at}><span>${caption.text} ${proposal ? html`<em class="proposed">◌ ${spoken(proposal.reason)}</em>` : null}</span>
          ${share === null ? null : html`<svg viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label=${score(caption.score)}>
            <rect class="track" width="100" height="4" /><rect class=${proposal ? "weak" : "plain"} width=${100 * Math.max(0, Math.min(1, share))} height="4" />
            ${limit === null || limit < 0 || limit > 1 ? null : html`<rect class="limit" x=${100 * limit - 0.4} width="0.8" height="4" />`}</svg><span class="count">${score(caption.score)}</span>`}
        </li>`;
      })}
    </ul>`;
}

/** @param {{row: number}} props */
function Nearest({ row }) {
  const found = nearestTo(row);
  if (!found.length) return null;
  need(found.map((each) => each.row));
  return html`<h2>${say("nearest")} <small>${say("similarity")}</small></h2>
    <ul class="near">
      ${found.map((each) => html`<li key=${each.row}><button title=${idOf(each.row)} onClick=${() => update({ focus: each.row, object: -1 })}>
        <${Thumbnail} row=${each.row} named=${true} /><span class="score">${each.score.toFixed(2)}</span></button></li>`)}
    </ul>`;
}

/** @type {Map<number, {row: number, score: number}[]>} */
const nearest = new Map();

/** The rows most similar to one; loaded once. @param {number} row */
function nearestTo(row) {
  const found = nearest.get(row);
  if (found) return found;
  nearest.set(row, []);
  api
    .askJson(`neighbours?version=${api.version()}&row=${row}&k=${NEIGHBOURS}`)
    .then((answer) => (nearest.set(row, answer), update({})))
    .catch(sayWrong);
  return [];
}

/** @param {{item: any, row: number}} props */
function History({ item, row }) {
  const proposed = (proposalsOf().get(row) ?? []).filter((each) => each.reason || each.action !== "keep");
  const chosen = state.choices.filter((choice) => choice.row === row);
  const lines = [
    ...proposed.map((each) => ({ sign: "◌", kind: "proposed", who: each.tool, what: [spoken(each.reason), each.detail].filter(Boolean).join(": "), number: each.score })),
    ...chosen.map((each) => ({ sign: each.action === "drop" ? "✕" : "✓", kind: each.action === "drop" ? "dropped" : "kept", who: say("you"), what: `${isSaid(each.action) ? say(each.action) : each.action}${each.tag ? ` ${each.tag}` : ""} · ${time(each.at)}`, number: undefined })),
  ];
  return html`<h2>${say("history")}</h2>
    ${lines.length ? html`<ol class="history">${lines.map((line, at) => html`<li key=${at}><span class=${line.kind} aria-hidden="true">${line.sign}</span> <b>${line.who}</b> ${line.what}${line.number === undefined ? "" : ` (${score(line.number)})`}</li>`)}</ol>` : html`<p class="empty">${say("noHistory")}</p>`}`;
}

/** The most frequent values of the selected rows in each category. */
function Common() {
  const rows = state.selected;
  const mask = useMemo(() => {
    const found = new Uint8Array(data.table.count);
    for (const row of rows) found[row] = 1;
    return found;
  }, [rows]);
  const columns = [...data.table.columns.values()].filter((column) => isCategory(column));
  const shown = [...rows].slice(0, 9);
  need(shown);
  return html`<h2>${say("selected", { n: rows.size })}</h2>
    <ul class="near">${shown.map((row) => html`<li key=${row}><button title=${idOf(row)} onClick=${() => act.select(new Set(), row)}><${Thumbnail} row=${row} named=${true} /></button></li>`)}</ul>
    <h2>${say("common")}</h2>
    ${columns.map((column) => {
      const counts = countValues(data.table, column, mask);
      const order = [...counts.keys()].filter((value) => counts[value]).sort((a, b) => counts[b] - counts[a]).slice(0, 5);
      if (!order.length) return null;
      return html`<h3>${title(column)}</h3><ul class="shares">${order.map((value) => html`<li key=${value} class=${counts[value] === rows.size ? "all" : ""}>${valueName(column, value)} <span class="count">${count(counts[value])}</span></li>`)}</ul>`;
    })}`;
}
