// How one replay stands: figures, what its workers do, what it prints, and buttons that end it or go on with it.
import { h, replace } from "./dom.js";
import { post } from "./api.js";
import { secondsText, timeText } from "./cells.js";
import { OVER } from "./follow.js";
import { gantt, stintTable } from "./gantt.js";

const WORDS = {
  planning: "is being planned", running: "is running", finished: "has finished", failed: "has failed", stopped: "was stopped; what was finished is kept",
  lost: "is gone without a word; what was finished is kept, and the same question goes on with the rest", paused: "is paused; what was finished is kept",
  cancelled: "was cancelled; what was finished is kept", "nothing to do": "had nothing to do",
};

// Draw into `root`. `page` as pages have it; `started` is called with the standing of a replay that goes on.
export function draw(root, standing, page, started) {
  const isOpen = root.querySelector("details.log")?.open ?? false;
  const focused = document.activeElement?.dataset?.does;
  const over = OVER.has(standing.state);
  const now = standing.standing;
  const answered = now?.answered ?? standing.answered, wanted = now?.wanted ?? standing.wanted;
  const timeline = standing.timeline;
  replace(root,
    h("p", null, h("strong", null, standing.names.join(", ")), ` ${standing.ending && !over ? "is ending: what is finished is kept" : WORDS[standing.state] ?? standing.state}`,
      h("span", { class: "soft" }, `, begun ${timeText(standing.began)}${standing.host ? ` on ${standing.host}` : ""}`)),
    standing.trouble ? h("p", { class: "notice" }, standing.trouble) : null,
    standing.said ? h("p", { class: "alert" }, standing.said) : null,
    wanted ? h("p", null, h("progress", { value: answered, max: wanted, "aria-label": "Rows that are answered" }), ` ${answered} of ${wanted} rows`, now ? left(now) : "") : null,
    standing.failures ? h("p", { class: "verdict-diverged" }, `${standing.failures} segments have failed; what it prints says why.`) : null,
    buttons(standing, over, page, started),
    timeline && (timeline.stints.length || standing.open?.length)
      ? gantt({ stints: timeline.stints, open: standing.open, now: now?.seconds, planned: timeline.planned_seconds, bound: timeline.bound_seconds, runs: timeline.runs }, "What workers do")
      : null,
    over && timeline ? timeline.figures.map((line) => h("p", null, line)) : null,
    over && timeline ? h("details", null, h("summary", null, "Estimate and reality"), stintTable(timeline.stints, timeline.runs)) : null,
    standing.output?.length ? h("details", { class: "log", open: isOpen || standing.state === "failed" }, h("summary", null, "What it prints"), h("pre", { class: "output wide" }, standing.output.join("\n"))) : null);
  if (focused) root.querySelector(`[data-does="${focused}"]`)?.focus();
}

function left(now) {
  const workers = `${now.workers} ${now.workers === 1 ? "worker" : "workers"}`;
  if (now.overdue) return `, ${workers}; ${now.overdue}`;
  const between = `${secondsText(now.left_low_seconds)} to ${secondsText(now.left_high_seconds)}`;
  return now.workers ? `, ${workers}, about ${secondsText(now.left_seconds)} left (${between})` : `, starting ${now.awaited} workers, ${between} left`;
}

function buttons(standing, over, page, started) {
  if (!page.session.write) return null;
  const does = (what, text, then) => h("button", {
    type: "button", "data-does": what,
    onclick: async (event) => {
      event.target.disabled = true;
      try {
        const found = await post(`replays/${encodeURIComponent(standing.id)}/${what}`, {}, page.signal);
        page.clearAlert();
        then?.(found);
      } catch (error) {
        if (error.name !== "AbortError") page.alert(error.message);
        event.target.disabled = false;
      }
    },
  }, text);
  if (!over && !standing.ending) return h("p", { class: "bar" }, standing.asked ? does("pause", "Pause") : null, does("cancel", "Cancel"), h("span", { class: "soft" }, "Either keeps what is finished; a paused one goes on later."));
  if (over && standing.asked && !["finished", "nothing to do"].includes(standing.state)) return h("p", { class: "bar" }, does("resume", "Go on with the rest", started));
  return null;
}
