// @ts-check
// The room that compares the dataset before and after the decisions, or this store with another one.

import { html, useEffect, useMemo, useState } from "../../vendor/htm-preact-3.1.1.js";
import * as api from "../api.js";
import { data, everything, remainingRows, sayWrong } from "../state.js";
import { Table } from "../table.js";
import { say } from "../words.js";
import { usePainted, withValue } from "./hooks.js";
import { charts, Coverage } from "./statistics.js";

export function Compare() {
  const others = data.overview.stores.filter((/** @type {string} */ name) => name !== data.overview.name);
  const [other, setOther] = useState("");
  return html`<main class="room sheets" tabindex="0">
    ${others.length ? html`<label class="with">${say("compareWith")} <select value=${other} onChange=${withValue(setOther)}>
      <option value="">${say("after")}</option>${others.map((/** @type {string} */ name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>` : null}
    ${other ? html`<${WithStore} key=${other} name=${other} />` : html`<${AfterDecisions} />`}
  </main>`;
}

function AfterDecisions() {
  const rows = remainingRows();
  const after = useMemo(() => {
    const mask = new Uint8Array(data.table.count);
    for (const row of rows) mask[row] = 1;
    return mask;
  }, [rows]);
  const isPainted = usePainted();
  const table = withoutDecisions(data.table);
  return html`<p class="legend"><i class="all"></i> ${say("named", { x: say("before"), n: data.table.count })} <i class="now"></i> ${say("named", { x: say("after"), n: rows.length })}</p>
    <div class="cards wide"><${Coverage} rows=${rows} what=${say("after")} none=${say("coverageOfAfter")} />${isPainted ? charts({ table, mask: everything() }, { table, mask: after }) : null}</div>`;
}

/** @type {WeakMap<Table, Table>} */
const plain = new WeakMap();

/** A table without the columns of decisions, which are the same before and after. @param {Table} table */
function withoutDecisions(table) {
  const found = plain.get(table) ?? Object.assign(Object.create(Table.prototype), table);
  found.columns = new Map([...table.columns].filter(([name]) => name !== "decision" && name !== "reason"));
  plain.set(table, found);
  return found;
}

/** @param {{name: string}} props */
function WithStore({ name }) {
  const [table, setTable] = useState(/** @type {Table | null} */ (null));
  useEffect(() => void loaded(name).then(setTable, sayWrong), []);
  if (!table) return html`<p class="legend">${say("loading", { store: name })}</p>`;
  const mine = withoutDecisions(data.table);
  const [all, others] = [{ table: mine, mask: everything() }, { table, mask: new Uint8Array(table.count).fill(1) }];
  return html`<p class="legend"><i class="all"></i> ${say("named", { x: data.overview.name, n: mine.count })} <i class="now"></i> ${say("named", { x: name, n: table.count })} <small>${say("shares")}</small></p>
    <div class="cards wide">${charts(all, others)}</div>`;
}

/** Another store's columns. @param {string} name */
async function loaded(name) {
  const overview = await api.askJson(`overview?store=${encodeURIComponent(name)}`);
  const bytes = await api.askBytes(`columns?version=${overview.version}&store=${encodeURIComponent(name)}`);
  return new Table(overview.count, overview.columns, bytes);
}
