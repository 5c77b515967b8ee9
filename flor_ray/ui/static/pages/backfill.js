// Backfill: a question, its plan, and the replay that answers it, with the chart that it fills.
import { append, h, replace, settled } from "../dom.js";
import { get, post } from "../api.js";
import { hash } from "../app.js";
import { numberText, secondsText, timeText } from "../cells.js";
import { chart, hue } from "../chart.js";
import { OVER, follow } from "../follow.js";
import { gantt } from "../gantt.js";
import { placement } from "../placement.js";
import { draw as drawStanding } from "../standing.js";
import { table } from "../tables.js";
import { listOf, runLabel } from "./curves.js";

export const title = "Backfill";
const ORDERS = { "": "what suits the schedule", end: "the last epochs", coarse: "coarse to fine", newest: "the newest runs" };
const MOST_VERSIONS = 60; // of a plan that are listed

export async function show(root, query, page) {
  const view = new View(root, query, page);
  await view.begin();
  return () => view.end();
}

class View {
  constructor(root, query, page) {
    Object.assign(this, { page, query, ends: [], charts: [], following: null });
    this.form = h("form", { class: "card", onsubmit: (event) => { event.preventDefault(); this.plan(); } });
    this.planned = h("section", { "aria-live": "polite" });
    this.placed = h("section", { "aria-live": "polite" }); // stays while a pin makes another plan
    this.running = h("section", { class: "card hidden", "aria-label": "The replay" });
    this.filled = h("section", { class: "charts" });
    this.list = h("section");
    append(root, h("h1", null, title), this.form, this.planned, this.placed, this.running, this.filled, this.list);
  }

  async begin() {
    const { features } = await get("features", {}, this.page.signal);
    const versions = listOf(this.query, "version", "versions");
    this.versions = versions;
    this.drawForm(features, {
      names: listOf(this.query, "name", "names"),
      where: this.query.get("where") ?? (versions.length ? `version in [${versions.map((one) => JSON.stringify(one)).join(", ")}]` : ""),
    });
    const replay = this.query.get("replay");
    await this.drawList();
    if (replay) this.follow(replay);
    else if (this.field("names").value.trim()) await this.plan();
  }

  end() {
    this.following?.();
    for (const one of this.charts) one.end();
  }

  field(name) {
    return this.form.elements.namedItem(name);
  }

  drawForm(features, asked) {
    const text = (name, label, value, more = {}) => h("label", { class: more.wide ? "wide-field" : null }, label, h("input", { name, value, autocomplete: "off", ...more.attributes }));
    replace(this.form,
      h("div", { class: "fields" },
        text("names", "Features, with commas between", asked.names.join(", "), { wide: true, attributes: { list: "features", required: true } }),
        text("where", "Where (a pandas query over features, run, version, epoch)", asked.where, { wide: true, attributes: { placeholder: "accuracy < 95 and epoch >= 3" } }),
        text("budget", "Worker time in all", "", { attributes: { placeholder: "no limit; 2h" } }),
        text("deadline", "Ready in", "", { attributes: { placeholder: "no limit; 30m" } }),
        h("label", null, "First", h("select", { name: "order", onchange: () => this.askPeak() }, Object.entries(ORDERS).map(([value, word]) => h("option", { value }, word)), h("option", { value: "peak" }, "peaks of ..."))),
        text("peak", "of this feature", "", { attributes: { placeholder: "accuracy; -loss: the least" } }),
        h("label", null, "Workers", h("input", { name: "workers", type: "number", min: 1, placeholder: "one per device" })),
        h("label", null, "Where it runs", h("select", { name: "executor" }, h("option", { value: "" }, "what is ready sooner"), h("option", { value: "ray" }, "Ray"), h("option", { value: "local" }, "processes of this machine"))),
        h("label", null, "Again", h("span", null, h("input", { name: "again", type: "checkbox" }), " what was replayed"))),
      h("datalist", { id: "features" }, features.map((one) => h("option", { value: one.name }))),
      h("p", { class: "bar" }, h("button", null, "Show the plan")));
    this.askPeak();
  }

  askPeak() {
    this.field("peak").parentNode.hidden = this.field("order").value !== "peak";
  }

  asked() {
    const value = (name) => this.field(name).value.trim();
    const order = value("order");
    return {
      names: value("names").split(",").map((name) => name.trim()).filter(Boolean), where: value("where"), budget: value("budget"), deadline: value("deadline"),
      first: order === "peak" ? `peak:${value("peak")}` : order, workers: value("workers") ? Number(value("workers")) : null,
      executor: value("executor"), again: this.field("again").checked,
    };
  }

  async plan() {
    const asked = this.asked();
    const turn = (this.turn = (this.turn ?? 0) + 1);
    replace(this.planned, h("p", { class: "soft" }, "Planning …"));
    try {
      const found = await get("plan", { ...asked, names: null, name: asked.names, again: asked.again || null }, this.page.signal);
      if (turn !== this.turn) return;
      this.page.clearAlert();
      this.page.setQuery([...asked.names.map((name) => ["name", name]), ["where", asked.where]].filter(([, value]) => value));
      this.drawPlan(found, asked);
    } catch (error) {
      if (error.name === "AbortError" || turn !== this.turn) return;
      replace(this.planned);
      this.page.alert(error.message);
    }
  }

  drawPlan(plan, asked) {
    const run = h("button", { type: "button", class: "main", disabled: !this.page.session.write || plan.empty, onclick: () => this.run(asked, run) }, "Run it");
    const why = this.page.session.write ? plan.place : "This page is read-only.";
    replace(this.planned, h("div", { class: "card plan" }, h("h2", null, "The plan"),
      plan.empty ? h("p", null, `Nothing to replay for ${asked.names.join(", ")}.`) : null,
      plan.known ? h("p", null, `${plan.known} values are known without running anything.`) : null,
      plan.totals ? totals(plan.totals) : null,
      plan.figures.map((line) => h("p", null, line)),
      h("p", { class: "bar" }, run, h("span", { class: "soft" }, why)),
      plan.versions.length ? [versionTable(plan.versions), gantt({ stints: plan.stints, planned: plan.totals.makespan_seconds, bound: plan.totals.lower_bound_seconds, runs: runsOf(plan.versions) }, "The schedule, if every estimate comes true")] : null,
      plan.refused.length ? this.refused(plan.refused) : null,
      plan.remarks.map((line) => h("p", { class: "soft" }, line)),
      plan.patches.map((patch) => this.patch(patch))));
  }

  refused(rows) {
    return [h("h2", null, "Refused"), h("ul", null, rows.map((one) =>
      h("li", { class: "verdict-diverged" }, `${one.run || one.version.slice(0, 8)}, ${one.name}: ${one.reason} `, this.pinButton(one.name, one.version))))];
  }

  pinButton(name, version) {
    return h("button", { type: "button", class: "quiet", onclick: () => this.place(name, version) }, "See the code, and pin it");
  }

  patch(patch) {
    const names = [...new Set(patch.findings.map((one) => one.name))];
    const runs = patch.versions.map((version, i) => patch.runs[i] || version.slice(0, 8)).slice(0, 6).join(", ");
    const more = patch.versions.length > 6 ? ` and ${patch.versions.length - 6} more` : "";
    return h("details", null, h("summary", null, `What is put into ${runs}${more}`),
      patch.findings.map((one) => h("p", { class: one.doubtful || one.outcome === "refused" ? "verdict-doubtful" : "soft" },
        `${one.name}: ${one.outcome}${one.line ? ` at ${one.path}:${one.line}` : ""}${one.confidence && one.confidence < 1 ? `, confidence ${one.confidence.toFixed(2)}` : ""}${one.why ? `: ${one.why}` : ""}`)),
      patch.diff ? diff(patch.diff) : null, names.map((name) => h("p", null, `${name}: `, this.pinButton(name, patch.versions[0]))));
  }

  async place(name, version) {
    const holder = h("div", { class: "card" });
    replace(this.placed, holder);
    await placement(holder, name, version, this.page, () => this.plan());
    holder.scrollIntoView({ block: "nearest" });
  }

  async run(asked, button) {
    button.disabled = true;
    try {
      const standing = await post("replays", asked, this.page.signal);
      this.page.clearAlert();
      replace(this.planned);
      replace(this.placed);
      this.follow(standing.id, standing);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.page.alert(error.message);
      button.disabled = false;
    }
  }

  follow(id, first) {
    this.following?.();
    this.page.setQuery([["replay", id]]);
    this.running.classList.remove("hidden");
    let answered = -1, before = null;
    const told = (standing) => {
      if (standing.trouble && before) standing = { ...before, trouble: standing.trouble };
      before = standing;
      drawStanding(this.running, standing, this.page, (next) => this.follow(next.id, next));
      const now = Math.max(standing.standing?.answered ?? 0, standing.answered);
      if (now !== answered || OVER.has(standing.state)) {
        answered = now;
        this.refill(standing.asked?.names ?? standing.names, OVER.has(standing.state));
      }
      if (OVER.has(standing.state)) this.drawList();
    };
    if (first) told(first);
    this.following = follow(id, told);
  }

  // The chart that is being filled; asked for again when rows have arrived.
  refill = settled(async (names, isOver) => {
    try {
      const pixels = Math.max(100, Math.round(this.filled.clientWidth * (devicePixelRatio || 1)));
      const data = await get("curves", { name: names, version: this.versions, pixels }, this.page.signal);
      await this.drawFilled(data, isOver);
    } catch (error) {
      if (error.name !== "AbortError") this.page.alert(error.message);
    }
  }, 150);

  async drawFilled(data, isOver) {
    const places = new Map();
    if (this.charts.length !== data.features.length) {
      for (const one of this.charts) one.end();
      this.charts = [];
      this.panels = data.features.map(() => ({ head: h("h2"), plot: h("div"), below: h("p", { class: "soft" }) }));
      replace(this.filled, this.panels.map((one) => h("section", { class: "card feature" }, one.head, one.plot, one.below)));
      for (const [i, feature] of data.features.entries()) this.charts.push(await chart(this.panels[i].plot, { title: feature.label, axis: "epoch" }));
    }
    data.runs.forEach((run, i) => places.set(run.version, [runLabel(run), hue(i)]));
    for (const [i, feature] of data.features.entries()) {
      const lines = data.curves.filter((one) => one.name === feature.name);
      const there = lines.reduce((sum, one) => sum + one.points - one.gaps, 0), holes = lines.reduce((sum, one) => sum + one.gaps, 0);
      this.panels[i].head.textContent = feature.label;
      replace(this.panels[i].below, `${there} values, ${holes} places without one${isOver ? "" : "; more arrive"}. `, h("a", { href: hash("curves", [["name", feature.name], ...this.versions.map((version) => ["version", version])]) }, "Open in Curves"));
      this.charts[i].show({ window: data.window, lines: lines.map((one) => ({ ...one, label: places.get(one.version)[0], colour: places.get(one.version)[1], marks: feature.marks })) });
    }
  }

  async drawList() {
    const { replays } = await get("replays", {}, this.page.signal);
    if (!replays.length) return;
    const rows = replays.map((one) => [
      h("button", { type: "button", class: "quiet", onclick: () => this.follow(one.id) }, one.names.join(", ") || one.id),
      one.state, one.wanted ? `${one.answered} of ${one.wanted}` : "", timeText(one.began), one.host]);
    replace(this.list, h("h2", null, "Replays"), table(["features", "state", { n: "rows" }, "begun", "host"], rows, { caption: "Replays" }));
  }
}

function totals(all) {
  const hours = numberText(Number((all.gpu_seconds / 3600).toPrecision(2)));
  const cells = [["segments", all.segments], ["workers", all.workers], ["time", secondsText(all.makespan_seconds)],
    ["in nine of ten cases", `${secondsText(all.makespan_low_seconds)} to ${secondsText(all.makespan_high_seconds)}`], [all.hours, hours],
    ["price", all.price === null ? "no price set" : numberText(all.price)]];
  return table(cells.map(([name]) => ({ n: name })), [cells.map(([, value]) => value)], { caption: "What it takes in all" });
}

function versionTable(rows) {
  const columns = ["run", "version", "features", "region", "operator", { n: "epochs" }, { n: "pieces" }, { n: "time" }, { n: "interval" }];
  const body = rows.slice(0, MOST_VERSIONS).map((one) => [one.run, one.version.slice(0, 8), one.features.join(", "), one.regions.join(", "), one.operator, one.epochs, one.pieces,
    `${secondsText(one.seconds)}${one.known ? "" : " ?"}`, `${secondsText(one.low)} to ${secondsText(one.high)}`]);
  const more = rows.length > MOST_VERSIONS ? `... and ${rows.length - MOST_VERSIONS} more versions.` : null;
  return h("details", { open: rows.length <= 12 }, h("summary", null, `${rows.length} versions`), table(columns, body, { caption: "Versions of the plan", more }));
}

const runsOf = (versions) => Object.fromEntries(versions.map((one) => [one.version, one.run]));

// A unified diff, a line each.
function diff(text) {
  const kind = (line) => (/^(\+\+\+|---|@@)/.test(line) ? "at" : line.startsWith("+") ? "plus" : line.startsWith("-") ? "minus" : null);
  return h("pre", { class: "diff" }, text.split("\n").map((line) => h("span", { class: kind(line) }, line || " ")));
}
