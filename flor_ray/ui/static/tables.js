// Tables of few rows, all alike: numbers and their header at the right, a caption for who does not see it.
import { h } from "./dom.js";

// Columns are names, and { n: name } of those with numbers. Rows are lists of texts and nodes. `heads`: the first cell
// names its row. `marked(i)`: the class of a row. `more`: what else there is, in words.
export function table(columns, rows, { caption, heads = false, className = null, marked = () => null, more = null } = {}) {
  const names = columns.map((column) => column.n ?? column);
  const kinds = columns.map((column) => (typeof column === "object" ? "n" : null));
  const cell = (value, i) => (heads && i === 0 ? h("th", { scope: "row" }, value) : h("td", { class: kinds[i] }, value));
  return h("div", { class: "wide" },
    h("table", { class: className },
      caption ? h("caption", { class: "only-read" }, caption) : null,
      h("thead", null, h("tr", null, names.map((name, i) => h("th", { scope: "col", class: kinds[i] }, name)))),
      h("tbody", null, rows.map((row, i) => h("tr", { class: marked(i) }, row.map(cell))))),
    more ? h("p", { class: "soft" }, more) : null);
}
