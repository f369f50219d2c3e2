// @ts-check
// Hooks and listeners that several panes use.

import { useEffect, useRef, useState } from "../../vendor/htm-preact-3.1.1.js";

/**
 * A listener that calls a function with the value of its field.
 * @param {(value: string) => void} use
 */
export function withValue(use) {
  return (/** @type {Event} */ event) => use(/** @type {HTMLInputElement | HTMLSelectElement} */ (event.target).value);
}

/** Whether the first drawing has been painted: what takes long is drawn after it, so that a click shows at once. */
export function usePainted() {
  const [isPainted, setIsPainted] = useState(false);
  useEffect(() => setIsPainted(true), []);
  return isPainted;
}

/** The part of a scrolling node that is in view, in CSS pixels, and the reference for that node. */
export function useScrolled() {
  const scroller = useRef(/** @type {HTMLElement | null} */ (null));
  const [view, setView] = useState({ top: 0, height: 600, width: 800 });
  useEffect(() => {
    const node = scroller.current;
    if (!node) return undefined;
    const seen = () => setView({ top: node.scrollTop, height: node.clientHeight, width: node.clientWidth });
    const sized = new ResizeObserver(seen);
    sized.observe(node);
    node.addEventListener("scroll", seen, { passive: true });
    return () => (sized.disconnect(), node.removeEventListener("scroll", seen));
  }, []);
  return { scroller, view };
}

/** Scroll no farther than is needed to have a part in view. @param {HTMLElement} node @param {number} top @param {number} bottom */
export function bringIntoView(node, top, bottom) {
  if (top < node.scrollTop) node.scrollTop = top;
  else if (bottom > node.scrollTop + node.clientHeight) node.scrollTop = bottom - node.clientHeight;
}
