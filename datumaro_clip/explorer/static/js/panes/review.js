// @ts-check
// The room of review: proposals judged one by one, or all of a kind at once.

import { html } from "../../vendor/htm-preact-3.1.1.js";
import * as act from "../actions.js";
import * as api from "../api.js";
import { known, need } from "../items.js";
import { choiceAbout, derived, idOf, reviewable, state, subsetOf, update } from "../state.js";
import { count, say, score, spoken } from "../words.js";
import { Frames } from "./frames.js";
import { Picture, Thumbnail } from "./pictures.js";

/** Proposals in the strip before and after the one that is shown. */
const [BEFORE, AFTER] = [4, 12];

/** The tool and reason whose proposals are shown; empty for all. */
let kind = "";

/** The proposals by tool and reason. */
const kinds = derived(
  () => [reviewable()],
  () => Map.groupBy(reviewable(), (proposal) => `${proposal.tool}: ${proposal.reason}`),
);

function shownProposals() {
  return kinds().get(kind) ?? reviewable();
}

function current() {
  const found = shownProposals();
  return found[Math.min(state.current, found.length - 1)];
}

/** The choice that accepts or refuses a proposal. @param {import("../state.js").Proposal} proposal @param {boolean} accepted */
function verdict({ row, annotation, action, tool }, accepted) {
  return { row, tool, action: !accepted ? "keep" : action === "drop" ? "drop" : "accept", ...(annotation === undefined ? {} : { annotation }) };
}

/** The style of a choice: only dropping is red. @param {import("../state.js").Choice} choice */
function toneOf({ action }) {
  return action === "drop" ? "dropped" : "kept";
}

/** @param {boolean} accepted */
function judge(accepted) {
  const proposal = current();
  if (proposal) act.judge([verdict(proposal, accepted)], review.move);
}

/** The actions of this room's keys. */
export const review = {
  accept: () => judge(true),
  refuse: () => judge(false),
  skip: () => review.move(1),
  /** @param {number} by */
  move(by) {
    update({ current: Math.max(0, Math.min(shownProposals().length - 1, state.current + by)) });
  },
};

export function Review() {
  const all = reviewable();
  if (!all.length)
    return html`<main class="room single"><div class="empty"><p>${say("noProposals")}</p><button class="primary" onClick=${() => update({ panel: "tools" })}>${say("runTool")}</button></div></main>`;
  const found = shownProposals();
  const place = Math.min(state.current, found.length - 1);
  const proposal = found[place];
  const first = Math.max(0, place - BEFORE);
  const near = found.slice(first, place + AFTER);
  need(near.map((each) => each.row));
  const waiting = found.filter((each) => !choiceAbout(each));
  const judged = found.length - waiting.length;
  return html`<main class="room reviewing">
    <header><b>${say("proposalOf", { n: place + 1, all: found.length })}</b><progress max=${found.length} value=${judged} aria-label=${say("reviewed", { n: judged })}></progress>
      <small>${waiting.length ? say("reviewed", { n: judged }) : say("allReviewed")}</small></header>
    <${Kinds} />
    <${Card} key=${place} proposal=${proposal} />
    <footer class="judge">
      <button class="primary" onClick=${review.accept}>${say("accept")} <kbd>a</kbd></button>
      <button class="plain" onClick=${review.refuse}>${say("refuse")} <kbd>n</kbd></button>
      <button class="plain" onClick=${review.skip}>${say("skip")} <kbd>s</kbd></button>
      ${kind && waiting.length > 1 ? html`<button class="plain" onClick=${() => act.decide(waiting.map((each) => verdict(each, true)))}>${say("acceptAll", { n: waiting.length })}</button>` : null}
      <span class="space"></span><small><kbd>j</kbd> ${say("next")} · <kbd>k</kbd> ${say("back")} · <kbd>u</kbd> ${say("undo")}</small>
    </footer>
    <ul class="near strip">${near.map((each, step) => {
      const at = first + step;
      const choice = choiceAbout(each);
      return html`<li key=${at}><button aria-pressed=${at === place} title=${idOf(each.row)} onClick=${() => update({ current: at })}>
        <${Thumbnail} row=${each.row} named=${true} />${choice ? html`<span class=${`sign ${toneOf(choice)}`}>${choice.action === "keep" ? "≠" : "✓"}</span>` : null}</button></li>`;
    })}</ul>
  </main>`;
}

/** Buttons that show all proposals, or those of one tool for one reason. */
function Kinds() {
  if (!kinds().has(kind)) kind = "";
  /** @param {string} name */
  const show = (name) => {
    kind = name;
    update({ current: 0 });
  };
  return html`<div class="chips"><button class="chip" aria-pressed=${!kind} onClick=${() => show("")}>${say("all")} ${count(reviewable().length)}</button>
    ${[...kinds()].map(([name, [one, ...others]]) => html`<button key=${name} class="chip" aria-pressed=${kind === name} onClick=${() => show(name)}>${one.tool}: ${spoken(one.reason)} ${count(1 + others.length)}</button>`)}</div>`;
}

/** @param {{proposal: import("../state.js").Proposal}} props */
function Card({ proposal }) {
  const item = known(proposal.row);
  const [id, subset] = [idOf(proposal.row), subsetOf(proposal.row)];
  const choice = choiceAbout(proposal);
  const told = proposal.annotation === undefined ? "" : proposal.text;
  return html`<article class="proposal">
    <div class="full"><${Picture} row=${proposal.row} />
      <${Frames} item=${item} named=${true} fit="contain" fineness=${Math.min(160, innerWidth / 4)} /></div>
    <section class="card">
      <h2>${spoken(proposal.reason)}${proposal.label ? `: ${proposal.label}` : ""}</h2>
      <p><em class="proposed">◌ ${proposal.tool} · ${proposal.action}</em> ${choice ? html`<em class=${toneOf(choice)}>${choice.action === "keep" ? `≠ ${say("refused")}` : `✓ ${say("accepted")}`}</em>` : null}</p>
      ${told ? html`<blockquote>${told}</blockquote>` : null}
      <dl><dt>${say("id")}</dt><dd>${id} · ${subset}</dd>
        ${proposal.score === undefined ? null : html`<dt>${say("score")}</dt><dd>${score(proposal.score)}${proposal.threshold === undefined ? "" : ` · ${say("threshold", { n: score(proposal.threshold) })}`}</dd>`}
        ${proposal.detail ? html`<dt>${say("explanation")}</dt><dd>${proposal.detail}</dd>` : null}
        ${(item?.captions ?? []).map((/** @type {any} */ caption, /** @type {number} */ at) => html`<dt key=${`t${at}`}>${at ? "" : say("captions")}</dt><dd key=${`d${at}`}>${caption.text}${caption.score === null ? null : html` <span class="count">${score(caption.score)}</span>`}</dd>`)}
        ${item?.labels?.length ? html`<dt>${say("labels")}</dt><dd>${item.labels.join(", ")}</dd>` : null}</dl>
    </section>
  </article>`;
}
