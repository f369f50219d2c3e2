// @ts-check
// Long lists of which only what is in view is drawn.

import { useEffect, useRef, useState } from "../../vendor/htm-preact-3.1.1.js";

/** What of a node that scrolls is in view, in CSS pixels, and the reference that the node is to have. */
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

/** Scroll no farther than it takes to have a part in view. @param {HTMLElement} node @param {number} top @param {number} bottom */
export function bringIntoView(node, top, bottom) {
  if (top < node.scrollTop) node.scrollTop = top;
  else if (bottom > node.scrollTop + node.clientHeight) node.scrollTop = bottom - node.clientHeight;
}
