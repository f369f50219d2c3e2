// @ts-check
// What takes long is drawn behind the first paint, so that a click shows at once.

import { useEffect, useState } from "../../vendor/htm-preact-3.1.1.js";

/** Whether what was drawn first has been painted. */
export function usePainted() {
  const [isPainted, setIsPainted] = useState(false);
  useEffect(() => setIsPainted(true), []);
  return isPainted;
}
