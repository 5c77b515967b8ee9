// Timeline: what each worker did, live and afterwards; estimate against reality.
import { append, h, replace } from "../dom.js";
import { get } from "../api.js";
import { secondsText, timeText } from "../cells.js";
import { OVER, follow } from "../follow.js";
import { draw as drawStanding } from "../standing.js";
import { table } from "../tables.js";

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
    const columns = ["features", "state", "begun", { n: "workers" }, { n: "took" }, { n: "estimated" }, { n: "bound" }, { n: "busy" }];
    const rows = every.map((one) => {
      const line = of.get(one.replay);
      const all = line ? line.seconds * line.workers : 0;
      const chooser = h("button", { type: "button", class: "quiet", onclick: () => choose(one.id) }, one.names.join(", ") || one.id);
      return [chooser, one.state, timeText(one.began), line?.workers ?? "", line ? secondsText(line.seconds) : "", line ? secondsText(line.planned_seconds) : "",
        line?.bound_seconds ? secondsText(line.bound_seconds) : "", all ? `${Math.round((line.use.busy / all) * 100)} %` : ""];
    });
    replace(list, h("h2", null, "Replays"), table(columns, rows, { caption: "Replays" }));
    return every;
  };
  const every = await drawList();
  const id = query.get("replay") || every.find((one) => !OVER.has(one.state))?.id || every[0]?.id;
  if (id) choose(id);
  return () => end?.();
}
