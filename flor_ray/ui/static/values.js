// One logged value, opened: a matrix, numbers, a picture, a table, a text. Whatever it holds is shown, and never run.
import { h, svg } from "./dom.js";
import { get } from "./api.js";
import { cellNode, cellText, isNumeric, numberText } from "./cells.js";
import { SIGNS, trustClass } from "./chart.js";
import { table } from "./tables.js";

// Resolves to a card of the value at a place: { name, version, epoch, step, iteration }.
export async function opened(place, title, signal) {
  const value = await get("value", place, signal);
  const sign = value.trust === "recorded" ? null
    : h("p", { class: trustClass(value.trust) }, `${SIGNS[value.trust]} ${value.trust}: ${value.reason}`);
  return h("figure", { class: "card value" }, h("figcaption", null, h("strong", null, title), ` ${told(value)}`), drawn(value), sign);
}

function told(value) {
  const shape = value.shape?.length ? ` ${value.shape.join(" × ")}` : "";
  return `${value.type}${shape}${value.said ? `; ${value.said}` : ""}`;
}

function drawn(value) {
  if (value.kind === "matrix") return matrix(value.rows);
  if (value.kind === "numbers") return numbers(value);
  if (value.kind === "picture") {
    return h("img", { src: `data:image/png;base64,${value.png}`, width: Math.min(480, Math.max(96, value.width)), alt: `${value.label}, ${value.width} by ${value.height} pixels` });
  }
  if (value.kind === "table") return frame(value);
  if (value.kind === "text") return h("pre", { class: "wide" }, value.text);
  return h("p", null, cellNode(value.value));
}

// Rows of numbers, the greatest one darkest.
function matrix(rows) {
  const plain = rows.flat().filter((cell) => typeof cell === "number");
  const least = Math.min(...plain), span = Math.max(...plain) - least || 1;
  const cell = (value) => {
    const node = h("td", { class: "n" }, cellText(value));
    if (typeof value === "number") node.style.setProperty("--heat", `${Math.round(((value - least) / span) * 75)}%`);
    return node;
  };
  const head = h("tr", null, h("th", { scope: "col" }, h("span", { class: "only-read" }, "row")), rows[0].map((_, i) => h("th", { scope: "col", class: "n" }, i)));
  const body = rows.map((row, i) => h("tr", null, h("th", { scope: "row", class: "n" }, i), row.map(cell)));
  return h("div", { class: "wide" }, h("table", { class: "matrix" }, h("thead", null, head), h("tbody", null, body)));
}

const WIDTH = 320, HEIGHT = 110;

function bars(heights, titles) {
  const most = Math.max(...heights.map(Math.abs), 0) || 1;
  const least = Math.min(0, ...heights), span = Math.max(0, ...heights) - least || most;
  const width = WIDTH / heights.length;
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "bars", role: "img", "aria-label": titles.join("; ").slice(0, 2000) },
    heights.map((height, i) => {
      const top = HEIGHT * (1 - (Math.max(0, height) - least) / span);
      const tall = Math.max(0.5, (Math.abs(height) / span) * HEIGHT);
      return svg("rect", { x: i * width, y: top, width: Math.max(0.2, width - (width > 3 ? 1 : 0)), height: tall }, svg("title", null, titles[i]));
    }));
}

function numbers(value) {
  const parts = [];
  const odd = value.odd ? `, ${value.odd} of them no finite numbers` : "";
  if (value.counts.length) {
    const titles = value.counts.map((count, i) => `${numberText(value.edges[i])} to ${numberText(value.edges[i + 1])}: ${count}`);
    parts.push(h("p", { class: "soft" }, `${value.count} numbers${odd}, from ${numberText(value.least)} to ${numberText(value.greatest)}, mean ${numberText(value.mean)}: how many are how large`));
    parts.push(bars(value.counts, titles));
  } else parts.push(h("p", { class: "soft" }, `${value.count} numbers${odd}`));
  if (value.numbers?.length > 1) {
    const plain = value.numbers.map((one) => (typeof one === "number" ? one : 0));
    parts.push(h("p", { class: "soft" }, "one after the other"), bars(plain, value.numbers.map((one, i) => `${i}: ${cellText(one)}`)));
  }
  return h("div", null, parts);
}

function frame(value) {
  const more = value.rows.length < value.shape[0] || value.columns.length < value.shape[1];
  const columns = value.columns.map((name, i) => (value.rows.some((row) => isNumeric(row[i])) ? { n: name } : name));
  return table(columns, value.rows.map((row) => row.map(cellNode)), { caption: value.label, more: more ? "More rows or columns than are shown." : null });
}
