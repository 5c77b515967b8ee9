// Replays that run, followed: any number of browsers may, and a server that was started anew tells on.
import { address, get } from "./api.js";

export const OVER = new Set(["finished", "failed", "stopped", "lost", "paused", "cancelled", "nothing to do"]);

// Call `told` with how a replay stands, whenever that changes, until it is over. Returns what ends it.
export function follow(id, told) {
  let stream = null, timer = null, over = false;
  const open = () => {
    stream = new EventSource(address(`replays/${encodeURIComponent(id)}/events`));
    stream.addEventListener("standing", (event) => {
      const standing = JSON.parse(event.data);
      over = OVER.has(standing.state);
      if (over) stream.close();
      told(standing);
    });
    stream.onerror = () => {
      // Where the server is gone or says no, the browser may give up; we do not.
      if (over || stream.readyState !== EventSource.CLOSED) return;
      clearTimeout(timer);
      timer = setTimeout(open, 2000);
    };
  };
  open();
  return () => {
    over = true;
    clearTimeout(timer);
    stream.close();
  };
}

// Follow those replays that run now and are asked for one of these features (none: all of them).
export async function followRunning(names, told, signal) {
  const { replays } = await get("replays", {}, signal);
  const ends = replays
    .filter((one) => !OVER.has(one.state) && (!names.length || one.names.some((name) => names.includes(name))))
    .map((one) => follow(one.id, told));
  return () => ends.forEach((end) => end());
}
