// @ts-check
// What a person types into a field or picks in it.

/**
 * A listener that hands on what its field holds.
 * @param {(value: string) => void} use
 */
export function withValue(use) {
  return (/** @type {Event} */ event) => use(/** @type {HTMLInputElement | HTMLSelectElement} */ (event.target).value);
}
