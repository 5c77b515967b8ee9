// Curves: any number of features, over epochs, steps or time; runs by colour, or grouped by an argument.
import { append, h, replace, settled } from "../dom.js";
import { get } from "../api.js";
import { hash } from "../app.js";
import { numberText } from "../cells.js";
import { OTHER, SIGNS, chart, hue, trustClass } from "../chart.js";
import { followRunning } from "../follow.js";
import { uPlot } from "../plots.js";
import { table } from "../tables.js";
import { opened } from "../values.js";

export const title = "Curves";
const AXES = { epoch: "epoch", step: "step", time: "seconds since the start" };
const FIRST = ["loss", "train_loss", "accuracy", "acc"]; // features that are shown where none is asked for
const MOST_OPEN = 12; // values that are opened side by side

export async function show(root, query, page) {
  uPlot().catch(() => null); // in time for the first chart, which tells what goes wrong
  const asking = get("features", {}, page.signal);
  const isNamed = listOf(query, "name", "names").length > 0; // then curves need not wait for the names of all others
  const view = new View(root, isNamed ? [] : (await asking).features, query, page);
  const loading = view.load();
  view.features = (await asking).features;
  await loading;
  view.drawControls(view.data?.arguments ?? []);
  const unfollow = await followRunning([], () => view.refresh(), page.signal);
  return () => {
    unfollow();
    view.end();
  };
}

// names=a,b and name=a&name=b
export function listOf(query, one, many) {
  return [...query.getAll(one), ...query.getAll(many).flatMap((text) => text.split(","))].filter(Boolean);
}

export function runLabel(run) {
  return `${run.run || run.version.slice(0, 8)}${run.run ? ` ${run.version.slice(0, 8)}` : ""}`;
}

class View {
  constructor(root, features, query, page) {
    Object.assign(this, { features, page, charts: new Map(), data: null, hidden: new Set() });
    const known = new Set(features.map((one) => one.name));
    const names = listOf(query, "name", "names");
    const first = FIRST.filter((name) => known.has(name)).slice(0, 2);
    this.asked = {
      names: names.length ? names : first.length ? first : features.slice(0, 1).map((one) => one.name),
      versions: listOf(query, "version", "versions"),
      axis: query.get("axis") in AXES ? query.get("axis") : "epoch",
      by: query.get("by") ?? "", smooth: Number(query.get("smooth") ?? 0) || 0,
      log: query.get("log") === "true", logY: query.get("logy") === "true", best: query.get("best") ?? "",
      first: number(query.get("first")), last: number(query.get("last")),
    };
    this.refresh = settled(() => this.load(), 300);
    this.controls = h("form", { class: "bar", onsubmit: (event) => event.preventDefault() });
    this.notes = h("div", { class: "soft", role: "status" });
    this.legend = h("ul", { class: "legend" });
    this.grid = h("div", { class: "charts" });
    append(root, h("h1", null, title), this.controls, this.notes, this.legend, this.grid);
  }

  end() {
    for (const one of this.charts.values()) one.end();
  }

  // Which end of a feature is the good one, where nobody has said so.
  best(name) {
    return this.asked.best || (/loss|err|perplexity|mse|mae|rmse|nll/i.test(name) ? "least" : "greatest");
  }

  async load() {
    const asked = this.asked;
    const turn = (this.turn = (this.turn ?? 0) + 1);
    if (!asked.names.length) {
      this.drawControls([]);
      replace(this.grid, h("p", { class: "soft" }, "Nothing is logged yet. Choose a feature above once there is one."));
      return;
    }
    const pixels = Math.max(100, Math.min(8000, Math.round(this.grid.clientWidth * (devicePixelRatio || 1)) || 1000));
    const ask = (names, best) => get("curves", {
      name: names, version: asked.versions, axis: asked.axis, pixels, first: asked.first, last: asked.last,
      log: asked.log, smooth: asked.smooth || null, by: asked.by, best,
    }, this.page.signal);
    try {
      const parts = await Promise.all(["greatest", "least"].map((best) => {
        const names = asked.names.filter((name) => this.best(name) === best);
        return names.length ? ask(names, best) : null;
      }));
      if (turn !== this.turn) return; // something else has been asked for meanwhile
      const found = parts.filter(Boolean);
      this.data = {
        ...found[0], features: found.flatMap((one) => one.features), notes: [...new Set(found.flatMap((one) => one.notes))],
        curves: found.flatMap((one) => one.curves ?? []), bands: found.flatMap((one) => one.bands ?? []),
        window: { first: Math.min(...found.map((one) => one.window.first)), last: Math.max(...found.map((one) => one.window.last)) },
      };
      this.page.clearAlert();
      await this.draw();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.drawControls([]);
      this.page.alert(error.message);
    }
  }

  change(what) {
    Object.assign(this.asked, what);
    const { names, versions, axis, by, smooth, log, logY, best, first, last } = this.asked;
    const said = { axis, by, smooth: smooth || "", log: log || "", logy: logY || "", best, first: first ?? "", last: last ?? "" };
    const pairs = Object.entries(said).filter(([, value]) => value !== "");
    this.page.setQuery([...names.map((name) => ["name", name]), ...versions.map((version) => ["version", version]), ...pairs]);
    return this.load();
  }

  async draw() {
    const data = this.data;
    this.drawControls(data.arguments);
    replace(this.notes, data.notes.map((note) => h("p", null, note)));
    this.drawLegend();
    const wanted = new Set(this.asked.names);
    for (const [name, one] of this.charts) {
      if (wanted.has(name)) continue;
      one.end();
      one.root.remove();
      this.charts.delete(name);
    }
    const order = [...data.features].sort((a, b) => this.asked.names.indexOf(a.name) - this.asked.names.indexOf(b.name));
    for (const feature of order) await this.drawFeature(feature);
  }

  async drawFeature(feature) {
    let one = this.charts.get(feature.name);
    if (!one) {
      one = new Panel(this, feature.name);
      this.charts.set(feature.name, one);
      this.grid.append(one.root);
    }
    await one.show(feature, this.data);
  }

  colourOf(label) {
    return hue(this.labels.indexOf(label));
  }

  // Runs, or groups, with what each colour means; a click hides one.
  drawLegend() {
    const { runs, bands } = this.data;
    const by = this.asked.by;
    this.labels = by ? [...new Set(bands.map((band) => band.group))] : runs.map((run) => run.version);
    const labelled = by ? this.labels.map((label) => [label, `${by} = ${label}`]) : runs.map((run) => [run.version, runLabel(run)]);
    replace(this.legend, labelled.map(([id, text], i) => {
      const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.setProperty("background", hue(i));
      const toggle = () => {
        if (!this.hidden.delete(id)) this.hidden.add(id);
        this.draw();
      };
      return h("li", null, h("button", { type: "button", class: "quiet", "aria-pressed": String(!this.hidden.has(id)), onclick: toggle, title: "Show or hide" }, swatch, text));
    }));
    if (!this.asked.versions.length) append(this.legend, h("li", null, h("a", { href: hash("runs") }, "Choose runs")));
  }

  drawControls(known) {
    const asked = this.asked;
    const option = (value, text, chosen) => h("option", { value, selected: value === chosen }, text);
    const select = (label, values, chosen, change) =>
      h("label", null, `${label} `, h("select", { onchange: (event) => change(event.target.value) }, values.map(([value, text]) => option(value, text, chosen))));
    const check = (label, on, change) => h("label", null, h("input", { type: "checkbox", checked: on, onchange: (event) => change(event.target.checked) }), ` ${label}`);
    const focused = document.activeElement?.dataset?.control;
    replace(this.controls, this.featurePicker(),
      select("over", Object.entries(AXES), asked.axis, (axis) => this.change({ axis, first: null, last: null })),
      select("group by", [["", "no argument"], ...known.map((name) => [name, name])], asked.by, (by) => this.change({ by })),
      h("label", null, "smooth ", h("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: asked.smooth, "data-control": "smooth", oninput: settled((event) => this.change({ smooth: Number(event.target.value) }), 120) }), ` ${asked.smooth || "no"}`),
      check("log x", asked.log, (log) => this.change({ log, first: null, last: null })), check("log y", asked.logY, (logY) => this.change({ logY })),
      select("mark", [["", "the best"], ["greatest", "the greatest"], ["least", "the least"]], asked.best, (best) => this.change({ best })),
      asked.first !== null || asked.last !== null ? h("button", { type: "button", onclick: () => this.reset() }, "All of it") : h("span", { class: "soft" }, "Drag to zoom"));
    if (focused) this.controls.querySelector(`[data-control="${focused}"]`)?.focus();
  }

  featurePicker() {
    const every = [...new Set([...this.asked.names, ...this.features.map((one) => one.name)])];
    const about = new Map(this.features.map((one) => [one.name, one]));
    const toggle = (name, on) => {
      const names = on ? [...this.asked.names, name] : this.asked.names.filter((one) => one !== name);
      this.change({ names });
    };
    const list = h("div", { class: "choices" }, every.map((name) => h("label", null,
      h("input", { type: "checkbox", checked: this.asked.names.includes(name), onchange: (event) => toggle(name, event.target.checked) }),
      ` ${about.get(name)?.label ?? name}`, about.get(name)?.virtual ? h("span", { class: "soft" }, " (no values yet)") : null)));
    this.isOpen = this.picker?.open ?? false;
    this.picker = h("details", { class: "picker", open: this.isOpen }, h("summary", null, `${this.asked.names.length} of ${every.length} features`), list);
    return this.picker;
  }

  zoom(first, last) {
    return this.change({ first, last });
  }

  reset() {
    return this.change({ first: null, last: null });
  }
}

function number(text) {
  return text === null || text === "" || !Number.isFinite(Number(text)) ? null : Number(text);
}

// One feature: its chart, what is said of it, its holes, its values that are no numbers.
class Panel {
  constructor(view, name) {
    Object.assign(this, { view, name, drawing: null });
    this.head = h("div", { class: "bar" });
    this.plot = h("div");
    this.below = h("div");
    this.root = h("section", { class: "card feature", "aria-label": name }, this.head, this.plot, this.below);
  }

  end() {
    this.drawing?.end();
  }

  async show(feature, data) {
    const view = this.view, asked = view.asked;
    const mine = data.curves.filter((one) => one.name === this.name && !view.hidden.has(one.version));
    const bands = data.bands.filter((one) => one.name === this.name && !view.hidden.has(one.group));
    this.drawHead(feature, data);
    if (feature.kind === "numbers") {
      const least = view.best(this.name) === "least";
      this.drawing ??= await chart(this.plot, { title: feature.label, zoom: (a, b) => view.zoom(a, b), reset: () => view.reset() });
      Object.assign(this.drawing.asked, { axis: asked.axis, xLog: asked.log, yLog: asked.logY, least });
      const runs = new Map(data.runs.map((run) => [run.version, run]));
      this.drawing.show({
        window: data.window,
        lines: mine.map((one) => ({ ...one, label: runLabel(runs.get(one.version)), colour: view.colourOf(one.version), marks: feature.marks })),
        bands: bands.map((one) => ({ ...one, label: `${asked.by} = ${one.group}`, colour: view.colourOf(one.group) })),
      });
      this.root.classList.remove("broad");
    } else {
      this.root.classList.toggle("broad", feature.kind === "others");
      this.drawing?.end();
      this.drawing = null;
      replace(this.plot, feature.kind === "none" ? h("p", { class: "soft" }, "No values yet.") : null);
    }
    replace(this.below, this.said(feature, mine, bands, data), feature.kind === "others" ? this.opener(mine, data) : null);
  }

  drawHead(feature, data) {
    const versions = data.runs.map((run) => run.version);
    const words = feature.kind === "none" ? "Fill it" : `Fill ${feature.missing} ${feature.missing === 1 ? "hole" : "holes"}`;
    const holes = feature.missing
      ? h("a", { class: "button", href: hash("backfill", [["name", this.name], ...versions.map((version) => ["version", version])]) }, words)
      : null;
    replace(this.head, h("h2", null, feature.label), holes);
  }

  // What a reader who does not see the chart, or wants the numbers, is told.
  said(feature, lines, bands, data) {
    const trusts = feature.marks.filter((mark) => mark.trust !== "recorded");
    const kinds = [...new Set(trusts.map((mark) => mark.trust))];
    const key = kinds.length
      ? h("p", null, "Replayed values: ", kinds.map((trust) => h("span", { class: trustClass(trust) }, ` ${SIGNS[trust]} ${trust}`)))
      : null;
    const nonPositive = this.view.asked.logY ? lines.reduce((sum, one) => sum + one.y.filter((y) => y !== null && y <= 0).length, 0) : 0;
    const hidden = nonPositive ? h("p", { class: "soft" }, `${nonPositive} of the values drawn are not above 0 and cannot be shown on a log axis.`) : null;
    if (feature.kind !== "numbers") return [key];
    const runs = new Map(data.runs.map((run) => [run.version, run]));
    const columns = bands.length ? ["group", { n: "runs" }, "values", "left out"] : ["run", { n: "points" }, { n: this.view.best(this.name) }, "at", { n: "end" }, { n: "holes" }];
    const at = (point) => (point ? `epoch ${point.epoch}${point.step >= 0 ? `, step ${point.step}` : ""}` : "");
    const rows = bands.length
      ? bands.map((one) => [one.group, one.versions.length, Object.entries(one.trust).map(([trust, count]) => `${count} ${trust}`).join(", "), one.left_out])
      : lines.map((one) => [runLabel(runs.get(one.version)), one.points - one.gaps, one.peak ? numberText(one.peak.y) : "", at(one.peak), one.end ? numberText(one.end.y) : "", one.gaps || ""]);
    this.isOpen = this.details?.open ?? false;
    this.details = h("details", { open: this.isOpen }, h("summary", null, "In numbers"), table(columns, rows, { caption: feature.label }));
    return [key, hidden, this.details];
  }

  // Values that are no numbers, of one epoch, side by side.
  opener(lines, data) {
    const places = [];
    for (const line of lines) {
      for (let i = 0; i < line.x.length; i++) {
        if (line.state?.[i] === OTHER) places.push({ version: line.version, epoch: line.epoch[i], step: line.step?.[i] ?? -1, iteration: line.iteration?.[i] ?? 0 });
      }
    }
    const epochs = [...new Set(places.map((place) => place.epoch))].sort((a, b) => a - b);
    if (!epochs.length) return h("p", { class: "soft" }, "No values yet.");
    this.epoch = epochs.includes(this.epoch) ? this.epoch : epochs[epochs.length - 1];
    const cards = h("div", { class: "values" });
    const word = h("output", null);
    const draw = async () => {
      word.textContent = this.epoch < 0 ? "outside the loop" : `epoch ${this.epoch}`;
      const chosen = lines.map((line) => places.findLast((place) => place.version === line.version && place.epoch === this.epoch)).filter(Boolean);
      const runs = new Map(data.runs.map((run) => [run.version, run]));
      const made = await Promise.all(chosen.slice(0, MOST_OPEN).map((place) =>
        opened({ name: this.name, ...place }, runLabel(runs.get(place.version)), this.view.page.signal)
          .catch((error) => (error.name === "AbortError" ? null : h("p", { class: "card" }, error.message)))));
      const more = chosen.length > MOST_OPEN ? h("p", { class: "soft" }, `${chosen.length - MOST_OPEN} more runs have one; hide some to see them.`) : null;
      replace(cards, made, more);
    };
    const pick = h("input", {
      type: "range", min: 0, max: epochs.length - 1, step: 1, value: epochs.indexOf(this.epoch), "aria-label": "Epoch",
      oninput: settled((event) => { this.epoch = epochs[Number(event.target.value)]; draw(); }, 80),
    });
    draw();
    return [h("p", { class: "bar" }, epochs.length > 1 ? pick : null, word), cards];
  }
}
