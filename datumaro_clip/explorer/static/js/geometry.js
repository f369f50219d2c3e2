// @ts-check
// Points in the plane: the nearest one, and those inside a line drawn by hand.

/** Points sorted into equal cells, so that a search near a place reads few of them. */
export class PointGrid {
  /**
   * @param {Float32Array} x
   * @param {Float32Array} y
   */
  constructor(x, y) {
    this.x = x;
    this.y = y;
    const count = x.length;
    this.side = Math.max(1, Math.min(1024, Math.ceil(Math.sqrt(count / 8))));
    let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let at = 0; at < count; at++) {
      if (x[at] < left) left = x[at];
      if (x[at] > right) right = x[at];
      if (y[at] < bottom) bottom = y[at];
      if (y[at] > top) top = y[at];
    }
    this.bounds = count ? { left, right, bottom, top } : { left: -1, right: 1, bottom: -1, top: 1 };
    this.width = Math.max(this.bounds.right - this.bounds.left, 1e-6) / this.side;
    this.height = Math.max(this.bounds.top - this.bounds.bottom, 1e-6) / this.side;
    this.starts = new Uint32Array(this.side * this.side + 1);
    const cells = new Uint32Array(count);
    for (let at = 0; at < count; at++) {
      cells[at] = this.rowOf(y[at]) * this.side + this.columnOf(x[at]);
      this.starts[cells[at] + 1]++;
    }
    for (let cell = 0; cell < this.side * this.side; cell++) this.starts[cell + 1] += this.starts[cell];
    this.members = new Uint32Array(count);
    const next = this.starts.slice();
    for (let at = 0; at < count; at++) this.members[next[cells[at]]++] = at;
  }

  /** @param {number} x */
  columnOf(x) {
    return Math.max(0, Math.min(this.side - 1, Math.floor((x - this.bounds.left) / this.width)));
  }

  /** @param {number} y */
  rowOf(y) {
    return Math.max(0, Math.min(this.side - 1, Math.floor((y - this.bounds.bottom) / this.height)));
  }

  /**
   * Call a function with every point that may lie in a box.
   * @param {number} left @param {number} right @param {number} bottom @param {number} top
   * @param {(point: number) => void} visit
   */
  within(left, right, bottom, top, visit) {
    for (let row = this.rowOf(bottom); row <= this.rowOf(top); row++)
      for (let column = this.columnOf(left); column <= this.columnOf(right); column++) {
        const cell = row * this.side + column;
        for (let at = this.starts[cell]; at < this.starts[cell + 1]; at++) visit(this.members[at]);
      }
  }

  /**
   * The point nearest to a place, no farther than a radius; -1 where there is none.
   * @param {number} x @param {number} y @param {number} radius
   */
  nearest(x, y, radius) {
    let best = -1;
    let least = radius * radius;
    this.within(x - radius, x + radius, y - radius, y + radius, (point) => {
      const gap = (this.x[point] - x) ** 2 + (this.y[point] - y) ** 2;
      if (gap <= least) [best, least] = [point, gap];
    });
    return best;
  }

  /**
   * A mask of the points inside a polygon.
   * @param {[number, number][]} polygon corners in order; the last is joined to the first
   */
  inside(polygon) {
    const mask = new Uint8Array(this.x.length);
    if (polygon.length < 3) return mask;
    const xs = polygon.map((corner) => corner[0]);
    const ys = polygon.map((corner) => corner[1]);
    this.within(Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys), (point) => {
      mask[point] = isInside(this.x[point], this.y[point], polygon) ? 1 : 0;
    });
    return mask;
  }
}

/**
 * The map of a table that has places.
 * @param {import("./table.js").Table} table
 * @param {import("./state.js").Plane["labels"]} labels
 * @returns {import("./state.js").Plane}
 */
export function planeOf(table, labels) {
  const [x, y] = ["x", "y"].map((name) => /** @type {Float32Array} */ (table.column(name)?.data));
  const rows = table.column("row");
  return { grid: new PointGrid(x, y), table, labels, rows: rows ? /** @type {Uint32Array} */ (rows.data) : null };
}

/**
 * Whether a ray to the right crosses the polygon an odd number of times.
 * @param {number} x @param {number} y @param {[number, number][]} polygon
 */
function isInside(x, y, polygon) {
  let inside = false;
  for (let at = 0, before = polygon.length - 1; at < polygon.length; before = at++) {
    const [x1, y1] = polygon[at];
    const [x2, y2] = polygon[before];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  }
  return inside;
}

/**
 * Remove corners that hardly change a line, so that it fits into a link (Douglas–Peucker).
 * @param {[number, number][]} line
 * @param {number} tolerance
 * @returns {[number, number][]}
 */
export function simplified(line, tolerance) {
  if (line.length < 3) return line;
  const [first, last] = [line[0], line[line.length - 1]];
  let [farthest, at] = [0, 0];
  for (let middle = 1; middle < line.length - 1; middle++) {
    const gap = gapTo(line[middle], first, last);
    if (gap > farthest) [farthest, at] = [gap, middle];
  }
  if (farthest <= tolerance) return [first, last];
  return [...simplified(line.slice(0, at + 1), tolerance).slice(0, -1), ...simplified(line.slice(at), tolerance)];
}

/** @param {[number, number]} point @param {[number, number]} from @param {[number, number]} to */
function gapTo(point, from, to) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const length = dx * dx + dy * dy;
  const share = length ? Math.max(0, Math.min(1, ((point[0] - from[0]) * dx + (point[1] - from[1]) * dy) / length)) : 0;
  return Math.hypot(point[0] - from[0] - share * dx, point[1] - from[1] - share * dy);
}
