// @ts-check
// The room of duplicates: the list of groups, and the evidence about one.

import { html, useEffect, useRef, useState } from "../../vendor/htm-preact-3.1.1.js";
import * as act from "../actions.js";
import * as api from "../api.js";
import { known, need } from "../items.js";
import { choiceOf, data, derived, groups, idOf, isJudged, state, subsetOf, toggled, update } from "../state.js";
import { count, say, score, spoken } from "../words.js";
import { bringIntoView, useScrolled, withValue } from "./hooks.js";
import { isMissing, Picture, Thumbnail } from "./pictures.js";

/** Differences between pixels are multiplied by this to be seen. */
const AMPLIFIED = 8;
const BLINK = 600;
/** Height of an entry of the list in CSS pixels, and entries drawn beyond those in view. */
const [TALL, AHEAD] = [58, 6];
const WAYS = /** @type {const} */ (["sideBySide", "slider", "blink", "heat"]);

/** Kinds of groups that can be shown alone. */
const KINDS = {
  all: () => true,
  leaks: (/** @type {Group} */ group) => subsetsOf(copiesIn(group)).length > 1,
  sameBytes: (/** @type {Group} */ group) => group.members.some((member) => member.reason.includes("exact")),
  otherLabel: (/** @type {Group} */ group) => new Set(copiesIn(group).map((row) => classesOf(row).join())).size > 1,
};

/** @typedef {ReturnType<typeof groups>[number]} Group @typedef {import("../state.js").Proposal} Proposal */

/** @param {number} row */
function classesOf(row) {
  const column = data.table.column("class");
  return column ? [...data.table.valuesOf(column, row)].map((value) => column.values[value]) : [];
}

/** Each row of a group once: the proposed keeper first, where there is one. @param {Group} group */
function rowsIn({ keeper, members }) {
  return [...new Set([keeper, ...members.map((member) => member.row)])].filter((row) => row >= 0);
}

/** The rows of a group, the one to keep first: the one that a person picked, or else the one proposed. @param {Group} group */
function rowsOf(group) {
  const rows = rowsIn(group);
  const chosen = choiceOf();
  const picked = rows.filter((row) => chosen.get(row)?.action === "keep");
  const keeper = picked.length === 1 ? picked[0] : rows[0];
  return [keeper, ...rows.filter((row) => row !== keeper)];
}

/** Whether a picture is a copy of the one to keep, and not merely similar to it. @param {Proposal} member */
function isCopy({ reason }) {
  return reason !== "semantic_duplicate";
}

/** The rows of a group that are copies of one another. @param {Group} group */
function copiesIn(group) {
  const similar = new Set(group.members.filter((member) => !isCopy(member)).map((member) => member.row));
  return rowsIn(group).filter((row) => !similar.has(row));
}

/** @param {number[]} rows */
function subsetsOf(rows) {
  return [...new Set(rows.map(subsetOf))];
}

let kind = /** @type {keyof typeof KINDS} */ ("all");

/** The groups of each kind. @type {() => Record<keyof typeof KINDS, Group[]>} */
const groupsByKind = derived(
  () => [groups()],
  () => /** @type {any} */ (Object.fromEntries(Object.entries(KINDS).map(([name, has]) => [name, groups().filter(has)]))),
);

function shownGroups() {
  return groupsByKind()[kind];
}

function currentGroup() {
  const found = shownGroups();
  return found[Math.min(state.current, found.length - 1)];
}

/** The actions of this room's keys. */
export const duplicates = {
  accept() {
    const group = currentGroup();
    if (!group) return;
    const [keeper, ...others] = rowsOf(group);
    act.judge([{ row: keeper, action: "keep" }, ...others.map((row) => ({ row, action: "drop" }))], duplicates.move);
  },
  refuse() {
    const group = currentGroup();
    if (group) act.judge(rowsOf(group).map((row) => ({ row, action: "keep" })), duplicates.move);
  },
  skip() {
    duplicates.move(1);
  },
  /** @param {number} by */
  move(by) {
    update({ current: Math.max(0, Math.min(shownGroups().length - 1, state.current + by)) });
  },
};

export function Duplicates() {
  const all = groups();
  if (!all.length)
    return html`<main class="room single"><div class="empty"><p>${say(state.job ? "looking" : "noGroups")}</p>${state.job ? null : html`<button class="primary" onClick=${() => act.runTool("clip_dedup", {}, null)}>${say("findDuplicates")}</button>`}</div></main>`;
  const found = shownGroups();
  const group = currentGroup();
  const judged = all.filter(isJudged).length;
  return html`<main class="room pairs">
    <aside class="groups" aria-label=${say("copies", { n: all.length })}>
      <p class="head"><b>${found.length === 1 ? say("copies1") : say("copies", { n: found.length })}</b><small>${say("reviewed", { n: judged })}</small></p>
      <progress max=${all.length} value=${judged} aria-label=${say("reviewed", { n: judged })}></progress>
      <div class="chips">${Object.entries(groupsByKind()).map(([name, some]) => html`<button key=${name} class="chip" aria-pressed=${kind === name} disabled=${!some.length}
        onClick=${() => { kind = /** @type {any} */ (name); update({ current: 0 }); }}>${say(name)} ${count(some.length)}</button>`)}</div>
      <${List} found=${found} />
    </aside>
    ${group ? html`<${Evidence} key=${group.group} group=${group} place=${found.indexOf(group)} all=${found.length} />` : null}
  </main>`;
}

/** The list of groups; only those in view are drawn. @param {{found: Group[]}} props */
function List({ found }) {
  const { scroller, view } = useScrolled();
  const first = Math.max(0, Math.floor(view.top / TALL) - AHEAD);
  const shown = found.slice(first, Math.ceil((view.top + view.height) / TALL) + AHEAD);
  useEffect(() => need(shown.flatMap((group) => rowsOf(group).slice(0, 2))));
  useEffect(() => {
    if (scroller.current) bringIntoView(scroller.current, state.current * TALL, (state.current + 1) * TALL);
  }, [state.current, view.height]);
  /** @param {HTMLElement | null} node */
  const put = (node) => {
    if (!node) return;
    node.style.paddingTop = `${first * TALL}px`;
    node.style.height = `${found.length * TALL}px`;
  };
  return html`<div class="scroll" ref=${scroller}><ol ref=${put}>${shown.map((group, at) => html`<${Entry} key=${group.group} group=${group} place=${first + at} all=${found.length} />`)}</ol></div>`;
}

/** @param {{group: Group, place: number, all: number}} props */
function Entry({ group, place, all }) {
  const rows = rowsOf(group);
  const subsets = subsetsOf(rows);
  const chosen = choiceOf();
  const judged = isJudged(group);
  const refused = judged && group.members.every((member) => chosen.get(member.row)?.action !== "drop");
  return html`<li aria-posinset=${place + 1} aria-setsize=${all}><button class="entry" aria-current=${place === state.current ? "true" : undefined} onClick=${() => update({ current: place })}>
    ${rows.slice(0, 2).map((row) => html`<${Thumbnail} key=${row} row=${row} />`)}
    <span class="said"><b>${reasonOf(group)}</b><small>${subsets.length > 1 ? subsets.join(" → ") : say("pictures", { n: rows.length })}</small></span>
    <span class=${judged ? "kept" : "proposed"} aria-hidden="true">${judged ? (refused ? "≠" : "✓") : "◌"}</span>
  </button></li>`;
}

/** @param {Group} group */
function reasonOf(group) {
  const member = group.members.find((each) => each.action === "drop");
  return spoken(member?.reason ?? "");
}

/** @param {{group: Group, place: number, all: number}} props */
function Evidence({ group, place, all }) {
  const [way, setWay] = useState(/** @type {typeof WAYS[number]} */ ("sideBySide"));
  const [apart, setApart] = useState(/** @type {Set<number>} */ (new Set()));
  const rows = rowsOf(group);
  const [shown, setShown] = useState(rows[1]);
  const keeper = rows[0];
  const other = rows.includes(shown) && shown !== keeper ? shown : rows[1];
  need(rows);
  const [one, two] = [known(keeper), known(other)];
  const member = group.members.find((each) => each.row === other) ?? group.members[0];
  const hasSubsets = (data.table.column("subset")?.values.length ?? 0) > 1;
  const isComparable = one && two && !isMissing(one) && !isMissing(two);
  return html`<section class="evidence">
    <header><h2>${reasonOf(group)}${hasSubsets ? `, ${subsetsOf(rows).join(" → ")}` : ""}</h2>
      <span class="ways" role="group">${WAYS.map((name) => html`<button key=${name} aria-pressed=${way === name} disabled=${!isComparable} onClick=${() => setWay(name)}>${say(name)}</button>`)}</span></header>
    ${isComparable && way !== "sideBySide" ? html`<${Comparison} way=${way} one=${one} two=${two} keeper=${keeper} other=${other} />` : html`<${Sides} one=${one} two=${two} keeper=${keeper} other=${other} group=${group} />`}
    ${rows.length > 2 ? html`<${Members} group=${group} shown=${other} show=${setShown} apart=${apart} setApart=${setApart} />` : null}
    <div class="cards">
      <${Why} member=${member} one=${one} two=${two} />
      <${Stake} keeper=${keeper} other=${other} one=${one} two=${two} isCopy=${isCopy(member)} />
    </div>
    <footer class="judge">
      <button class="primary" onClick=${duplicates.accept}>${say("accept")} <kbd>a</kbd></button>
      <button class="plain" onClick=${duplicates.refuse}>${say("notDuplicates")} <kbd>n</kbd></button>
      <button class="plain" onClick=${duplicates.skip}>${say("skip")} <kbd>s</kbd></button>
      <span class="space"></span>
      <small>${say("groupOf", { n: place + 1, all })} · <kbd>j</kbd> ${say("next")} · <kbd>k</kbd> ${say("back")} · <kbd>u</kbd> ${say("undo")}</small>
    </footer>
  </section>`;
}

/** The other members of a group, to show one of them, or to split some off. @param {{group: Group, shown: number, show: (row: number) => void, apart: Set<number>, setApart: (rows: Set<number>) => void}} props */
function Members({ group, shown, show, apart, setApart }) {
  const [, ...others] = rowsOf(group);
  const split = () => {
    const number = 1 + Math.max(...groups().map((each) => each.group));
    const rows = [...apart];
    // A single one is no group: it is kept.
    act.decide(rows.length === 1 ? [{ row: rows[0], action: "keep" }] : rows.map((row) => ({ row, action: "split", group: number })));
    setApart(new Set());
  };
  return html`<div class="members"><ul class="near strip">${others.map((row) => html`<li key=${row}>
      <button aria-pressed=${row === shown} title=${idOf(row)} onClick=${() => show(row)}><${Thumbnail} row=${row} named=${true} /></button>
      <label><input type="checkbox" checked=${apart.has(row)} aria-label=${say("takeOut", { x: idOf(row) })} onChange=${() => setApart(toggled(apart, row))} />${choiceOf().get(row)?.action === "keep" ? html`<span class="kept">✓</span>` : null}</label></li>`)}</ul>
    ${apart.size ? html`<button class="plain" onClick=${split}>${apart.size === 1 ? say("split1") : say("splitN", { n: apart.size })}</button>` : html`<small>${say("splitHint")}</small>`}</div>`;
}

/** Both pictures side by side and, if both can be shown, their difference. @param {{one: any, two: any, keeper: number, other: number, group: Group}} props */
function Sides({ one, two, keeper, other, group }) {
  const instead = () => act.decide([{ row: other, action: "keep" }, ...rowsOf(group).filter((row) => row !== other).map((row) => ({ row, action: "drop" }))]);
  return html`<div class="sides">
    <figure class="stays"><${Picture} row=${keeper} /><figcaption><b>${idOf(keeper)}</b> <em class="kept">✓ ${say("stays")}</em><${Alignment} row=${keeper} /></figcaption></figure>
    <figure><${Picture} row=${other} /><figcaption><b>${idOf(other)}</b> <button class="plain" onClick=${instead}>${say("keepThis")}</button><${Alignment} row=${other} /></figcaption></figure>
    ${one && two ? (isMissing(one) || isMissing(two) ? null : html`<${Difference} one=${one.image_url} two=${two.image_url} />`) : html`<figure><i class="shade"></i></figure>`}
  </div>`;
}

/** Both pictures at one place: by a slider, in turn, or as their difference. @param {{way: string, one: any, two: any, keeper: number, other: number}} props */
function Comparison({ way, one, two, keeper, other }) {
  const [share, setShare] = useState(50);
  const [second, setSecond] = useState(false);
  useEffect(() => {
    if (way !== "blink") return undefined;
    const timer = setInterval(() => setSecond((now) => !now), BLINK);
    return () => clearInterval(timer);
  }, [way]);
  if (way === "slider")
    return html`<div class="overlay"><img src=${one.image_url} alt=${idOf(keeper)} /><img src=${two.image_url} alt=${idOf(other)}
        ref=${(/** @type {HTMLElement | null} */ node) => node && (node.style.clipPath = `inset(0 0 0 ${share}%)`)} />
      <input type="range" min="0" max="100" value=${share} aria-label=${say("slider")} onInput=${withValue((value) => setShare(Number(value)))} /></div>`;
  if (way === "blink")
    return html`<div class="overlay"><img src=${(second ? two : one).image_url} alt=${idOf(second ? other : keeper)} /><p>${idOf(second ? other : keeper)}</p></div>`;
  return html`<div class="sides one"><${Difference} one=${one.image_url} two=${two.image_url} /></div>`;
}

/** @param {{row: number}} props */
function Alignment({ row }) {
  const found = data.table.column("alignment")?.data[row];
  return found === undefined || Number.isNaN(found) ? null : html`<span>${say("alignment")} ${score(found)}</span>`;
}

/** The amplified difference of two pictures, with its mean, its maximum and the place of that. @param {{one: string, two: string}} props */
function Difference({ one, two }) {
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const [found, setFound] = useState(/** @type {ReturnType<typeof drawDifference> | null} */ (null));
  const [wrong, setWrong] = useState("");
  useEffect(() => {
    let gone = false;
    setWrong("");
    Promise.all([one, two].map(loaded)).then(([first, second]) => {
      if (!gone && canvas.current) setFound(drawDifference(canvas.current, first, second));
    }).catch((error) => gone || setWrong(error.message));
    return () => void (gone = true);
  }, [one, two]);
  return html`<figure><canvas ref=${canvas} role="img" aria-label=${say("whatDiffers")}></canvas><figcaption><b>${say("whatDiffers")}</b>
    <span>${found ? `${say("amplified", { x: found.width, y: found.height, n: AMPLIFIED })}` : ""}</span></figcaption>
    ${wrong ? html`<small class="warn">${wrong}</small>` : null}
    ${found && !wrong ? html`<small>${say("meanDifference")} ${found.mean.toFixed(1)} / 255 · ${say("largestDifference")} ${found.most} (${found.x}, ${found.y})</small>` : null}</figure>`;
}

/** @param {string} url @returns {Promise<HTMLImageElement>} */
function loaded(url) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(say("pictureMissing")));
    image.src = url;
  });
}

/** @param {HTMLCanvasElement} canvas @param {HTMLImageElement} one @param {HTMLImageElement} two */
function drawDifference(canvas, one, two) {
  const width = Math.min(one.naturalWidth, two.naturalWidth, 1024);
  const height = Math.max(1, Math.round((width * one.naturalHeight) / one.naturalWidth));
  Object.assign(canvas, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  const [first, second] = [one, two].map((image) => {
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  });
  let [total, most, place] = [0, 0, 0];
  for (let at = 0; at < first.data.length; at += 4) {
    let gap = 0;
    for (let part = 0; part < 3; part++) gap = Math.max(gap, Math.abs(first.data[at + part] - second.data[at + part]));
    total += gap;
    if (gap > most) [most, place] = [gap, at / 4];
    const strong = Math.min(255, gap * AMPLIFIED);
    [first.data[at], first.data[at + 1], first.data[at + 2]] = [strong, Math.max(0, strong - 90), Math.max(20, 70 - strong)];
  }
  context.putImageData(first, 0, 0);
  return { width, height, mean: total / (width * height), most, x: place % width, y: Math.floor(place / width) };
}

/** @param {{member: any, one: any, two: any}} props */
function Why({ member, one, two }) {
  return html`<section class="card"><h3>${say("why")}</h3><dl>
    <dt>${say("explanation")}</dt><dd>${member.detail || spoken(member.reason)}</dd>
    ${member.score === undefined ? null : html`<dt>${say("score")}</dt><dd>${score(member.score)}${member.threshold === undefined ? "" : ` · ${say("threshold", { n: score(member.threshold) })}`}</dd>`}
    ${one?.width && two?.width ? html`<dt>${say("resolution")}</dt><dd>${one.width} × ${one.height} · ${two.width} × ${two.height}</dd>` : null}
  </dl></section>`;
}

/** What dropping one picture would lose or mend: a copy in two subsets is a leak, one with two classes a conflict. @param {{keeper: number, other: number, one: any, two: any, isCopy: boolean}} props */
function Stake({ keeper, other, one, two, isCopy }) {
  const [mine, its] = [classesOf(keeper), classesOf(other)].map((names) => names.join(", "));
  const [here, there] = [subsetOf(keeper), subsetOf(other)];
  const texts = [one, two].map((item) => (item?.captions ?? []).map((/** @type {any} */ caption) => caption.text));
  const only = texts[1].filter((/** @type {string} */ text) => !texts[0].includes(text));
  return html`<section class="card"><h3>${say("stake")}</h3><dl>
    <dt>${say("labels")}</dt><dd>${mine === its ? (mine ? say("theSame", { x: mine }) : say("none")) : html`<span class=${isCopy ? "warn" : ""}>${say("differ", { x: mine || say("none"), y: its || say("none") })}</span>`}</dd>
    <dt>${say("subsets")}</dt><dd>${here === there ? here : isCopy ? html`<span class="warn">${say("leak", { x: here, y: there })}</span>` : `${here} → ${there}`}</dd>
    <dt>${say("captions")}</dt><dd>${texts[0].length} · ${texts[1].length}${only.length ? html`<br />+ ${only.join(" · ")}` : ""}</dd>
  </dl></section>`;
}
