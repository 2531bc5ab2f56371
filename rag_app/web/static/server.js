// What the page asks of the server. Every failure leaves here as one Problem with words for a reader.

import { askForKey, storedKey } from "/static/key.js";

const NEEDS_KEY = "This server asks for a key. Where it runs, `code-assistant key` prints it.";

export class Problem extends Error {
  constructor(message, { code = "", requestId = "", isGone = false } = {}) {
    super(message);
    this.code = code;
    this.requestId = requestId;
    this.isGone = isGone;
  }
}

export async function request(method, path, body, signal) {
  const response = await send(method, path, body, signal);
  return response.status === 204 ? null : await response.json();
}

// Yields ["request", {id}] once the server answers, then [name, data] for each server-sent event. EventSource cannot POST, so the stream is read by hand.
export async function* events(path, body, signal) {
  const response = await send("POST", path, body, signal);
  yield ["request", { id: response.headers.get("x-request-id") ?? "" }];
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { done, value } = await reader.read().catch(rethrow);
    if (done) return;
    pending = (pending + value).replaceAll("\r\n", "\n");
    const blocks = pending.split("\n\n");
    pending = blocks.pop();
    for (const block of blocks) {
      const event = parse(block);
      if (event) yield event;
    }
  }
}

function parse(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  if (!data.length) return null;
  try {
    return [name, JSON.parse(data.join("\n"))];
  } catch {
    return [name, {}];
  }
}

async function send(method, path, body, signal) {
  for (;;) {
    const key = storedKey();
    const headers = { ...(body !== undefined && { "content-type": "application/json" }), ...(key && { authorization: `Bearer ${key}` }) };
    const init = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
    const response = await fetch(path, init).catch(rethrow);
    if (response.ok) return response;
    const error = (await response.json().catch(() => ({}))).error ?? {};
    const isAsked = response.status === 401 && (await askForKey(key));
    signal?.throwIfAborted(); // stopped while the key was asked for
    if (!isAsked) throw asProblem({ message: `The server answered ${response.status}.`, ...error, ...(response.status === 401 && { message: NEEDS_KEY }) });
  }
}

export function asProblem(error) {
  return new Problem(error.message ?? "The answer broke off.", { code: error.code, requestId: error.request_id });
}

function rethrow(error) {
  if (error.name === "AbortError") throw error;
  throw new Problem("The server does not answer. Start it with `code-assistant up`.", { isGone: true });
}
