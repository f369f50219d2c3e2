// @ts-check
// The dataset as columns, which the page filters, counts, sorts and draws without the service.

/**
 * @typedef {object} ColumnSpec
 * @property {string} name
 * @property {"category" | "categories" | "number" | "date" | "row"} kind
 * @property {string} title
 * @property {string[]} [values] names of a category's values, by index
 * @property {{dtype: string, offset: number, length: number}[]} parts where its arrays lie in the binary answer
 */

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {"category" | "categories" | "number" | "date" | "row"} kind
 * @property {string} title
 * @property {string[]} values
 * @property {Float32Array | Float64Array | Uint16Array | Uint32Array} data one value a row; for `categories` the values of all rows
 * @property {Uint32Array} [starts] for `categories`: where each row's values begin, and one more
 */

/** Whether a column's values are named categories. @param {Column | ColumnSpec} column */
export function isCategory({ kind }) {
  return kind === "category" || kind === "categories";
}

/** Index of a row without a value. */
export const NONE = 65535;

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
};

/** All columns of one version of a store. */
export class Table {
  /**
   * @param {number} count rows
   * @param {ColumnSpec[]} specs
   * @param {ArrayBuffer} bytes
   */
  constructor(count, specs, bytes) {
    this.count = count;
    /** @type {Map<string, Column>} */
    this.columns = new Map();
    for (const spec of specs) {
      const parts = spec.parts.map(
        (part) => new ARRAYS[/** @type {keyof typeof ARRAYS} */ (part.dtype)](bytes, part.offset, part.length),
      );
      const data = /** @type {any} */ (parts[0]);
      const starts = /** @type {any} */ (parts[1]);
      this.columns.set(spec.name, { ...spec, values: spec.values ?? [], data, starts });
    }
  }

  /** @param {string} name */
  column(name) {
    return this.columns.get(name);
  }

  /**
   * The values of one row of a category column, as indices.
   * @param {Column} column
   * @param {number} row
   */
  valuesOf(column, row) {
    if (column.starts) return column.data.subarray(column.starts[row], column.starts[row + 1]);
    return column.data[row] === NONE ? EMPTY : column.data.subarray(row, row + 1);
  }

  /**
   * The first value of one row of a category column; NONE where it has none.
   * @param {Column} column
   * @param {number} row
   */
  firstOf(column, row) {
    if (!column.starts) return column.data[row];
    return column.starts[row] < column.starts[row + 1] ? column.data[column.starts[row]] : NONE;
  }

  /**
   * Add or replace a column that the page makes itself, such as the scores of a query.
   * @param {Column} column
   */
  put(column) {
    this.columns.set(column.name, column);
  }

  /** @param {string} name */
  drop(name) {
    this.columns.delete(name);
  }
}

const EMPTY = new Uint16Array(0);

/**
 * A filter is a set of indices of a category's values, or a range of numbers with both ends.
 * @typedef {{values: Set<number>} | {from: number, to: number}} Filter
 */

/**
 * A mask of the rows that pass a filter.
 * @param {Table} table
 * @param {Column} column
 * @param {Filter} filter
 * @returns {Uint8Array}
 */
function maskOf(table, column, filter) {
  const mask = new Uint8Array(table.count);
  if ("values" in filter) {
    const wanted = new Uint8Array(Math.max(column.values.length, 1));
    for (const value of filter.values) wanted[value] = 1;
    if (column.starts) {
      for (let row = 0; row < table.count; row++)
        for (let at = column.starts[row]; at < column.starts[row + 1]; at++)
          if (wanted[column.data[at]]) { mask[row] = 1; break; }
    } else {
      for (let row = 0; row < table.count; row++) mask[row] = wanted[column.data[row]] ?? 0;
    }
  } else {
    // A row without a number, NaN, lies in no range.
    for (let row = 0; row < table.count; row++)
      mask[row] = column.data[row] >= filter.from && column.data[row] <= filter.to ? 1 : 0;
  }
  return mask;
}

/**
 * A mask of the rows that pass all filters, and for each filter, of those that pass all the others, for its counts.
 * @param {Table} table
 * @param {Map<string, Filter>} filters
 * @param {Uint8Array[]} others masks that no column makes: a lasso, words in captions
 */
export function applyFilters(table, filters, others) {
  const missed = new Uint8Array(table.count);
  /** @type {Map<string, Uint8Array>} */
  const masks = new Map();
  for (const [name, filter] of filters) {
    const column = table.column(name);
    if (!column) continue;
    const mask = maskOf(table, column, filter);
    masks.set(name, mask);
    for (let row = 0; row < table.count; row++) missed[row] += 1 - mask[row];
  }
  for (const mask of others)
    for (let row = 0; row < table.count; row++) missed[row] += mask[row] ? 0 : 2;
  const passed = new Uint8Array(table.count);
  let count = 0;
  for (let row = 0; row < table.count; row++) {
    if (missed[row] === 0) { passed[row] = 1; count++; }
  }
  /** @param {string} name */
  const without = (name) => {
    const own = masks.get(name);
    if (!own) return passed;
    const mask = new Uint8Array(table.count);
    for (let row = 0; row < table.count; row++) mask[row] = missed[row] === 1 - own[row] ? 1 : 0;
    return mask;
  };
  return { passed, count, without };
}

/** @type {WeakMap<Column, WeakMap<Uint8Array, Uint32Array>>} */
const counted = new WeakMap();

/**
 * How many rows of a mask have each value; kept, because neither mask nor column changes.
 * @param {Table} table
 * @param {Column} column
 * @param {Uint8Array} mask
 */
export function countValues(table, column, mask) {
  const known = counted.get(column) ?? new WeakMap();
  counted.set(column, known);
  const counts = known.get(mask) ?? count(table, column, mask);
  known.set(mask, counts);
  return counts;
}

/** @param {Table} table @param {Column} column @param {Uint8Array} mask */
function count(table, column, mask) {
  const counts = new Uint32Array(column.values.length);
  for (let row = 0; row < table.count; row++) {
    if (!mask[row]) continue;
    if (column.starts) {
      for (let at = column.starts[row]; at < column.starts[row + 1]; at++) counts[column.data[at]]++;
    } else if (column.data[row] !== NONE) {
      counts[column.data[row]]++;
    }
  }
  return counts;
}

/** @type {WeakMap<Column, [number, number] | null>} */
const extents = new WeakMap();

/**
 * The least and the greatest number of a column; null if no row has one. Kept, because a column does not change.
 * @param {Column} column
 */
export function extent(column) {
  const known = extents.get(column);
  if (known !== undefined) return known;
  let least = Infinity;
  let greatest = -Infinity;
  for (const value of column.data) {
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  const found = least <= greatest ? /** @type {[number, number]} */ ([least, greatest]) : null;
  extents.set(column, found);
  return found;
}

/**
 * How many rows of a mask fall into each of equally wide bins.
 * @param {Column} column
 * @param {Uint8Array} mask
 * @param {[number, number]} range
 * @param {number} bins
 */
export function histogram(column, mask, [least, greatest], bins) {
  const counts = new Uint32Array(bins);
  const scale = bins / (greatest - least || 1);
  for (let row = 0; row < mask.length; row++) {
    const value = column.data[row];
    if (mask[row] && value >= least && value <= greatest)
      counts[Math.min(bins - 1, Math.floor((value - least) * scale))]++;
  }
  return counts;
}

/**
 * Rows of a mask in order of a column; rows without a value come last, equal ones in the dataset's order.
 * @param {Table} table
 * @param {Uint8Array} mask
 * @param {string} name column, or "" for the dataset's order
 * @param {boolean} descending
 */
export function sortedRows(table, mask, name, descending) {
  let count = 0;
  for (let row = 0; row < mask.length; row++) count += mask[row];
  const rows = new Uint32Array(count);
  const column = name ? table.column(name) : undefined;
  const order = column ? orderOf(table, column, descending) : null;
  for (let place = 0, at = 0; place < mask.length; place++) {
    const row = order ? order[place] : place;
    if (mask[row]) rows[at++] = row;
  }
  return rows;
}

/** @type {WeakMap<Column, Map<boolean, Uint32Array>>} */
const orders = new WeakMap();

/**
 * All rows in order of a column; kept, because filters do not change the order.
 * @param {Table} table @param {Column} column @param {boolean} descending
 */
function orderOf(table, column, descending) {
  const known = orders.get(column) ?? new Map();
  orders.set(column, known);
  if (!known.has(descending)) known.set(descending, rowsByKey(sortKeys(table, column), descending));
  return /** @type {Uint32Array} */ (known.get(descending));
}

/** Key of a row without a value. */
const LAST = 2 ** 32 - 1;
/** More rows than the page can show; a 32-bit key and a row below this fit into a double exactly. */
const ROWS = 2 ** 21;

/**
 * For each row a whole number below 2 ** 32, in the order of the column's values.
 * @param {Table} table @param {Column} column
 */
function sortKeys(table, column) {
  const keys = new Uint32Array(table.count).fill(LAST);
  if (column.kind === "number") {
    // The bits of IEEE 754 floats, read as integers, are in order except for the sign.
    const bits = new Int32Array(column.data.buffer, column.data.byteOffset, table.count);
    for (let row = 0; row < table.count; row++)
      if (!Number.isNaN(column.data[row])) keys[row] = bits[row] < 0 ? ~bits[row] : bits[row] + 2 ** 31;
  } else if (column.kind === "date") {
    const [least] = extent(column) ?? [0];
    for (let row = 0; row < table.count; row++) if (!Number.isNaN(column.data[row])) keys[row] = column.data[row] - least;
  } else {
    for (let row = 0; row < table.count; row++) {
      const value = table.firstOf(column, row);
      if (value !== NONE) keys[row] = value;
    }
  }
  return keys;
}

/** @param {Uint32Array} keys @param {boolean} descending */
function rowsByKey(keys, descending) {
  const packed = Float64Array.from(keys, (key, row) => (descending && key !== LAST ? LAST - 1 - key : key) * ROWS + row);
  return Uint32Array.from(packed.sort(), (value) => value % ROWS);
}
