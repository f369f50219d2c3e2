// @ts-check
// The points of a map, made of a table that has places.

import { PointGrid } from "./geometry.js";

/**
 * @param {import("./table.js").Table} table
 * @param {import("./state.js").Plane["labels"]} labels
 * @returns {import("./state.js").Plane}
 */
export function planeOf(table, labels) {
  const [x, y] = ["x", "y"].map((name) => /** @type {Float32Array} */ (table.column(name)?.data));
  const rows = table.column("row");
  return { grid: new PointGrid(x, y), table, labels, rows: rows ? /** @type {Uint32Array} */ (rows.data) : null };
}
