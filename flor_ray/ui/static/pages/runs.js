// All runs in one table: rows are asked for as they come into sight; filter, order and columns are in the URL.
import { get } from "../api.js";
import { hash } from "../app.js";
import { cellNode, cellText, isNumeric, secondsText, timeText } from "../cells.js";
import { append, h, replace, settled } from "../dom.js";

export const title = "Runs";

const BLOCK = 100; // rows of one question
const ROW = 30; // pixels; rows are equally high, so that a place on the scrollbar is a row
const FRESH_MILLISECONDS = 5000;
const VERDICTS = {
  exact: ["✓", "replayed: exact"],
  "within tolerance": ["≈", "replayed: within tolerance"],
  unverified: ["?", "replayed: nothing that was recorded was computed again to compare"],
  diverged: ["≠", "replayed: diverged from what was recorded"],
};

export async function show(root, query, page) {
  const table = new RunsTable(root, query, page);
  await table.begin();
  return () => table.end();
}

// The class of page.css for a verdict.
function verdictClass(verdict) {
  return `verdict-${verdict.split(" ")[0]}`;
}

class RunsTable {
  constructor(root, query, page) {
    this.root = root;
    this.page = page;
    this.where = query.get("where") ?? "";
    this.sort = query.getAll("sort");
    this.columns = query.getAll("columns"); // none: the server chooses
    this.pinned = new Set(query.has("pinned") ? query.getAll("pinned") : ["run"]);
    this.selected = new Set();
    this.blocks = new Map(); // number of a block -> rows, or a promise of them
    this.shown = []; // columns as the server described them
    this.virtual = new Map();
    this.total = 0;
    this.question = 0; // answers to an earlier question are dropped
    this.drawn = "";
  }

  async begin() {
    this.build();
    await this.ask();
    this.timer = setInterval(() => this.refresh(), FRESH_MILLISECONDS);
    this.askColumns();
  }

  end() {
    clearInterval(this.timer);
    this.observer?.disconnect();
  }

  build() {
    this.filter = h("input", {
      id: "where", class: "code grow", value: this.where, spellcheck: "false", autocomplete: "off",
      placeholder: "status = 'finished' AND lr < 0.1", "aria-describedby": "filter-said",
    });
    const filterForm = h("form", {
      class: "bar", role: "search",
      onsubmit: (event) => {
        event.preventDefault();
        this.setFilter(this.filter.value);
      },
    },
    h("label", { for: "where" }, "Filter in SQL"), this.filter, h("button", { class: "main" }, "Apply"),
    h("button", { type: "button", onclick: () => this.setFilter("") }, "Clear"));
    this.said = h("p", { id: "filter-said", class: "soft", role: "status" });
    this.chooser = h("details", { class: "chooser" }, h("summary", null, "Columns"));
    this.curves = h("a", { href: hash("curves") }, "Curves");
    this.compare = h("a", { href: hash("compare") }, "Compare");
    this.actions = h("div", { class: "bar" }, this.chooser, h("span", { class: "grow" }), this.curves, this.compare);
    this.head = h("thead");
    this.body = h("tbody");
    this.table = h("table", { class: "runs", "aria-describedby": "filter-said" },
      h("caption", { class: "only-read" }, "Runs; a header sorts by its column"), this.head, this.body);
    this.scroller = h("div", {
      class: "scroller", tabindex: "0", role: "region", "aria-label": "Runs", onscroll: () => this.draw(),
    }, this.table);
    this.status = h("p", { class: "soft" });
    replace(this.body, h("tr", null, h("td", { class: "soft" }, "Listing the runs …")));
    append(this.root, h("h1", null, "Runs"), filterForm, this.said, this.actions, this.scroller, this.status);
    this.observer = new ResizeObserver(settled(() => this.draw(), 50));
    this.observer.observe(this.scroller);
    this.scroller.addEventListener("keydown", (event) => this.keyed(event));
  }

  keyed(event) {
    if (event.target !== this.scroller) return;
    const rows = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!rows) return;
    event.preventDefault();
    this.scroller.scrollTop += rows * ROW;
  }

  // --- questions ------------------------------------------------------------------------------------------------

  parameters() {
    return { where: this.where || null, sort: this.sort, columns: this.columns };
  }

  remember() {
    const query = [];
    if (this.where) query.push(["where", this.where]);
    for (const one of this.sort) query.push(["sort", one]);
    for (const one of this.columns) query.push(["columns", one]);
    if (!(this.pinned.size === 1 && this.pinned.has("run"))) {
      for (const one of this.pinned.size ? this.pinned : [""]) query.push(["pinned", one]);
    }
    this.page.setQuery(query);
  }

  // Ask anew, from the block that is in sight.
  async ask({ keepsPlace = false } = {}) {
    const question = ++this.question;
    if (!keepsPlace) this.scroller.scrollTop = 0;
    const block = Math.floor(Math.floor(this.scroller.scrollTop / ROW) / BLOCK);
    this.table.setAttribute("aria-busy", "true");
    try {
      const found = await get("runs", { ...this.parameters(), first: block * BLOCK, count: BLOCK }, this.page.signal);
      if (question !== this.question) return;
      this.page.clearAlert();
      this.filter.removeAttribute("aria-invalid");
      this.blocks = new Map([[block, found.rows]]);
      // Numbers stand below the right end of their header, and times, which are numbers to the server, below its left.
      this.shown = found.columns.map((column, i) =>
        ({ ...column, isNumeric: !column.time && found.rows.some((row) => isNumeric(row.cells[i])) }));
      this.total = found.total;
      this.every = found.every;
      this.snapshot = found.snapshot;
      this.drawn = "";
      this.drawHead();
      this.draw();
      replace(this.said, found.total === found.every ? `${found.every} runs` : `${found.total} of ${found.every} runs`);
    } catch (error) {
      this.failed(error, question);
    } finally {
      this.table.removeAttribute("aria-busy");
    }
  }

  failed(error, question) {
    if (error.name === "AbortError" || question !== this.question) return;
    if (!error.kind) throw error;
    if (error.kind === "BadStatement") this.filter.setAttribute("aria-invalid", "true");
    this.page.alert(error.message);
  }

  async askBlock(block) {
    const question = this.question;
    this.blocks.set(block, null);
    try {
      const found = await get("runs", { ...this.parameters(), first: block * BLOCK, count: BLOCK }, this.page.signal);
      if (question !== this.question) return;
      if (found.snapshot !== this.snapshot) return void this.ask({ keepsPlace: true });
      this.blocks.set(block, found.rows);
      this.drawn = "";
      this.draw();
    } catch (error) {
      this.blocks.delete(block);
      this.failed(error, question);
    }
  }

  // Look whether there is something new.
  async refresh() {
    if (document.hidden) return;
    try {
      const found = await get("runs", { count: 0, columns: "run" }, this.page.signal);
      if (found.snapshot !== this.snapshot) {
        await this.ask({ keepsPlace: true });
        await this.askColumns();
      }
      replace(this.status);
    } catch (error) {
      if (error.name !== "AbortError") replace(this.status, error.message);
    }
  }

  async askColumns() {
    try {
      const found = await get("runs/columns", null, this.page.signal);
      this.virtual = new Map(found.virtual.map((one) => [one.column, one]));
      this.every_column = found.columns;
      this.drawChooser();
      this.drawHead();
      if (found.virtual.some((one) => this.shown.some((column) => column.name === one.column))) {
        await this.ask({ keepsPlace: true }); // rows tell their shares now
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!error.kind) throw error;
      this.page.alert(error.message);
    }
  }

  setFilter(where) {
    this.where = where.trim();
    this.filter.value = this.where;
    this.remember();
    this.ask();
  }

  sortBy(name) {
    const [first] = this.sort.length ? this.sort : ["-started"];
    this.sort = [first === `-${name}` ? name : first === name ? `-${name}` : `-${name}`];
    this.remember();
    this.ask();
  }

  setColumns(names) {
    this.columns = names;
    this.remember();
    this.ask({ keepsPlace: true });
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  drawHead() {
    const [first] = this.sort.length ? this.sort : ["-started"];
    const order = this.ordered();
    const cells = order.map(({ column }) => {
      const isSorted = first.replace(/^-/, "") === column.name;
      const direction = !isSorted ? null : first.startsWith("-") ? "descending" : "ascending";
      const virtual = this.virtual.get(column.name);
      return h("th", { scope: "col", "aria-sort": direction, class: this.classes(column) },
        h("button", { type: "button", class: "sorter", title: `Sort by ${column.shown}`,
          onclick: () => this.sortBy(column.name) }, column.shown,
        direction ? h("span", { "aria-hidden": "true" }, direction === "ascending" ? " ▲" : " ▼") : null),
        virtual ? this.shareNode(virtual) : null);
    });
    const choose = h("th", { scope: "col", class: "choose" }, h("span", { class: "only-read" }, "Chosen"));
    replace(this.head, h("tr", { "aria-rowindex": "1" }, choose, cells));
    this.placePinned();
  }

  shareNode(virtual) {
    if (!virtual.places || virtual.answered >= virtual.places) return null;
    const share = Math.floor((100 * virtual.answered) / virtual.places);
    const least = virtual.exact ? "" : "≥ ";
    return h("a", { class: "share", href: hash("backfill", { names: virtual.name }),
      title: `${virtual.at.join(", ")} logs it; ${least}${virtual.answered} of ${virtual.places} places are answered. Fill it` },
    `${least}${share} %`);
  }

  // Columns in the order in which they stand: pinned ones first.
  ordered() {
    const indexed = this.shown.map((column, index) => ({ column, index }));
    return [...indexed.filter((one) => this.pinned.has(one.column.name)),
      ...indexed.filter((one) => !this.pinned.has(one.column.name))];
  }

  // Pinned columns stay where they are while others scroll.
  placePinned() {
    requestAnimationFrame(() => {
      let left = 0;
      for (const cell of this.head.querySelectorAll(".choose, .pinned")) {
        const index = [...cell.parentNode.children].indexOf(cell);
        this.table.style.setProperty(`--left-${index}`, `${left}px`);
        cell.style.setProperty("left", `var(--left-${index})`);
        left += cell.offsetWidth;
      }
    });
  }

  draw() {
    if (this.snapshot === undefined) return; // the first answer is not there yet
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - 10);
    const count = Math.ceil((this.scroller.clientHeight || 600) / ROW) + 20;
    const last = Math.min(this.total, first + count);
    for (let block = Math.floor(first / BLOCK); block * BLOCK < last; block += 1) {
      if (!this.blocks.has(block)) this.askBlock(block);
    }
    const drawn = `${this.question} ${first} ${last} ${[...this.blocks.keys()].length}`;
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.table.setAttribute("aria-rowcount", this.total + 1);
    const order = this.ordered();
    const rows = [];
    for (let number = first; number < last; number += 1) {
      rows.push(this.rowNode(number, this.blocks.get(Math.floor(number / BLOCK))?.[number % BLOCK], order));
    }
    const focused = this.body.contains(document.activeElement) ? document.activeElement.id : null;
    replace(this.body, this.spacer(first), rows, this.spacer(this.total - last));
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    if (!this.total) {
      const what = this.every ? "No run is left by this filter." : "Nothing is recorded yet: run a script that calls flor_ray.";
      replace(this.body, h("tr", null, h("td", { colspan: order.length + 1, class: "soft" }, what)));
    }
    this.placePinned();
  }

  spacer(rows) {
    const row = h("tr", { "aria-hidden": "true", class: "spacer" });
    row.style.setProperty("height", `${rows * ROW}px`);
    return rows ? row : null;
  }

  rowNode(number, row, order) {
    const attributes = { "aria-rowindex": number + 2 };
    if (!row) return h("tr", attributes, h("td", { colspan: order.length + 1, class: "soft" }, "…"));
    const box = h("input", { type: "checkbox", id: `choose-${row.version}`, checked: this.selected.has(row.version),
      "aria-label": `Choose ${cellText(row.cells[0])} ${row.version.slice(0, 8)}`,
      onchange: (event) => this.choose(row.version, event.target.checked) });
    const cells = order.map(({ column, index }) => this.cellNode(row, column, row.cells[index]));
    return h("tr", attributes, h("td", { class: "choose" }, box), cells);
  }

  classes(column) {
    return [this.pinned.has(column.name) ? "pinned" : "", column.isNumeric ? "n" : ""].join(" ").trim() || null;
  }

  cellNode(row, column, cell) {
    const parts = [this.valueNode(row, column, cell), this.markNode(row, column)];
    return h("td", { class: this.classes(column) }, column.isNumeric ? parts.reverse() : parts); // digits stay below digits
  }

  valueNode(row, column, cell) {
    if (column.time) return timeText(cell);
    if (column.name === "version") {
      return h("a", { href: hash("compare", { versions: row.version }), title: row.version }, row.version.slice(0, 8));
    }
    if (column.name === "seconds") return secondsText(cell);
    if (column.name === "verdict" && cell) return h("span", { class: verdictClass(cell) }, `${VERDICTS[cell]?.[0] ?? ""} ${cell}`);
    const share = row.shares?.[column.name];
    if ((cell === null || cell === undefined) && share && share[0] < share[1]) {
      return h("a", { class: "hole", title: `${share[0]} of ${share[1]} places are answered. Fill it`,
        href: hash("backfill", { names: this.virtual.get(column.name)?.name ?? column.name, versions: row.version }) }, "fill");
    }
    return cellNode(cell);
  }

  markNode(row, column) {
    const verdict = row.marks?.[column.name];
    if (!verdict) return null;
    const [sign, words] = VERDICTS[verdict] ?? ["?", verdict];
    return h("span", { class: `mark ${verdictClass(verdict)}`, title: words }, ` ${sign} `, h("span", { class: "only-read" }, ` ${words} `));
  }

  choose(version, isChosen) {
    if (isChosen) this.selected.add(version);
    else this.selected.delete(version);
    const versions = [...this.selected].join(",");
    this.curves.setAttribute("href", hash("curves", versions ? { versions } : {}));
    this.compare.setAttribute("href", hash("compare", versions ? { versions } : {}));
    const chosen = this.selected.size ? ` ${this.selected.size} chosen` : "";
    replace(this.curves, `Curves${chosen && ` of`}${chosen}`);
    replace(this.compare, `Compare${chosen}`);
  }

  drawChooser() {
    const shown = new Set(this.shown.map((column) => column.name));
    const find = h("input", { type: "search", placeholder: "Find a column", "aria-label": "Find a column",
      oninput: () => list() });
    const items = h("ul", { class: "columns" });
    const list = () => {
      const found = this.every_column.filter((one) => one.shown.toLowerCase().includes(find.value.toLowerCase()));
      replace(items, found.slice(0, 300).map((one) => this.columnItem(one, shown)));
      if (found.length > 300) items.append(h("li", { class: "soft" }, `${found.length - 300} more: type a part of the name`));
    };
    list();
    replace(this.chooser, h("summary", null, "Columns"), h("div", { class: "card panel" }, find, items,
      h("button", { type: "button", onclick: () => { this.setColumns([]); this.askColumns(); } }, "As at first")));
  }

  columnItem(one, shown) {
    const toggled = (event) => {
      const names = this.shown.map((column) => column.name).filter((name) => name !== one.name);
      if (event.target.checked) names.push(one.name);
      shown[event.target.checked ? "add" : "delete"](one.name);
      this.setColumns(names.length ? names : ["run"]);
    };
    const pin = h("button", { type: "button", class: "quiet", "aria-pressed": String(this.pinned.has(one.name)),
      onclick: () => {
        if (this.pinned.has(one.name)) this.pinned.delete(one.name);
        else this.pinned.add(one.name);
        pin.setAttribute("aria-pressed", String(this.pinned.has(one.name)));
        this.remember();
        this.drawn = "";
        this.drawHead();
        this.draw();
      } }, "pin");
    return h("li", null, h("label", null,
      h("input", { type: "checkbox", checked: shown.has(one.name), onchange: toggled }), ` ${one.shown}`,
      h("span", { class: "soft" }, ` ${this.virtual.has(one.name) ? "newest code" : one.kind}`)), pin);
  }
}
