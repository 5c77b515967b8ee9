// The frame: which page is shown, and what is said beside it. A page is a module of pages/ with
//
//   export const title = "Runs";
//   export async function show(root, query, page) { ...; return () => { what ends when it is left }; }
//
//   root     an empty element that is the page's own
//   query    URLSearchParams of #/runs?sort=...
//   page     { session, signal, setQuery(parameters), alert(text), clearAlert() }
//            signal is aborted when the page is left; setQuery changes the URL and does not show the page anew
//
// Texts go through dom.js, and questions through api.js.
import { onNotices, opened } from "./api.js";
import { h, replace } from "./dom.js";

const PAGES = { runs: "Runs", curves: "Curves", compare: "Compare", backfill: "Backfill", timeline: "Timeline" };
const FIRST = "runs";
const THEMES = ["auto", "light", "dark"];

const main = document.getElementById("main");
let leave = null;
let shown = ""; // the hash that is on the screen

// The name of a page and its query, from a hash: #/curves?names=loss
function placeOf(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { name: Object.hasOwn(PAGES, path) ? path : FIRST, query: new URLSearchParams(query ?? "") };
}

// The hash of a page: hash("curves", { names: "loss" })
export function hash(name, parameters) {
  const query = new URLSearchParams(parameters ?? {}).toString();
  return `#/${name}${query ? `?${query}` : ""}`;
}

function alertText(text) {
  replace(document.getElementById("alerts"), text ? h("p", { class: "alert" }, text) : null);
}

async function route() {
  if (location.hash === "#main") return main.focus();
  if (location.hash === shown) return;
  shown = location.hash;
  const { name, query } = placeOf(shown);
  leave?.();
  const ending = new AbortController();
  let end = null;
  leave = () => {
    ending.abort();
    end?.();
  };
  drawNavigation(name);
  alertText("");
  replace(document.getElementById("notices"));
  const root = h("div", { class: `page ${name}` });
  replace(main, root);
  const page = {
    signal: ending.signal,
    setQuery(parameters) {
      shown = hash(name, parameters);
      history.replaceState(null, "", shown);
    },
    alert: alertText,
    clearAlert: () => alertText(""),
  };
  try {
    page.session = await opened();
    document.getElementById("project").textContent = page.session.project;
    const module = await import(`./pages/${name}.js`);
    if (ending.signal.aborted) return;
    document.title = `${module.title} · ${page.session.project}`;
    const ended = await module.show(root, query, page);
    if (ending.signal.aborted) ended?.();
    else end = ended;
  } catch (error) {
    if (error.name === "AbortError") return;
    alertText(error.message);
    if (!error.kind) throw error;
  }
}

function drawNavigation(current) {
  const links = Object.entries(PAGES).map(([name, title]) =>
    h("a", { href: hash(name), "aria-current": name === current ? "page" : null }, title),
  );
  replace(document.getElementById("pages"), links);
}

// Warnings are shown once each, until the page is left.
onNotices((sentences) => {
  const list = document.getElementById("notices");
  const there = new Set([...list.children].map((node) => node.textContent));
  for (const sentence of sentences) {
    const node = h("p", { class: "notice" }, sentence);
    if (!there.has(node.textContent)) list.append(node);
  }
});

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  replace(button, { auto: "◐ Auto", light: "○ Light", dark: "● Dark" }[theme]);
  button.setAttribute("aria-label", `Colours: ${theme}. Change`);
  window.dispatchEvent(new Event("theme"));
}

let theme = localStorage.getItem("flor-theme");
if (!THEMES.includes(theme)) theme = "auto";
setTheme(theme);
document.getElementById("theme").addEventListener("click", () => {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  localStorage.setItem("flor-theme", theme);
  setTheme(theme);
});

// The token has done its work: the browser has the cookie, and URLs that are copied should not have it.
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", `./${location.hash}`);
window.addEventListener("hashchange", route);
shown = null;
route();
