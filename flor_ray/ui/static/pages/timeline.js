// Timeline: what each worker did, live and afterwards; estimate against reality.
import { append, h, replace } from "../dom.js";
import { get } from "../api.js";
import { secondsText, timeText } from "../cells.js";
import { OVER, follow } from "../follow.js";
import { draw as drawStanding } from "../standing.js";

export const title = "Timeline";

export async function show(root, query, page) {
  const chosen = h("section", { class: "card hidden", "aria-label": "The replay" });
  const list = h("section");
  append(root, h("h1", null, title), chosen, list);
  let end = null;
  const choose = (id) => {
    end?.();
    page.setQuery([["replay", id]]);
    chosen.classList.remove("hidden");
    end = follow(id, (standing) => {
      drawStanding(chosen, standing, page, (next) => choose(next.id));
      if (OVER.has(standing.state)) drawList();
    });
  };
  const drawList = async () => {
    const [{ replays }, { timelines }] = await Promise.all([get("replays", {}, page.signal), get("timelines", {}, page.signal)]);
    const of = new Map(timelines.map((one) => [one.id, one]));
    const others = timelines.filter((one) => !replays.some((replay) => replay.replay === one.id))
      .map((one) => ({ id: one.id, replay: one.id, names: one.names, state: one.complete ? "finished" : "stopped", began: null }));
    const every = [...replays, ...others];
    if (!every.length) {
      replace(list, h("p", { class: "soft" }, "No replay has run yet. Backfill starts one."));
      return [];
    }
    const columns = ["features", "state", "begun", "workers", "took", "estimated", "bound", "busy"];
    const numeric = new Set(columns.slice(3));
    const rows = every.map((one) => {
      const line = of.get(one.replay);
      const all = line ? line.seconds * line.workers : 0;
      const cells = [one.state, timeText(one.began), line?.workers ?? "", line ? secondsText(line.seconds) : "", line ? secondsText(line.planned_seconds) : "",
        line?.bound_seconds ? secondsText(line.bound_seconds) : "", all ? `${Math.round((line.use.busy / all) * 100)} %` : ""];
      return h("tr", null, h("td", null, h("button", { type: "button", class: "quiet", onclick: () => choose(one.id) }, one.names.join(", ") || one.id)),
        cells.map((cell, i) => h("td", { class: numeric.has(columns[i + 1]) ? "n" : null }, String(cell))));
    });
    replace(list, h("h2", null, "Replays"), h("div", { class: "wide" }, h("table", null,
      h("thead", null, h("tr", null, columns.map((name) => h("th", { scope: "col", class: numeric.has(name) ? "n" : null }, name)))), h("tbody", null, rows))));
    return every;
  };
  const every = await drawList();
  const id = query.get("replay") || every.find((one) => !OVER.has(one.state))?.id || every[0]?.id;
  if (id) choose(id);
  return () => end?.();
}
