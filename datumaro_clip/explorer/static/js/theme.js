// @ts-check
// Light or dark: the system's choice, or a person's, which the browser keeps.

import { update } from "./state.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

/** Take the choice that was kept; have the page drawn again when the system's changes. */
export function beginTheme() {
  DARK.addEventListener("change", () => update({}));
  try {
    const kept = localStorage.getItem("theme");
    if (kept) root.dataset.theme = kept;
  } catch {
    // Nothing is kept in this browser: the system's choice stands.
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
    // A browser that keeps nothing still shows the page as asked for.
  }
  update({});
}
