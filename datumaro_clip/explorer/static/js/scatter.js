// @ts-check
// Draws points into an image's memory, without a graphics card, so that it is as quick on a remote desktop.

/** The part of the map that is shown: the centre of the canvas in map units, and pixels per unit. */
class View {
  constructor() {
    this.x = 0;
    this.y = 0;
    this.scale = 1;
    this.width = 1;
    this.height = 1;
  }

  /**
   * Show all of a box, with a margin.
   * @param {{left: number, right: number, bottom: number, top: number}} bounds
   */
  fit(bounds) {
    this.x = (bounds.left + bounds.right) / 2;
    this.y = (bounds.bottom + bounds.top) / 2;
    const across = Math.max(bounds.right - bounds.left, 1e-6);
    const down = Math.max(bounds.top - bounds.bottom, 1e-6);
    this.scale = 0.9 * Math.min(this.width / across, this.height / down);
  }

  /**
   * Zoom by a factor about a place on the canvas.
   * @param {number} factor @param {number} px @param {number} py
   */
  zoom(factor, px, py) {
    const [x, y] = this.toMap(px, py);
    this.scale = Math.max(1e-3, Math.min(1e6, this.scale * factor));
    this.x = x - (px - this.width / 2) / this.scale;
    this.y = y + (py - this.height / 2) / this.scale;
  }

  /** @param {number} dx @param {number} dy pixels */
  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y += dy / this.scale;
  }

  /** @param {number} px @param {number} py @returns {[number, number]} */
  toMap(px, py) {
    return [this.x + (px - this.width / 2) / this.scale, this.y - (py - this.height / 2) / this.scale];
  }

  /** @param {number} x @param {number} y @returns {[number, number]} */
  toCanvas(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (this.y - y) * this.scale + this.height / 2];
  }
}

/** Pale, matching, selected: a later layer is drawn on top. */
const LAYERS = 3;

/** Points that are drawn together. @typedef {{x: Float32Array, y: Float32Array, colours: Uint8Array}} Layer */

/** The points of a map on a canvas. */
export class Scatter {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.view = new View();
    this.ratio = 1;
    /** The scale that shows all points. */
    this.fitted = 1;
    /** @type {Layer[]} */
    this.layers = [];
  }

  /**
   * @param {number} width CSS pixels
   * @param {number} height
   * @param {number} ratio device pixels a CSS pixel
   */
  resize(width, height, ratio) {
    this.ratio = ratio;
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
    this.view.width = width;
    this.view.height = height;
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  /**
   * Copy the points to draw, cell by cell: neighbours on the map are then neighbours in memory, so that drawing a million
   * reads and writes memory in order.
   * @param {import("./geometry.js").PointGrid} grid
   * @param {Uint8Array} layers 0 pale, 1 matching, 2 selected, a point
   * @param {Uint8Array} colours index into the palette, a point
   */
  arrange(grid, layers, colours) {
    const counts = new Uint32Array(LAYERS);
    for (const point of grid.members) counts[layers[point]]++;
    this.layers = Array.from(counts, (n) => ({ x: new Float32Array(n), y: new Float32Array(n), colours: new Uint8Array(n) }));
    counts.fill(0);
    for (const point of grid.members) {
      const layer = this.layers[layers[point]];
      const at = counts[layers[point]]++;
      layer.x[at] = grid.x[point];
      layer.y[at] = grid.y[point];
      layer.colours[at] = colours[point];
    }
  }

  /**
   * Draw all points.
   * @param {{strong: Uint32Array, pale: Uint32Array, ring: number, background: number}} palette as packed pixels
   * @param {number} size diameter of a matching point, CSS pixels
   */
  draw(palette, size) {
    if (!this.image || !this.pixels) return;
    this.pixels.fill(palette.background);
    const [pale, matching, selected] = this.layers;
    if (selected) {
      this.stamp(pale, size * 0.7, palette.pale);
      this.stamp(matching, size, palette.strong);
      this.stamp(selected, size + 4.5, new Uint32Array(palette.strong.length).fill(palette.ring));
      this.stamp(selected, size + 1.5, palette.strong);
    }
    this.context.putImageData(this.image, 0, 0);
  }

  /** @param {Layer} layer @param {number} diameter CSS pixels @param {Uint32Array} inks */
  stamp({ x, y, colours }, diameter, inks) {
    const pixels = /** @type {Uint32Array} */ (this.pixels);
    const { width, height } = this.canvas;
    const { offsets, radius } = disc(diameter * this.ratio, width);
    const scale = this.view.scale * this.ratio;
    const left = width / 2 - this.view.x * scale + 0.5;
    const top = height / 2 + this.view.y * scale + 0.5;
    for (let point = 0; point < x.length; point++) {
      const px = Math.floor(left + x[point] * scale);
      const py = Math.floor(top - y[point] * scale);
      // Written so that a point without a place, NaN, is left out, too.
      if (!(px >= radius && py >= radius && px < width - radius && py < height - radius)) continue;
      const at = py * width + px;
      const ink = inks[colours[point]];
      for (let step = 0; step < offsets.length; step++) pixels[at + offsets[step]] = ink;
    }
  }
}

/**
 * Offsets of a disc's pixels from its centre, in an image of a width. The disc is a little larger than its circle, which
 * would have a single pixel at each of its four ends and look like a diamond.
 * @param {number} diameter @param {number} width
 */
function disc(diameter, width) {
  const radius = Math.max(0, Math.ceil(diameter / 2 - 0.5));
  const offsets = [];
  for (let dy = -radius; dy <= radius; dy++)
    for (let dx = -radius; dx <= radius; dx++)
      if (dx * dx + dy * dy <= 1.12 * (diameter / 2) ** 2 || (!dx && !dy)) offsets.push(dy * width + dx);
  return { offsets: Int32Array.from(offsets), radius };
}
