// Versions beside each other: code, arguments, environment, values, and where a statement would land.
import { get } from "../api.js";
import { hash } from "../app.js";
import { cellNode, numberText, secondsText, timeText } from "../cells.js";
import { append, h, replace } from "../dom.js";
import { table } from "../tables.js";

export const title = "Compare";

const STATES = { same: "=", changed: "changed", added: "added", removed: "removed", absent: "" };
const LEVELS = { d: "outside the loop", o: "per epoch", i: "per step" };

export async function show(root, query, page) {
  const versions = (query.get("versions") ?? "").split(",").filter(Boolean);
  append(root, h("h1", null, "Compare"));
  const chooser = chooserNode(versions);
  append(root, chooser);
  if (!versions.length) {
    append(root, h("p", null, "Choose two or more runs in the table of ", h("a", { href: hash("runs") }, "runs"), ", then Compare."));
    return;
  }
  const found = await get("compare", { versions }, page.signal);
  append(root,
    overview(found),
    h("section", { "aria-label": "Values" }, h("h2", null, "Values"), diverging(found)),
    h("section", { "aria-label": "Code" }, h("h2", null, "Code"), new Code(found, page).node),
    h("section", { "aria-label": "Where a statement lands" }, h("h2", null, "Where a statement would land"),
      landing(found, page, query.get("name"))),
    facts("Arguments", found.arguments, found.versions, false),
    facts("Environment", found.environment, found.versions, true));
}

function chooserNode(versions) {
  const input = h("input", { id: "versions", class: "code grow", value: versions.join(","), spellcheck: "false",
    placeholder: "a1b2c3, d4e5f6" });
  return h("form", { class: "bar", onsubmit: (event) => {
    event.preventDefault();
    const found = input.value.split(/[\s,]+/).filter(Boolean);
    location.hash = hash("compare", { versions: found.join(",") });
  } }, h("label", { for: "versions" }, "Versions"), input, h("button", { class: "main" }, "Compare"));
}

function nameOf(run) {
  return `${run.run || "run"} ${run.version.slice(0, 8)}`;
}

function overview(found) {
  const rows = found.versions.map((run) => [
    nameOf(run), run.imported ? "imported" : run.status, timeText(run.started), secondsText(run.seconds), run.epochs, cellNode(run.error)]);
  const versions = found.versions.map((run) => run.version).join(",");
  return [table(["Run", "Status", "Started", { n: "Took" }, { n: "Epochs" }, "Error"], rows, { caption: "The versions", heads: true }),
    h("p", null, h("a", { href: hash("curves", { versions }) }, "Curves of these versions"))];
}

// --- values ---------------------------------------------------------------------------------------------------------

function placeText(one) {
  const parts = [];
  if (one.epoch !== null) parts.push(`epoch ${one.epoch}`);
  if (one.step !== null) parts.push(`step ${one.step}`);
  if (one.iteration) parts.push(`value ${one.iteration + 1}`);
  return parts.join(", ") || "outside the loop";
}

function diverging(found) {
  if (found.diverging.length === 0) return h("p", { class: "soft" }, "Name a second version to see where values begin to differ.");
  const [first, ...others] = found.versions;
  return found.diverging.map((pair, index) => {
    const differing = pair.features.filter((one) => one.differing);
    const titleText = `${nameOf(first)} and ${nameOf(others[index])}: `;
    const earliest = differing.find((one) => one.epoch !== null) ?? differing[0]; // arguments come before any step
    const said = !pair.features.length ? "they log no feature at a level that both have."
      : differing.length ? `first different ${earliest.epoch === null ? "" : "at "}${placeText(earliest)}, in ${earliest.shown}.`
        : "all values that both have are equal.";
    return h("div", null, h("p", { class: "first-divergence" }, titleText, h("strong", null, said)),
      pair.features.length ? divergingTable(pair, found) : null);
  });
}

function divergingTable(pair, found) {
  const versions = found.versions.map((run) => run.version).join(",");
  const rows = pair.features.map((one) => [
    h("a", { href: hash("curves", { names: one.name, versions }) }, one.shown), LEVELS[one.level],
    one.differing ? placeText(one) : "no difference", one.differing ? cellNode(one.left) : "", one.differing ? cellNode(one.right) : "",
    `${one.differing} of ${one.common}`, one.only_left || one.only_right ? `${one.only_left} / ${one.only_right}` : ""]);
  const columns = ["Feature", "Level", "First difference", { n: "Left" }, { n: "Right" }, { n: "Different" }, { n: "Only left / right" }];
  return table(columns, rows, { caption: "Where values begin to differ", heads: true });
}

// --- code -----------------------------------------------------------------------------------------------------------

class Code {
  constructor(found, page) {
    this.found = found;
    this.page = page;
    this.node = h("div");
    this.draw();
  }

  draw() {
    const { files, versions } = this.found;
    if (!files.length) return void append(this.node, h("p", { class: "soft" }, "No code is kept of these versions."));
    if (versions.length < 2) return void append(this.node, h("p", { class: "soft" }, `${files.length} files; name a second version to see what differs.`));
    const differing = files.filter((file) => file.differs);
    append(this.node, h("p", { class: "soft" },
      differing.length ? `${differing.length} of ${files.length} files differ.` : `All ${files.length} files are the same.`));
    for (const file of differing) {
      for (let index = 1; index < versions.length; index += 1) {
        if (["same", "absent"].includes(file.states[index])) continue;
        append(this.node, this.fileNode(file, versions[0], versions[index], file.states[index]));
      }
    }
    if (differing.length === 1 && versions.length === 2) this.node.querySelector("details").open = true;
  }

  fileNode(file, left, right, state) {
    const body = h("div", null);
    const details = h("details", { class: "card", ontoggle: () => {
      if (details.open && !body.firstChild) this.load(body, file, left, right, false);
    } }, h("summary", null, h("span", { class: "code" }, file.shown), ` ${STATES[state]} `,
      h("span", { class: "soft" }, `${nameOf(left)} → ${nameOf(right)}`)), body);
    return details;
  }

  async load(body, file, left, right, whole) {
    replace(body, h("p", { class: "soft" }, "Loading …"));
    try {
      const { rows } = await get("compare/code", { left: left.version, right: right.version, path: file.path, whole }, this.page.signal);
      const all = h("button", { type: "button", class: "quiet", onclick: () => this.load(body, file, left, right, !whole) },
        whole ? "Only what differs" : "All lines");
      replace(body, all, sideBySide(rows, nameOf(left), nameOf(right), file.shown));
    } catch (error) {
      if (error.name === "AbortError") return;
      replace(body, h("p", { class: "alert" }, error.message));
    }
  }
}

// Two texts beside each other, as rows of flor_ray/ui/side_by_side.py; on a narrow screen one below the other.
function sideBySide(rows, left, right, caption) {
  const signs = { removed: "−", added: "+", changed: "~", same: "" };
  const lines = rows.map((row) => {
    if (row.kind === "skipped") return h("tr", { class: "skipped" }, h("td", { colspan: "4", class: "soft" }, `${row.skipped} lines that both have`));
    const words = { removed: "removed", added: "added", changed: "changed" }[row.kind];
    const there = (number, kind) => (number === null ? "nothing" : row.kind === "same" ? "" : kind);
    return h("tr", { class: row.kind },
      h("td", { class: `line ${there(row.left, "removed")}` }, row.left ?? ""),
      h("td", { class: `text ${there(row.left, "removed")}` }, row.left_text, words && row.left !== null ? h("span", { class: "only-read" }, ` (${words})`) : null),
      h("td", { class: `line ${there(row.right, "added")}` }, row.right ?? "", h("span", { "aria-hidden": "true" }, ` ${signs[row.kind]}`)),
      h("td", { class: `text ${there(row.right, "added")}` }, row.right_text));
  });
  return h("div", { class: "wide" }, h("table", { class: "sides" }, h("caption", { class: "only-read" }, caption),
    h("colgroup", null, h("col", { class: "line" }), h("col"), h("col", { class: "line" }), h("col")),
    h("thead", null, h("tr", null, h("th", { scope: "col", colspan: "2" }, left), h("th", { scope: "col", colspan: "2" }, right))),
    h("tbody", null, lines)));
}

// --- where a statement lands ----------------------------------------------------------------------------------------

function landing(found, page, name) {
  const body = h("div", { role: "status" });
  const input = h("input", { id: "landing", list: "features", class: "code", value: name ?? "", placeholder: "grad_norm", required: true });
  const names = h("datalist", { id: "features" });
  get("runs/columns", null, page.signal).then((columns) => {
    append(names, columns.virtual.map((one) => h("option", { value: one.name })));
  }, () => null);
  const ask = async () => {
    replace(body, h("p", { class: "soft" }, "Looking for its place …"));
    try {
      const versions = found.versions.map((run) => run.version);
      const answer = await get("compare/landing", { versions, name: input.value }, page.signal);
      replace(body, answer.notes.map((note) => h("p", { class: "soft" }, note)),
        answer.landings.map((one) => landingNode(one, found)));
    } catch (error) {
      if (error.name !== "AbortError") replace(body, h("p", { class: "alert" }, error.message));
    }
  };
  if (name) ask();
  return h("div", null, h("form", { class: "bar", onsubmit: (event) => { event.preventDefault(); ask(); } },
    h("label", { for: "landing" }, "Feature"), input, names, h("button", null, "Show")), body);
}

function landingNode(one, found) {
  const run = found.versions.find((each) => each.version === one.version);
  const findings = one.findings.map((finding) => h("li", null,
    h("strong", { class: finding.fate === "refused" ? "verdict-diverged" : finding.doubtful ? "verdict-unverified" : null },
      finding.fate === "present" ? "already there" : finding.fate),
    ` ${finding.where}`, finding.confidence && finding.fate !== "present" ? ` (confidence ${numberText(Number(finding.confidence.toFixed(2)))})` : "",
    finding.why ? `: ${finding.why}` : ""));
  return h("div", { class: "card" }, h("h3", null, nameOf(run)),
    findings.length ? h("ul", null, findings) : h("p", { class: "soft" }, "No statement of it has a place here."),
    one.files.map((file) => sideBySide(file.rows, "as it was", "with the statement", file.path)));
}

// --- facts ----------------------------------------------------------------------------------------------------------

function facts(name, all, versions, isLong) {
  const differing = all.filter((fact) => fact.differs);
  const told = (some) => table(["", ...versions.map(nameOf)], some.map((fact) => [fact.name, ...fact.values.map(cellNode)]),
    { caption: name, heads: true, className: "facts", marked: (i) => (some[i].differs ? "differs" : null) });
  const body = h("div");
  const draw = (some) => replace(body, some.length ? told(some) : h("p", { class: "soft" }, all.length ? "No difference." : "None."));
  draw(isLong && versions.length > 1 ? differing : all);
  const toggle = h("input", { type: "checkbox", onchange: (event) => draw(event.target.checked ? all : differing) });
  return h("section", { "aria-label": name }, h("h2", null, name),
    isLong && versions.length > 1 ? h("label", null, toggle, ` all ${all.length} entries`) : null, body);
}
