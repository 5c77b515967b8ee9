// Values as the server tells them (flor_ray/ui/cells.py), as texts and as nodes.
import { h } from "./dom.js";

// A value as a text.
export function cellText(cell) {
  if (cell === null || cell === undefined) return "";
  if (typeof cell === "object") return cell.number ?? cell.other ?? (cell.cut ? `${cell.text}…` : String(cell.text));
  return typeof cell === "number" ? numberText(cell) : String(cell);
}

// A number as people read it: as many digits as tell it, and not more than six where it is not whole.
export function numberText(number) {
  if (Number.isInteger(number)) return Math.abs(number) < 1e15 ? String(number) : number.toExponential();
  const short = Number(number.toPrecision(6));
  return String(short);
}

// A value as a node, with all of it as its title where the text does not tell it.
export function cellNode(cell) {
  const text = cellText(cell);
  if (cell === null || cell === undefined) return h("span", { class: "missing", title: "no value" }, "–");
  if (typeof cell === "object" && cell.cut) return h("span", { title: `${cell.cut} characters; the beginning` }, text);
  if (typeof cell === "object") return h("span", { class: "odd" }, text);
  if (typeof cell === "number" && text !== String(cell)) return h("span", { title: String(cell) }, text);
  return h("span", null, text);
}

export function isNumeric(cell) {
  return typeof cell === "number" || (typeof cell === "object" && cell !== null && "number" in cell);
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

// Seconds as people say them.
export function secondsText(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 10) return `${numberText(Number(seconds.toPrecision(2)))} s`;
  const at = UNITS.findIndex(([, size]) => seconds >= size);
  const [unit, size] = UNITS[at];
  const whole = Math.floor(seconds / size);
  const rest = at + 1 < UNITS.length ? Math.round((seconds - whole * size) / UNITS[at + 1][1]) : 0;
  return rest ? `${whole} ${unit} ${rest} ${UNITS[at + 1][0]}` : `${whole} ${unit}`;
}

// A unix time as people here read it.
export function timeText(unix) {
  if (unix === null || unix === undefined) return "";
  const time = new Date(unix * 1000);
  if (Number.isNaN(time.getTime())) return `${unix} s`;
  const two = (number) => String(number).padStart(2, "0");
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}
