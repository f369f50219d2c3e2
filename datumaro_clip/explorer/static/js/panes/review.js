// @ts-check
// Review: proposals one by one, by keyboard: accept, refuse, skip, undo.

import { html } from "../../vendor/htm-preact-3.1.1.js";
import * as act from "../actions.js";
import * as api from "../api.js";
import { choiceOf, idOf, reviewable, state, subsetOf, update } from "../state.js";
import { say, score } from "../words.js";
import { Frames } from "./frames.js";

/** @param {import("../state.js").Proposal} proposal */
function choiceAbout(proposal) {
  if (proposal.annotation === undefined) return choiceOf().get(proposal.row);
  return state.choices.find((choice) => choice.row === proposal.row && choice.annotation === proposal.annotation);
}

function current() {
  const found = reviewable();
  return found[Math.min(state.current, found.length - 1)];
}

/** @param {string} action */
function judge(action) {
  const proposal = current();
  if (!proposal) return;
  const about = proposal.annotation === undefined ? {} : { annotation: proposal.annotation };
  act.judge([{ row: proposal.row, action, ...about }], review.move);
}

/** What the keys do in this room. */
export const review = {
  accept: () => judge(current()?.action === "drop" ? "drop" : "accept"),
  refuse: () => judge("keep"),
  skip: () => review.move(1),
  /** @param {number} by */
  move(by) {
    update({ current: Math.max(0, Math.min(reviewable().length - 1, state.current + by)) });
  },
};

export function Review() {
  const found = reviewable();
  if (!found.length)
    return html`<main class="room single"><div class="empty"><p>${say("noProposals")}</p><button class="primary" onClick=${() => update({ panel: "tools" })}>${say("runTool")}</button></div></main>`;
  const place = Math.min(state.current, found.length - 1);
  const proposal = found[place];
  api.need(found.slice(Math.max(0, place - 4), place + 12).map((each) => each.row));
  const judged = found.filter(choiceAbout).length;
  return html`<main class="room reviewing">
    <header><b>${say("proposalOf", { n: place + 1, all: found.length })}</b><progress max=${found.length} value=${judged} aria-label=${say("reviewed", { n: judged })}></progress><small>${say("reviewed", { n: judged })}</small></header>
    <${Card} key=${place} proposal=${proposal} />
    <footer class="judge">
      <button class="primary" onClick=${review.accept}>${say("accept")} <kbd>a</kbd></button>
      <button class="plain" onClick=${review.refuse}>${say("refuse")} <kbd>n</kbd></button>
      <button class="plain" onClick=${review.skip}>${say("skip")} <kbd>s</kbd></button>
      <span class="space"></span><small><kbd>j</kbd> ${say("next")} · <kbd>k</kbd> ${say("back")} · <kbd>u</kbd> ${say("undo")}</small>
    </footer>
    <ul class="near strip">${found.slice(Math.max(0, place - 4), place + 12).map((each) => {
      const at = found.indexOf(each);
      const choice = choiceAbout(each);
      return html`<li key=${at}><button aria-pressed=${at === place} title=${idOf(each.row)} onClick=${() => update({ current: at })}>
        <img src=${api.known(each.row)?.thumbnail_url ?? ""} alt=${idOf(each.row)} />${choice ? html`<span class=${`sign ${choice.action === "keep" ? "kept" : "dropped"}`}>${choice.action === "keep" ? "✓" : "✕"}</span>` : null}</button></li>`;
    })}</ul>
  </main>`;
}

/** @param {{proposal: import("../state.js").Proposal}} props */
function Card({ proposal }) {
  const item = api.known(proposal.row);
  const [id, subset] = [idOf(proposal.row), subsetOf(proposal.row)];
  const choice = choiceAbout(proposal);
  const told = proposal.annotation === undefined ? "" : proposal.text;
  return html`<article class="proposal">
    <div class="full">${item?.image_url ? html`<img src=${item.image_url} alt=${id} />` : html`<i class="shade"></i>`}<${Frames} item=${item} named=${true} fit="contain" /></div>
    <section class="card">
      <h2>${proposal.reason.replaceAll("_", " ")}${proposal.label ? `: ${proposal.label}` : ""}</h2>
      <p><em class="proposed">◌ ${proposal.tool} · ${proposal.action}</em> ${choice ? html`<em class=${choice.action === "keep" ? "kept" : "dropped"}>${choice.action === "keep" ? "✓" : "✕"} ${say("you")}</em>` : null}</p>
      ${told ? html`<blockquote>${told}</blockquote>` : null}
      <dl><dt>${say("id")}</dt><dd>${id} · ${subset}</dd>
        ${proposal.score === undefined ? null : html`<dt>${say("score")}</dt><dd>${score(proposal.score)}${proposal.threshold === undefined ? "" : ` · ${say("threshold", { n: score(proposal.threshold) })}`}</dd>`}
        ${proposal.detail ? html`<dt>${say("explanation")}</dt><dd>${proposal.detail}</dd>` : null}
        ${(item?.captions ?? []).map((/** @type {any} */ caption, /** @type {number} */ at) => html`<dt key=${`t${at}`}>${at ? "" : say("captions")}</dt><dd key=${`d${at}`}>${caption.text} <span class="count">${score(caption.score)}</span></dd>`)}
        ${item?.labels?.length ? html`<dt>${say("labels")}</dt><dd>${item.labels.join(", ")}</dd>` : null}</dl>
    </section>
  </article>`;
}
