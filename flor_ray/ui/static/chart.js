// One chart of one feature. uPlot has the axes, the scales and the pointer; lines and marks are drawn here, since each
// run has places of its own on the x axis, and since what is no number is to be seen as what it is.
import { h, replace } from "./dom.js";
import { numberText } from "./cells.js";
import { colour, uPlot } from "./plots.js";

const NUMBER = 0, NAN = 1, PLUS_INFINITY = 2, MINUS_INFINITY = 3, GAP = 4;
export const OTHER = 5;
const STATES = ["", "NaN", "+∞", "−∞", "no value", "not a number"];
const NEAR = 30; // pixels from the pointer to a point that it means
const WHOLE = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((one) => one * 10 ** power)).flat();
const RING = 7; // pixels that a mark at the edge reaches beyond it
const FEW = 400; // points of a curve of which each replayed one gets a sign
const TRUSTS = { exact: "exact", "within tolerance": "within", unverified: "unverified", doubtful: "doubtful" };

// The class of page.css for a trust, and its sign.
export const trustClass = (trust) => (TRUSTS[trust] ? `verdict-${TRUSTS[trust]}` : "");
export const SIGNS = { recorded: "", exact: "●", "within tolerance": "◐", unverified: "○", doubtful: "▲" };

// Colours that stay apart, in the order of runs or groups; light ones on dark paper.
export function hue(index) {
  const light = isDark() ? 68 : 40;
  return `hsl(${(index * 137.5 + 215) % 360} 70% ${light + (Math.floor(index / 8) % 2) * 10}%)`;
}

function isDark() {
  const paper = document.documentElement.dataset.theme;
  return paper === "dark" || (paper !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
}

// A chart in `root`. `asked`: { title, axis, xLog, yLog, smooth, zoom(first, last), reset() }
export async function chart(root, asked) {
  const Plot = await uPlot();
  return new Chart(Plot, root, asked);
}

class Chart {
  constructor(Plot, root, asked) {
    Object.assign(this, { Plot, asked, data: null, at: null });
    this.plot = null;
    this.tip = h("div", { class: "tip hidden", role: "status", "aria-live": "polite" });
    this.box = h("div", {
      class: "plot", tabindex: 0, role: "img", "aria-label": asked.title,
      "aria-description": "Left and right: from point to point. Up and down: to the next curve. Escape: all of it.",
      onkeydown: (event) => this.key(event), onpointerleave: () => this.leave(),
    });
    replace(root, h("div", { class: "chart" }, this.box, this.tip));
    this.sized = new ResizeObserver(() => this.resize());
    this.sized.observe(this.box);
    this.themed = () => this.draw();
    window.addEventListener("theme", this.themed);
  }

  // lines: [{ label, colour, dashed, x, y, epoch, step?, state?, mark?, smooth?, peak?, end?, marks }]
  // bands: [{ label, colour, x, mean, spread, lowest, highest, runs }]
  show(data) {
    this.data = { lines: [], bands: [], ...data };
    this.at = null;
    this.tip.classList.add("hidden");
    this.draw();
  }

  end() {
    this.sized.disconnect();
    window.removeEventListener("theme", this.themed);
    this.plot?.destroy();
  }

  resize() {
    const width = this.box.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.height() });
    else if (!this.plot) this.draw();
  }

  height() {
    return Math.max(180, Math.min(300, Math.round(this.box.clientWidth * 0.45)));
  }

  draw() {
    if (!this.data || !this.box.clientWidth) return;
    this.plot?.destroy();
    const { xLog, yLog } = this.asked;
    const [low, high] = this.yRange(yLog);
    let { first, last } = this.data.window;
    if (first === last) [first, last] = xLog ? [first / 2, last * 2] : [first - 0.5, last + 0.5];
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), size: 4 } };
    const whole = this.asked.axis !== "time" && !xLog && last - first >= 2; // half an epoch is no place to name
    const numbers = (u, ticks) => ticks.map((tick) => (tick === null ? "" : numberText(tick)));
    const options = {
      width: this.box.clientWidth, height: this.height(), legend: { show: false }, pxAlign: 1,
      scales: {
        x: { time: false, distr: xLog ? 3 : 1, range: () => [first, last] },
        y: { distr: yLog ? 3 : 1, range: () => [low, high] },
      },
      series: [{}, { paths: () => null, points: { show: false } }],
      axes: [{ ...axis, values: xLog ? undefined : numbers, ...(whole ? { incrs: WHOLE } : {}) }, { ...axis, size: 64, values: yLog ? undefined : numbers }],
      cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false }, y: false },
      hooks: { draw: [(u) => this.paint(u)], setSelect: [(u) => this.selected(u)], setCursor: [(u) => this.pointed(u)] },
    };
    this.plot = new this.Plot(options, [[first, last], [low, high]], this.box);
    this.plot.over.addEventListener("dblclick", () => this.asked.reset?.());
  }

  // From the least to the greatest number, with a little air.
  yRange(isLog) {
    let low = Infinity, high = -Infinity;
    const see = (values) => {
      for (const value of values) {
        if (value === null || (isLog && value <= 0)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    };
    for (const line of this.data.lines) see(line.y);
    for (const band of this.data.bands) {
      see(band.mean);
      see(band.mean.map((mean, i) => (mean === null ? null : mean - (band.spread[i] ?? 0))));
      see(band.mean.map((mean, i) => (mean === null ? null : mean + (band.spread[i] ?? 0))));
    }
    if (low > high) return isLog ? [1, 10] : [0, 1];
    if (isLog) return [low / 1.15, high * 1.15];
    const air = (high - low || Math.abs(high) || 1) * 0.08;
    return [low - air, high + air];
  }

  paint(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    const beyond = RING * (this.ratio = devicePixelRatio || 1);
    ctx.rect(bbox.left - beyond, bbox.top - beyond, bbox.width + 2 * beyond, bbox.height + 2 * beyond);
    ctx.clip();
    for (const band of this.data.bands) this.paintBand(u, band);
    for (const line of this.data.lines) this.paintLine(u, line);
    for (const line of this.data.lines) this.paintMarks(u, line);
    ctx.restore();
  }

  paintBand(u, band) {
    const { ctx } = u;
    ctx.fillStyle = band.colour;
    ctx.globalAlpha = 0.18;
    for (const [start, end] of stretches(band.mean.length, (i) => band.mean[i] !== null && band.spread[i] !== null)) {
      ctx.beginPath();
      for (let i = start; i < end; i++) ctx.lineTo(...this.place(u, band.x[i], band.mean[i] + band.spread[i]));
      for (let i = end - 1; i >= start; i--) ctx.lineTo(...this.place(u, band.x[i], band.mean[i] - band.spread[i]));
      ctx.fill();
    }
    ctx.globalAlpha = 1;
    this.stroke(u, band.x, band.mean, band.colour, 2);
  }

  paintLine(u, line) {
    const { ctx } = u;
    if (line.smooth) {
      ctx.globalAlpha = 0.3;
      this.stroke(u, line.x, line.y, line.colour, 1, line.dashed);
      ctx.globalAlpha = 1;
      this.stroke(u, line.x, line.smooth, line.colour, 2, line.dashed);
    } else this.stroke(u, line.x, line.y, line.colour, 1.5, line.dashed);
  }

  // A line that breaks where there is no number. A number between two breaks is a dot.
  stroke(u, x, y, colour, width, dashed) {
    const { ctx } = u;
    const isLog = this.asked.yLog;
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.lineWidth = width * this.ratio;
    ctx.lineJoin = "round";
    ctx.setLineDash(dashed ? [6 * this.ratio, 4 * this.ratio] : []);
    ctx.beginPath();
    const dots = [];
    for (const [start, end] of stretches(x.length, (i) => y[i] !== null && !(isLog && y[i] <= 0))) {
      if (end - start === 1) dots.push(start);
      for (let i = start; i < end; i++) {
        const [left, top] = this.place(u, x[i], y[i]);
        if (i === start) ctx.moveTo(left, top);
        else ctx.lineTo(left, top);
      }
    }
    ctx.stroke();
    ctx.setLineDash([]);
    for (const i of dots) {
      ctx.beginPath();
      ctx.arc(...this.place(u, x[i], y[i]), 2.5 * this.ratio, 0, 7);
      ctx.fill();
    }
  }

  // What is no number, what was replayed, the peak and the end.
  paintMarks(u, line) {
    const { ctx, bbox } = u;
    const size = 4 * this.ratio;
    const bottom = bbox.top + bbox.height - size * 1.5, top = bbox.top + size * 1.5;
    ctx.lineWidth = 1.5 * this.ratio;
    const few = line.x.length <= FEW;
    for (let i = 0; i < line.x.length; i++) {
      const state = line.state?.[i] ?? NUMBER;
      const left = u.valToPos(line.x[i], "x", true);
      ctx.strokeStyle = ctx.fillStyle = line.colour;
      if (state === NAN) cross(ctx, left, bottom, size);
      else if (state === PLUS_INFINITY) triangle(ctx, left, top, size, -1);
      else if (state === MINUS_INFINITY) triangle(ctx, left, bottom, size, 1);
      else if (state === GAP) tick(ctx, left, bbox.top + bbox.height, size * 1.5);
      else if (state === OTHER) diamond(ctx, left, bottom, size);
      const trust = line.marks?.[line.mark?.[i] ?? 0]?.trust;
      if (state !== NUMBER || !trust || trust === "recorded" || !(few || trust === "doubtful")) continue;
      this.sign(ctx, trust, ...this.place(u, line.x[i], line.y[i]), size * 0.8, line.colour);
    }
    if (line.peak) this.flag(u, line, line.peak, this.asked.least ? "least" : "peak");
    if (line.end) {
      ctx.strokeStyle = line.colour;
      ctx.beginPath();
      ctx.arc(...this.place(u, line.end.x, line.end.y), size * 1.2, 0, 7);
      ctx.stroke();
    }
  }

  flag(u, line, point, word) {
    const { ctx } = u;
    const [left, top] = this.place(u, point.x, point.y);
    const up = this.asked.least ? 1 : -1;
    ctx.fillStyle = line.colour;
    triangle(ctx, left, top + up * 7 * this.ratio, 4 * this.ratio, -up);
    if (this.data.lines.length > 3) return;
    ctx.fillStyle = colour("soft");
    ctx.font = `${11 * this.ratio}px system-ui, sans-serif`;
    const right = left > u.bbox.left + u.bbox.width * 0.8;
    ctx.textAlign = right ? "right" : "left";
    ctx.textBaseline = "middle";
    ctx.fillText(`${word} ${numberText(point.y)}`, left + (right ? -8 : 8) * this.ratio, top + up * 8 * this.ratio);
  }

  sign(ctx, trust, left, top, size, stroke) {
    ctx.strokeStyle = stroke;
    ctx.fillStyle = trust === "exact" ? stroke : colour("paper");
    if (trust === "doubtful") {
      ctx.fillStyle = colour("bad");
      return triangle(ctx, left, top, size * 1.5, -1);
    }
    ctx.beginPath();
    ctx.arc(left, top, size, 0, 7);
    ctx.fill();
    ctx.stroke();
    if (trust === "within tolerance") {
      ctx.fillStyle = stroke;
      ctx.beginPath();
      ctx.arc(left, top, size, Math.PI / 2, Math.PI * 1.5);
      ctx.fill();
    }
  }

  place(u, x, y) {
    const value = this.asked.yLog && y <= 0 ? u.scales.y.min : y;
    return [u.valToPos(x, "x", true), u.valToPos(value, "y", true)];
  }

  selected(u) {
    if (u.select.width < 4) return;
    const first = u.posToVal(u.select.left, "x"), last = u.posToVal(u.select.left + u.select.width, "x");
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.asked.zoom?.(first, last);
  }

  leave() {
    if (document.activeElement !== this.box) this.tip.classList.add("hidden");
  }

  pointed(u) {
    const { left, top } = u.cursor;
    if (left === undefined || left < 0) return;
    let best = null, distance = NEAR;
    const x = u.posToVal(left, "x");
    for (const [number, line] of this.all().entries()) {
      const middle = lowerBound(line.x, x);
      const values = line.y ?? line.mean;
      for (let i = Math.max(0, middle - 40); i < Math.min(line.x.length, middle + 40); i++) {
        const dx = u.valToPos(line.x[i], "x") - left;
        const value = values[i];
        const dy = value === null ? (top > u.over.clientHeight - 14 ? 0 : NEAR) : this.place1(u, value) - top;
        const away = Math.hypot(dx, dy);
        if (away < distance) [best, distance] = [{ number, i }, away];
      }
    }
    if (best) this.tell(best);
    else this.leave();
  }

  place1(u, value) {
    return u.valToPos(this.asked.yLog && value <= 0 ? u.scales.y.min : value, "y");
  }

  all() {
    return [...this.data.lines, ...this.data.bands];
  }

  key(event) {
    const lines = this.all().filter((line) => line.x.length);
    if (event.key === "Escape") return this.asked.reset?.();
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -1e9], End: [0, 1e9] };
    const move = moves[event.key];
    if (!move || !lines.length || !this.plot) return;
    event.preventDefault();
    const every = this.all();
    const from = this.at ? lines.indexOf(every[this.at.number]) : 0;
    const line = lines[(Math.max(0, from) + move[0] + lines.length) % lines.length];
    const i = this.at ? Math.min(line.x.length - 1, Math.max(0, this.at.i + move[1])) : 0;
    this.tell({ number: every.indexOf(line), i });
  }

  // What there is at a point, beside it.
  tell(at) {
    this.at = at;
    const line = this.all()[at.number], u = this.plot;
    const value = (line.y ?? line.mean)[at.i];
    replace(this.tip, ...(line.y ? this.words(line, at.i) : bandWords(line, at.i, this.asked.axis)));
    this.tip.classList.remove("hidden");
    const left = u.valToPos(line.x[at.i], "x") + u.over.offsetLeft;
    const top = (value === null ? u.over.clientHeight - 10 : this.place1(u, value)) + u.over.offsetTop;
    const width = this.tip.offsetWidth, room = this.box.clientWidth;
    this.tip.style.setProperty("left", `${Math.max(0, left + 12 + width > room ? left - width - 12 : left + 12)}px`);
    this.tip.style.setProperty("top", `${Math.max(0, top - this.tip.offsetHeight - 8)}px`);
  }

  words(line, i) {
    const state = line.state?.[i] ?? NUMBER, mark = line.marks?.[line.mark?.[i] ?? 0];
    const place = [line.epoch[i] >= 0 ? `epoch ${line.epoch[i]}` : "outside the loop"];
    if ((line.step?.[i] ?? -1) >= 0) place.push(`step ${line.step[i]}`);
    if (line.iteration?.[i]) place.push(`iteration ${line.iteration[i]}`);
    if (this.asked.axis === "time") place.push(`${numberText(line.x[i])} s`);
    return [
      h("p", null, h("strong", null, state === NUMBER ? String(line.y[i]) : STATES[state]), ` ${line.label}`),
      h("p", { class: "soft" }, place.join(", ")),
      line.smooth && line.smooth[i] !== null ? h("p", { class: "soft" }, `smoothed ${numberText(line.smooth[i])}`) : null,
      mark && state !== GAP
        ? h("p", { class: trustClass(mark.trust) }, `${SIGNS[mark.trust]} ${mark.trust}`, mark.reason ? `: ${mark.reason}` : "")
        : null,
      state === OTHER ? h("p", { class: "soft" }, "Open it below.") : null,
    ];
  }
}

function bandWords(band, i, axis) {
  const spread = band.spread[i] === null ? "" : ` ± ${numberText(band.spread[i])}`;
  return [
    h("p", null, h("strong", null, band.mean[i] === null ? "no number" : `${numberText(band.mean[i])}${spread}`), ` ${band.label}`),
    h("p", { class: "soft" }, `${axis} ${numberText(band.x[i])}; mean of ${band.runs[i]} ${band.runs[i] === 1 ? "run" : "runs"}`),
    band.lowest[i] === null ? null : h("p", { class: "soft" }, `${numberText(band.lowest[i])} to ${numberText(band.highest[i])}`),
  ];
}

// [start, end) of each stretch in which `there` holds.
function stretches(length, there) {
  const found = [];
  let start = -1;
  for (let i = 0; i <= length; i++) {
    const is = i < length && there(i);
    if (is && start < 0) start = i;
    if (!is && start >= 0) {
      found.push([start, i]);
      start = -1;
    }
  }
  return found;
}

function lowerBound(values, wanted) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

function cross(ctx, x, y, size) {
  ctx.beginPath();
  ctx.moveTo(x - size, y - size);
  ctx.lineTo(x + size, y + size);
  ctx.moveTo(x + size, y - size);
  ctx.lineTo(x - size, y + size);
  ctx.stroke();
}

function triangle(ctx, x, y, size, down) {
  ctx.beginPath();
  ctx.moveTo(x - size, y - down * size * 0.8);
  ctx.lineTo(x + size, y - down * size * 0.8);
  ctx.lineTo(x, y + down * size);
  ctx.fill();
}

function diamond(ctx, x, y, size) {
  ctx.beginPath();
  ctx.moveTo(x, y - size);
  ctx.lineTo(x + size, y);
  ctx.lineTo(x, y + size);
  ctx.lineTo(x - size, y);
  ctx.fill();
}

function tick(ctx, x, bottom, size) {
  ctx.globalAlpha = 0.6;
  ctx.beginPath();
  ctx.moveTo(x, bottom);
  ctx.lineTo(x, bottom - size);
  ctx.stroke();
  ctx.globalAlpha = 1;
}
