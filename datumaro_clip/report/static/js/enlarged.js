// @ts-check
// One card in full; a copy beside what it is a copy of.

import { html, useEffect, useRef, useState } from "../../../explorer/static/vendor/htm-preact-3.1.1.js";
import { badgeOf, Boxes, score } from "./grid.js";
import { cards, data, fateOf, groupOf, keepInstead, partnerOf, pictureAt, state, stays, update } from "./state.js";

export function Enlarged() {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const isOpen = state.enlarged >= 0;
  useEffect(() => {
    if (isOpen) dialog.current?.showModal();
  }, [isOpen]);
  if (!isOpen) return null;
  const row = state.enlarged;
  const { record, labels = [], captions = [], failure } = cards[row];
  const group = groupOf(row);
  return html`<dialog ref=${dialog} aria-labelledby="enlargedTitle" onClose=${() => update({ enlarged: -1 })} onClick=${(/** @type {Event} */ event) => event.target === dialog.current && dialog.current?.close()}>
    <div class="sheet">
      <header><h2 id="enlargedTitle">${record.id}</h2><span>${record.subset}</span>
        ${badgeOf(record) ? html`<span class=${`badge ${fateOf(record).kind}`}>${badgeOf(record)}</span>` : null}
        <span class="space"></span><button type="button" class="plain" aria-label="Close" title="Esc" onClick=${() => dialog.current?.close()}>×</button></header>
      <${Views} key=${row} row=${row} />
      ${group.length > 2 ? html`<ul class="members" aria-label="The group">${group.map((other) => html`<li key=${other}><button type="button" class=${stays(other) ? "" : "goes"} aria-pressed=${other === row} aria-label=${`Show ${cards[other].record.id}`} onClick=${() => update({ enlarged: other, focus: other })}><img src=${pictureAt(cards[other].picture)} alt="" /></button></li>`)}</ul>` : null}
      <dl>
        ${record.detail ? html`<dt>Why</dt><dd>${record.detail}</dd>` : null}
        ${record.score === undefined ? null : html`<dt>Score</dt><dd>${score(record.score)}${record.threshold === undefined ? "" : `, threshold ${score(record.threshold)}`}</dd>`}
        ${record.label ? html`<dt>Proposed label</dt><dd>${record.label}</dd>` : null}
        ${labels.length ? html`<dt>Labels</dt><dd>${labels.join(", ")}</dd>` : null}
        ${record.text ? html`<dt>It says</dt><dd><q>${record.text}</q></dd>` : null}
        ${captions.length ? html`<dt>Captions</dt><dd>${captions.map((text, at) => html`<p key=${at}>${text}</p>`)}</dd>` : null}
        ${failure ? html`<dt>Picture</dt><dd>${failure}</dd>` : null}
      </dl>
      ${data.judged ? html`<footer><${Boxes} row=${row} />
        ${group.length > 1 && !stays(row) ? html`<button type="button" class="plain" onClick=${() => keepInstead(row)}>Keep this instead</button>` : null}</footer>` : null}
    </div>
  </dialog>`;
}

/** Ways to look at a card: first where it differs from its look-alike, then beside its partner. @param {{row: number}} props */
function Views({ row }) {
  const partner = partnerOf(row);
  const ways = [...(cards[row].places?.length === 2 ? ["where they differ"] : []), ...(partner < 0 ? ["picture"] : ["side by side", "slider"])];
  const [way, setWay] = useState(ways[0]);
  return html`${ways.length < 2 ? null : html`<div class="ways" role="group" aria-label="How to compare">${ways.map((name) => html`<button key=${name} type="button" aria-pressed=${way === name} onClick=${() => setWay(name)}>${name}</button>`)}</div>`}
    ${way === "picture" ? html`<div class="sides one"><${View} row=${row} /></div>` : html`<${VIEWS[way]} row=${row} partner=${partner} />`}`;
}

/** What stays is on the left. @param {number} row @param {number} partner */
function inOrder(row, partner) {
  return cards[row].record.representative || cards[row].record.resembles ? [partner, row] : [row, partner];
}

/** @type {Record<string, (props: {row: number, partner: number}) => unknown>} */
const VIEWS = {
  "where they differ": ({ row }) => {
    const { record, places = [] } = cards[row];
    return html`<div class="sides places">${[record.resembles, record].map((shown, at) => html`<figure key=${at}><img src=${pictureAt(places[1 - at])} alt=${`The place in ${shown?.id}, enlarged`} /><figcaption><b>${shown?.id}</b></figcaption></figure>`)}</div>`;
  },
  "side by side": ({ row, partner }) => html`<div class="sides">${inOrder(row, partner).map((shown) => html`<${View} key=${shown} row=${shown} />`)}</div>`,
  slider: ({ row, partner }) => {
    const [share, setShare] = useState(50);
    const [left, right] = inOrder(row, partner).map((shown) => cards[shown]);
    return html`<div class="overlay"><img src=${pictureAt(left.picture)} alt=${left.record.id} /><img src=${pictureAt(right.picture)} alt=${right.record.id} style=${{ clipPath: `inset(0 0 0 ${share}%)` }} />
        <i style=${{ left: `${share}%` }}></i><input type="range" min="0" max="100" value=${share} aria-label="Where the pictures meet" onInput=${(/** @type {Event} */ event) => setShare(Number(/** @type {HTMLInputElement} */ (event.target).value))} />
        <p><span>${left.record.id}</span><span>${right.record.id}</span></p></div>`;
  },
};

/** @param {{row: number}} props */
function View({ row }) {
  const { record, picture } = cards[row];
  return html`<figure>${picture === undefined ? html`<span class="none">no picture</span>` : html`<img src=${pictureAt(picture)} alt=${record.id} />`}
    <figcaption><b>${record.id}</b> ${stays(row) ? html`<em class="kept">stays</em>` : html`<em class=${data.selects ? "left" : "dropped"}>${data.selects ? "not chosen" : "goes"}</em>`}</figcaption></figure>`;
}
