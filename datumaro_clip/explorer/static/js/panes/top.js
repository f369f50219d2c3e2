// @ts-check
// The top bar: rooms with what waits in each, the search field, undo, export and theme.

import { html, useRef } from "../../vendor/htm-preact-3.1.1.js";
import * as act from "../actions.js";
import { Icon } from "../icons.js";
import { data, idOf, narrowed, state, update, waiting } from "../state.js";
import { switchTheme } from "../theme.js";
import { count, say } from "../words.js";
import { withValue } from "./hooks.js";

const ROOMS = /** @type {const} */ (["explore", "duplicates", "review", "statistics", "compare"]);
/** Milliseconds after the last key until a text is searched for. */
const PAUSE = 150;

export function Top() {
  const chosen = state.choices.filter((choice) => choice.group === undefined).length;
  /** @type {string[]} */
  const stores = data.overview.stores;
  return html`<header class="top">
    <a class="brand" href="./explore" onClick=${(/** @type {Event} */ event) => (event.preventDefault(), update({ room: "explore" }))}>
      <h1>datumaro-clip</h1>
      <small>${stores.length > 1 ? "" : `${data.overview.name} · `}${say("of", { n: narrowed().count, all: data.table.count })}</small>
    </a>
    ${stores.length > 1 ? html`<select class="stores" aria-label=${say("store")} value=${data.overview.name} onChange=${withValue((name) => location.assign(`?store=${encodeURIComponent(name)}`))}>
      ${stores.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select>` : null}
    <nav class="rooms" aria-label=${say("rooms")}>
      ${ROOMS.map(
        (room) => html`<button key=${room} class="room" aria-current=${state.room === room ? "page" : undefined} onClick=${() => update({ room })}>
          <${Icon} name=${room} />${say(room)}
          ${waiting()[room] ? html` <span class="waiting">${count(waiting()[room])}</span>` : null}
        </button>`,
      )}
    </nav>
    <${Search} />
    <button class="plain undo" disabled=${!state.undoable} title=${`${say(state.undoable ? "undo" : "nothingToUndo")} (u)`} onClick=${act.undo}><${Icon} name="undo" /> <span>${say("undo")}</span></button>
    <button class=${chosen ? "primary" : "plain"} onClick=${() => update({ panel: "export" })}>
      ${chosen === 0 ? say("decision0") : chosen === 1 ? say("decision1") : say("decisions", { n: chosen })}
    </button>
    <button class="plain icon" title=${say("theme")} aria-label=${say("theme")} onClick=${switchTheme}><${Icon} name="theme" /></button>
  </header>`;
}

function Search() {
  const timer = useRef(0);
  /** @param {string} typed */
  const typedIn = (typed) => {
    update({ typed });
    clearTimeout(timer.current);
    timer.current = setTimeout(() => act.search(typed.trim() ? { text: typed.trim() } : null), PAUSE);
  };
  /** @param {DragEvent} event */
  const dropped = (event) => {
    event.preventDefault();
    takePicture(event.dataTransfer?.files[0]);
  };
  /** @param {ClipboardEvent} event */
  const pasted = (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (file) (event.preventDefault(), takePicture(file));
  };
  const query = state.query;
  const name = query && "row" in query ? idOf(query.row) : query && "rows" in query ? say("selected", { n: query.rows.length }) : query && "picture" in query ? query.picture : "";
  return html`<form class="search" role="search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}
      onDragOver=${(/** @type {Event} */ event) => event.preventDefault()} onDrop=${dropped}>
    <${Icon} name="search" />
    ${name ? html`<span class="chip">≈ ${name}<button type="button" aria-label=${say("remove", { name })} onClick=${() => act.search(null)}>×</button></span>` : null}
    <input id="search" type="search" autocomplete="off" spellcheck="false" placeholder=${say("search")} aria-label=${say("searchLabel")}
      value=${state.typed}
      onInput=${withValue(typedIn)} onPaste=${pasted} />
    <label class="pick" title=${say("search")}><${Icon} name="picture" /><input type="file" accept="image/*" aria-label=${say("search")}
      onChange=${(/** @type {Event} */ event) => takePicture(/** @type {HTMLInputElement} */ (event.target).files?.[0])} /></label>
    <kbd>/</kbd>
  </form>`;
}

/** @param {File | undefined} file */
export function takePicture(file) {
  if (!file) return;
  update({ typed: "", room: "explore" });
  act.search({ picture: file.name }, file);
}
