// @ts-check
// Dialogs: keys, tags, tools with their options, and the export of decisions and datasets.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../../vendor/htm-preact-3.1.1.js";
import * as act from "../actions.js";
import * as api from "../api.js";
import { bindings } from "../keys.js";
import { data, ordered, remainingRows, sayWrong, state, update } from "../state.js";
import { rowName } from "../url.js";
import { say } from "../words.js";
import { withValue } from "./hooks.js";
import { Viewer } from "./viewer.js";

export function Dialogs() {
  const shown = { help: Help, tag: Tag, tools: Tools, export: Export, picture: Viewer }[state.panel];
  return shown ? html`<${Dialog} key=${state.panel} body=${shown} />` : null;
}

/** @param {{body: any}} props */
function Dialog({ body }) {
  const node = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useLayoutEffect(() => node.current?.showModal(), []);
  return html`<dialog ref=${node} class=${state.panel} aria-labelledby="dialogTitle" onClose=${() => update({ panel: "" })} onClick=${(/** @type {Event} */ event) => event.target === node.current && update({ panel: "" })}>
    <button class="icon close" aria-label=${say("close")} onClick=${() => update({ panel: "" })}>×</button><${body} />
    ${state.notice?.kind === "wrong" ? html`<p class="warn" role="alert">${state.notice.text}</p>` : null}</dialog>`;
}

function Help() {
  return html`<h1 id="dialogTitle">${say("helpTitle")}</h1><dl class="keyList">${bindings().map((binding, at) => html`<dt key=${`k${at}`}><kbd>${binding.keys === " " ? "space" : binding.keys}</kbd></dt><dd key=${`s${at}`}>${say(binding.say)}</dd>`)}</dl>`;
}

function Tag() {
  const rows = act.target();
  const [name, setName] = useState("");
  const known = data.table.column("tags")?.values ?? [];
  /** @param {string} action */
  const tagged = (action) => act.decideRows(action, rows, name.trim()).then((done) => done && update({ panel: "" }));
  return html`<h1 id="dialogTitle">${say("tagN", { n: rows.length })}</h1>
    <form onSubmit=${(/** @type {Event} */ event) => (event.preventDefault(), name.trim() && tagged("tag"))}>
      <label>${say("tagName")} <input list="knownTags" value=${name} onInput=${withValue(setName)} autofocus /></label>
      <datalist id="knownTags">${known.map((each) => html`<option key=${each} value=${each} />`)}</datalist>
      <p class="row"><button class="primary" disabled=${!name.trim()}>${say("tagN", { n: rows.length })}</button>
        <button type="button" class="plain" disabled=${!name.trim()} onClick=${() => tagged("untag")}>${say("untagN", { n: rows.length })}</button></p>
    </form>`;
}

/** A form made from a tool's table of options. */
function Tools() {
  const tools = data.overview.tools;
  const [name, setName] = useState(tools[0]?.name ?? "");
  const [scope, setScope] = useState(state.selected.size ? "selection" : ordered().length < data.table.count ? "matches" : "all");
  const [given, setGiven] = useState(/** @type {Record<string, any>} */ ({}));
  const tool = tools.find((/** @type {any} */ each) => each.name === name);
  if (!tool) return html`<h1 id="dialogTitle">${say("tools")}</h1>`;
  const rows = { selection: [...state.selected], matches: [...ordered()], all: null }[scope];
  return html`<h1 id="dialogTitle">${say("tools")}</h1>
    <form class="toolForm" onSubmit=${(/** @type {Event} */ event) => (event.preventDefault(), act.runTool(name, given, rows ?? null))}>
      <label>${say("tool")} <select value=${name} onChange=${withValue((value) => (setName(value), setGiven({})))}>${tools.map((/** @type {any} */ each) => html`<option key=${each.name} value=${each.name}>${each.name}</option>`)}</select></label>
      <p>${ofFields(tool.summary)}</p>
      <label>${say("onWhat")} <select value=${scope} onChange=${withValue(setScope)}>
        ${state.selected.size ? html`<option value="selection">${say("theSelection", { n: state.selected.size })}</option>` : null}
        <option value="matches">${say("whatMatches", { n: ordered().length })}</option><option value="all">${say("everything", { n: data.table.count })}</option></select></label>
      ${tool.options.map((/** @type {any} */ option) => html`<${Field} key=${option.keyword} option=${option} value=${given[option.keyword]} change=${(/** @type {any} */ value) => {
        const next = { ...given };
        if (value === undefined) delete next[option.keyword];
        else next[option.keyword] = value;
        setGiven(next);
      }} />`)}
      <p class="row last"><button class="primary">${say("run")}</button></p>
    </form>`;
}

/** A text about options of the command line, with the names of this form's fields instead. @param {string} text */
function ofFields(text) {
  return text.replace(/'?--([a-z][a-z-]*)'?/g, (_, name) => `“${name.replaceAll("-", " ")}”`);
}

/** @param {{option: any, value: any, change: (value: any) => void}} props */
function Field({ option, value, change }) {
  const text = withValue((typed) => change(typed === "" ? undefined : isNumber ? Number(typed) : option.type === "list" ? typed.split(",").map((each) => each.trim()) : typed));
  const isNumber = option.type === "number" || option.type === "integer";
  const shown = option.default === null || option.default === undefined ? option.unset ?? "" : String(option.default);
  const field =
    option.type === "flag"
      ? html`<input type="checkbox" checked=${value ?? false} onChange=${(/** @type {Event} */ event) => change(/** @type {HTMLInputElement} */ (event.target).checked || undefined)} />`
      : option.choices
        ? html`<select value=${value ?? option.default ?? ""} onChange=${text}>${option.default ? null : html`<option value="">–</option>`}${option.choices.map((/** @type {string} */ each) => html`<option key=${each} value=${each}>${each}</option>`)}</select>`
        : html`<input type=${isNumber ? "number" : "text"} step=${option.type === "integer" ? 1 : "any"} min=${option.minimum ?? option.exclusiveMinimum} max=${option.maximum} placeholder=${shown} value=${value ?? ""} onInput=${text} />`;
  return html`<label class="field"><span>${option.name.replaceAll("-", " ")}</span>${field}<small>${ofFields(option.help)}</small></label>`;
}

function Export() {
  const [copied, setCopied] = useState(false);
  const [format, setFormat] = useState("");
  const [path, setPath] = useState("");
  const [what, setWhat] = useState("remaining");
  const [isWriting, setIsWriting] = useState(false);
  const [formats, setFormats] = useState(/** @type {string[]} */ ([]));
  useEffect(() => void api.askJson("formats").then(setFormats, sayWrong), []);
  const command = data.overview.apply_command;
  const remaining = remainingRows();
  const rows = { remaining, selection: state.selected, matches: ordered() }[what] ?? remaining;
  const n = "size" in rows ? rows.size : rows.length;
  /** @param {Event} event */
  const submitted = async (event) => {
    event.preventDefault();
    setIsWriting(true);
    try {
      const answer = await api.tell("export", { rows: [...rows], format, path, version: api.version() });
      update({ panel: "", notice: { text: say("written", { path: answer.path }), kind: "said" } });
    } catch (error) {
      sayWrong(error);
    }
    setIsWriting(false);
  };
  return html`<h1 id="dialogTitle">${say("exportTitle")}</h1>
    ${state.choices.length ? html`<p>${say("exportNote")}</p>
    <p class="command"><code>${command}</code><button class="plain" onClick=${() => navigator.clipboard.writeText(command).then(() => setCopied(true))}>${say(copied ? "copied" : "copy")}</button></p>
    <p class="row"><a class="plain button" href=${api.address("decisions.jsonl").href} download="decisions.jsonl">${say("downloadDecisions")}</a></p>` : html`<p>${say("nothingDecided")}</p>`}
    <h2>${say("exportAs")}</h2>
    <form onSubmit=${submitted}>
      <label>${say("what")} <select value=${what} onChange=${withValue(setWhat)}>
        <option value="remaining">${say("whatRemains", { n: remaining.length })}</option><option value="matches">${say("whatMatches", { n: ordered().length })}</option>
        ${state.selected.size ? html`<option value="selection">${say("theSelection", { n: state.selected.size })}</option>` : null}</select></label>
      <p class="row"><button type="button" onClick=${() => downloadIds(rows)}>${say("downloadIds", { n })}</button></p>
      ${data.overview.writable ? html`<label>${say("format")} <input list="formats" value=${format} placeholder="coco" onInput=${withValue(setFormat)} /></label>
      <datalist id="formats">${formats.map((each) => html`<option key=${each} value=${each} />`)}</datalist>
      <label>${say("folder")} <input value=${path} onInput=${withValue(setPath)} /></label>
      <p class="row"><button class="primary" disabled=${isWriting || !formats.includes(format) || !path || !n}>${isWriting ? say("writing") : say("write", { n })}</button></p>` : null}
    </form>`;
}

/** @param {Iterable<number>} rows */
function downloadIds(rows) {
  const text = Array.from(rows, (row) => `${rowName(row)}\n`).join("");
  const href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  Object.assign(document.createElement("a"), { href, download: "ids.txt" }).click();
  URL.revokeObjectURL(href);
}
