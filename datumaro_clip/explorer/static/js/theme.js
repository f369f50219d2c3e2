// @ts-check
// Light or dark: the system's setting, or the user's choice, which the browser keeps.

import { update } from "./state.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

/** Apply the kept choice; draw the page again when the system's setting changes. */
export function beginTheme() {
  DARK.addEventListener("change", () => update({}));
  try {
    const kept = localStorage.getItem("theme");
    if (kept) root.dataset.theme = kept;
  } catch {
    // This browser keeps nothing: the system's setting applies.
  }
}

/** @returns {"light" | "dark"} */
export function theme() {
  return (root.dataset.theme ?? (DARK.matches ? "dark" : "light")) === "dark" ? "dark" : "light";
}

export function switchTheme() {
  root.dataset.theme = theme() === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // This browser keeps nothing: the choice lasts as long as the page.
  }
  update({});
}
