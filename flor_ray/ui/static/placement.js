// An old version's code, line by line, with where a statement stands in it; a click on a line pins it there.
import { h, replace } from "./dom.js";
import { get, post } from "./api.js";

export async function placement(root, name, version, page, changed) {
  const draw = (found) => {
    const pinned = new Map(found.pins.map((one) => [`${one.path}:${one.after}`, one]));
    const after = new Map(found.findings.filter((one) => one.after).map((one) => [`${one.path}:${one.after}`, one]));
    const guesses = new Set(found.findings.filter((one) => one.best_guess).map((one) => `${one.path}:${one.best_guess}`));
    const may = page.session.write && !found.present;
    const line = (path, text, number) => {
      const key = `${path}:${number}`;
      const words = pinned.has(key) ? "pinned after this line" : after.has(key) ? "stands after this line" : guesses.has(key) ? "might belong after this line" : null;
      return h("button", {
        type: "button", disabled: !may, class: guesses.has(key) ? "guess" : null, "aria-current": after.has(key) || pinned.has(key) ? "location" : null,
        title: words ?? (may ? "Pin it after this line" : null), onclick: () => say(post("pins", { name, version: found.version, path, after: number }, page.signal)),
      }, h("span", { class: "number" }, number), h("span", null, text, words ? h("span", { class: "soft" }, `   ← ${words}`) : null));
    };
    replace(root, h("h2", null, `${found.name} in ${found.run || found.version.slice(0, 8)}`),
      found.said ? h("pre", { class: "wide" }, found.said) : null,
      found.findings.map((one) => h("p", { class: one.doubtful || one.outcome === "refused" ? "verdict-doubtful" : "soft" }, `${one.outcome}${one.why ? `: ${one.why}` : ""}`)),
      found.notes.map((note) => h("p", { class: "soft" }, note)),
      may ? h("p", null, "Click the line after which the statement belongs: that pins it there, also where the file is the same.") : null,
      found.pins.length && page.session.write ? h("p", { class: "bar" }, h("button", { type: "button", onclick: () => say(post("unpin", { name, version: found.version }, page.signal)) }, "Remove the pin")) : null,
      found.files.map((file) => [h("p", { class: "soft" }, file.path), h("div", { class: "code-lines", role: "group", "aria-label": file.path }, file.lines.map((text, i) => line(file.path, text, i + 1)))]));
    (root.querySelector("[aria-current]") ?? root.querySelector(".guess"))?.scrollIntoView({ block: "nearest" });
  };
  const say = async (answer) => {
    try {
      draw(await answer);
      page.clearAlert();
      changed?.();
    } catch (error) {
      if (error.name !== "AbortError") page.alert(error.message);
    }
  };
  try {
    draw(await get("placement", { name, version }, page.signal));
  } catch (error) {
    if (error.name !== "AbortError") page.alert(error.message);
  }
}
