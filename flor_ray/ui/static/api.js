// Questions to the server. Addresses are relative, so that the page works under any path.

let session = null;

// An answer that says what went wrong: `message` is in words, `kind` the name of the error.
export class Refused extends Error {
  constructor(message, kind, status) {
    super(message);
    this.kind = kind;
    this.status = status;
  }
}

const listeners = [];

// Call f with the warnings of every answer.
export function onNotices(f) {
  listeners.push(f);
}

// GET api/<path>?<parameters>; a parameter may be a list, and null leaves it out.
export function get(path, parameters, signal) {
  return asked("GET", path, parameters, undefined, signal);
}

// POST api/<path> with a body of JSON: for what changes something.
export function post(path, body, signal) {
  return asked("POST", path, null, body ?? {}, signal);
}

// The address of a question, as for EventSource or a link.
export function address(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") query.append(name, one);
    }
  }
  const text = query.toString();
  return `api/${path}${text ? `?${text}` : ""}`;
}

async function asked(method, path, parameters, body, signal) {
  const headers = {};
  if (method !== "GET") {
    headers["X-Flor-Write"] = session?.write ?? "";
    headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(address(path, parameters), {
      method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The page's server does not answer. Is `flor-ray ui` still running?", "Away", 0);
  }
  let found;
  try {
    found = await answer.json();
  } catch {
    throw new Refused(`The answer was no JSON (status ${answer.status}). Is a proxy in between?`, "Odd", answer.status);
  }
  if (!answer.ok) throw new Refused(found.error ?? `status ${answer.status}`, found.kind ?? "", answer.status);
  for (const f of listeners) f(found.notices ?? [], path);
  return found;
}

// What is known of the project and of this server; asked once.
export async function opened() {
  session ??= await get("session");
  return session;
}
