// What workers do: a lane each, a bar per segment. Planned, live (with what each is at now) and afterwards.
import { h, svg } from "./dom.js";
import { secondsText } from "./cells.js";
import { hue } from "./chart.js";
import { table } from "./tables.js";

const WIDTH = 1000, LANE = 18, LEFT = 110, TOP = 16, RIGHT = 60;
const LEAST = 0.4; // pixels of a bar that is drawn where another one is beside it
const MOST_LANES = 200, MOST_ROWS = 500;

// A chart of { stints, open?, now?, planned?, bound?, runs? }; `seconds` is how far the axis goes at least.
export function gantt({ stints, open = [], now = null, planned = 0, bound = 0, runs = {} }, label) {
  const workers = [...new Set([...stints, ...open].map((one) => one.worker))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  const lanes = new Map(workers.slice(0, MOST_LANES).map((worker, i) => [worker, i]));
  const versions = [...new Set([...stints, ...open].map((one) => one.version))].sort();
  const until = Math.max(now ?? 0, planned, bound, ...stints.map((one) => one.ended)) || 1;
  const height = TOP + Math.max(1, lanes.size) * LANE + 22;
  const x = (seconds) => LEFT + (seconds / until) * (WIDTH - LEFT - RIGHT);
  const named = (version) => `${runs[version] || ""} ${version.slice(0, 8)}`.trim();
  const parts = [];
  for (const [worker, lane] of lanes) {
    const y = TOP + lane * LANE;
    parts.push(svg("rect", { class: "lane", x: LEFT, y: y + 1, width: WIDTH - LEFT - RIGHT, height: LANE - 2 }));
    parts.push(svg("text", { x: LEFT - 6, y: y + 13, "text-anchor": "end" }, worker.slice(0, 16)));
  }
  const drawn = new Map();
  for (const one of stints) {
    if (!lanes.has(one.worker)) continue;
    const left = x(one.began), width = x(one.ended) - left;
    if (one.ending === "done" && width < LEAST && left - (drawn.get(one.worker) ?? -1) < LEAST) continue;
    drawn.set(one.worker, left);
    const y = TOP + lanes.get(one.worker) * LANE + 2;
    const took = `${secondsText(one.ended - one.began)}${one.estimated ? `, estimated ${secondsText(one.estimated)}` : ""}${one.setup ? `, set-up ${secondsText(one.setup)}` : ""}`;
    const words = `${one.worker}: ${named(one.version)}, epochs ${one.epochs}, ${one.operator}${one.ending === "done" ? "" : `, ${one.ending}`}: ${took}`;
    const bar = svg("rect", { class: one.ending, x: left, y, width: Math.max(1, width), height: LANE - 4 }, svg("title", null, words));
    if (one.ending === "done") bar.style.setProperty("fill", hue(versions.indexOf(one.version)));
    parts.push(bar);
    const setup = x(Math.min(one.ended, one.began + one.setup)) - left;
    if (one.ending === "done" && setup > 1) parts.push(svg("rect", { class: "setup", x: left, y, width: setup, height: LANE - 4 }, svg("title", null, `set-up of ${words}`)));
  }
  for (const one of open) {
    if (!lanes.has(one.worker)) continue;
    const words = `${one.worker} is at ${named(one.version)}, ${one.epoch ? `epoch ${one.epoch} of ${one.epochs}` : `epochs ${one.epochs}`}, for ${secondsText((now ?? until) - one.began)}`;
    const bar = svg("rect", { class: "open", x: x(one.began), y: TOP + lanes.get(one.worker) * LANE + 2, width: Math.max(2, x(now ?? until) - x(one.began)), height: LANE - 4 }, svg("title", null, words));
    bar.style.setProperty("fill", hue(versions.indexOf(one.version)));
    parts.push(bar);
  }
  const bottom = TOP + Math.max(1, lanes.size) * LANE;
  for (const tick of ticks(until)) {
    parts.push(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: TOP, y2: bottom + 4 }));
    parts.push(svg("text", { x: x(tick), y: bottom + 16, "text-anchor": "middle" }, tick ? secondsText(tick) : "0"));
  }
  const marks = [["bound", bound, "no schedule can be faster"], ["estimated", planned, "estimated"], ["now", now, "now"]];
  for (const [name, seconds, words] of marks) {
    if (!seconds) continue;
    parts.push(svg("line", { class: name, x1: x(seconds), x2: x(seconds), y1: TOP - 4, y2: bottom }, svg("title", null, `${words}: ${secondsText(seconds)}`)));
    const isLeft = name === "bound"; // so that two at one place can be read
    parts.push(svg("text", { x: x(seconds) + (isLeft ? -3 : 3), y: TOP - 6, "text-anchor": isLeft ? "end" : "start" }, isLeft ? name : words));
  }
  const more = workers.length - lanes.size;
  return h("div", { class: "wide" },
    svg("svg", { class: "gantt", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `${label}: ${workers.length} workers, ${stints.length} segments, ${secondsText(until)}` }, parts),
    more > 0 ? h("p", { class: "soft" }, `... and ${more} more workers.`) : null);
}

// Estimate and reality, segment by segment, the worst estimate first.
export function stintTable(stints, runs = {}) {
  const off = (one) => Math.abs(one.ended - one.began - one.estimated);
  const rows = [...stints].sort((a, b) => (a.ending === "done") - (b.ending === "done") || off(b) - off(a)).slice(0, MOST_ROWS);
  const columns = ["worker", "run", "version", "epochs", "operator", "ending", { n: "began" }, { n: "took" }, { n: "estimated" }, { n: "set-up" }, { n: "rows" }];
  const body = rows.map((one) => [one.worker, runs[one.version] ?? "", one.version.slice(0, 8), one.epochs, one.operator, one.ending,
    secondsText(one.began), secondsText(one.ended - one.began), secondsText(one.estimated), secondsText(one.setup), one.rows]);
  const more = stints.length > rows.length ? `... and ${stints.length - rows.length} more.` : null;
  return table(columns, body, { caption: "Segments, the worst estimate first", more });
}

function ticks(until) {
  const step = [1, 2, 5].map((one) => one * 10 ** Math.floor(Math.log10(until))).concat([0.1, 0.2, 0.5].map((one) => one * 10 ** Math.floor(Math.log10(until))))
    .sort((a, b) => a - b).find((one) => until / one <= 8);
  return Array.from({ length: Math.floor(until / step + 1e-9) + 1 }, (_, i) => i * step);
}
