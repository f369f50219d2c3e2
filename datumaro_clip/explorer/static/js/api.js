// @ts-check
// Requests to the service. Each names a version of the store; the service refuses a version that it no longer has.

import { data, state, update } from "./state.js";

const BASE = new URL("explore/api/", document.baseURI);
const WAIT = [500, 1000, 2000, 4000, 8000];

/** The store that the page's address names; null means the service's first. */
export const storeName = new URLSearchParams(location.search).get("store");

/** The URL of a request. @param {string} path */
export function address(path) {
  const url = new URL(path, BASE);
  if (storeName && !url.searchParams.has("store")) url.searchParams.set("store", storeName);
  return url;
}

/** An error answer of the service: what is wrong, and its cure. */
export class ServiceError extends Error {
  /** @param {number} status @param {string} message @param {string} kind */
  constructor(status, message, kind) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

/**
 * Send a request; while the service does not answer, repeat it.
 * @param {string} path
 * @param {RequestInit & {retry?: boolean}} [options]
 */
export async function ask(path, options = {}) {
  for (let attempt = 0; ; attempt++) {
    try {
      const answer = await fetch(address(path), { credentials: "same-origin", ...options });
      if (state.offline) update({ offline: false });
      if (answer.ok) return answer;
      const body = await answer.json().catch(() => ({}));
      const said = body.error ?? {};
      throw new ServiceError(answer.status, said.message || answer.statusText, said.type ?? "");
    } catch (error) {
      if (!(error instanceof TypeError) || options.signal?.aborted || options.retry === false) throw error;
      // No answer at all: the service is down. Keep what was typed, and try again.
      update({ offline: true });
      await new Promise((resolve) => setTimeout(resolve, WAIT[Math.min(attempt, WAIT.length - 1)]));
    }
  }
}

/** @param {string} path */
export async function askJson(path) {
  return (await ask(path)).json();
}

/** @param {string} path */
export async function askBytes(path) {
  return (await ask(path)).arrayBuffer();
}

/**
 * Post something to the service, once: it may have arrived although no answer came.
 * @param {string} path @param {unknown} body
 */
export async function tell(path, body) {
  const answer = await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), retry: false });
  return answer.json();
}

/** The version of the store that the page shows. */
export function version() {
  return data.overview.version;
}

/**
 * The cosine similarity of every row with a query, NaN for rows without a vector.
 * @param {import("./state.js").Query | File} query
 * @param {AbortSignal} signal
 */
export async function scores(query, signal) {
  /** @type {RequestInit} */
  const asked = { method: "POST", signal };
  if (query instanceof File) {
    asked.body = new FormData();
    asked.body.append("file", query);
  } else {
    asked.headers = { "Content-Type": "application/json" };
    asked.body = JSON.stringify(query);
  }
  const answer = await ask(`${query instanceof File ? "scores/picture" : "scores"}?version=${version()}`, asked);
  return new Float32Array(await answer.arrayBuffer());
}
