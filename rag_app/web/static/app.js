// The page: one question at a time, its hits, and its answer as it is written.

import { Problem, asProblem, events, request } from "/static/server.js";
import { codeBlock, el, notice, place, prose } from "/static/render.js";

const $ = (id) => document.getElementById(id);
const SHOWN_LINES = 14; // of a hit, before it is opened
const CONTEXT_LINES = 12; // around the cited lines, in the source panel
const ASK_AGAIN_MS = 3000; // while the server is gone, or an index is being built
const NEW_STATE = { hits: [], citations: new Map(), text: "", running: null };

let state = { ...NEW_STATE };
let repositories = [];
let isListed = false; // until the server has told once, nobody knows whether something is indexed
let watching = 0;

const NOTES = {
  llm: "No language model answered, so these are extracts of the code, not a written answer. Set `OPENAI_API_KEY`, or `LLM_BASE_URL` for a server of your own.",
  embedding: "The embedding service is down: only keywords were matched, not meaning.",
  reranker: "The reranker did not answer: the hits are in the order that they have without it.",
};

// --- the question -----------------------------------------------------------------------------------------------

async function ask(question, { push = true } = {}) {
  stop();
  if (!question) return showStart();
  const running = new AbortController();
  state = { ...NEW_STATE, citations: new Map(), running };
  address(question, push);
  showWaiting();
  try {
    const chosen = repositories.find((repository) => repository.name === $("repository").value);
    const body = { question, stream: true, ...(chosen && { repositories: [chosen.id] }) };
    let isFinished = false;
    for await (const [name, data] of events("/v1/ask", body, running.signal)) {
      if (running.signal.aborted) return;
      if (name === "error") throw asProblem(data.error ?? data);
      HANDLERS[name]?.(data);
      isFinished ||= name === "final_answer";
    }
    if (!isFinished) throw new Problem("The answer broke off before its end.");
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error, () => ask(question, { push: false }));
  } finally {
    if (state.running === running) finish();
  }
}

const HANDLERS = {
  request(data) {
    $("meta").title = data.id ? `Request ${data.id}. What happened: code-assistant logs --request-id ${data.id}` : "";
  },
  search_results(data) {
    state.hits = data.hits ?? [];
    showHits();
    showNotes(data.degraded ?? []);
    if (state.hits.length) $("meta").textContent = "Reading the code…";
  },
  message(data) {
    state.text += data.delta ?? data.text ?? "";
    scheduleText();
  },
  citation(data) {
    state.citations.set(data.index, data);
    showCitations();
  },
  final_answer(data) {
    state.text = data.answer; // checked: markers that pointed to nothing are gone
    state.citations = new Map(data.citations.map((citation) => [citation.index, citation]));
    if (!state.hits.length && data.hits?.length) {
      state.hits = data.hits;
      showHits();
    }
    showText();
    showCitations();
    showNotes(data.degraded ?? []);
    badge(data);
    const total = typeof data.took_ms === "number" ? data.took_ms : data.took_ms?.total;
    $("meta").textContent = total ? `${(total / 1000).toFixed(1)} s` : "";
    highlightFences();
  },
};

function stop() {
  state.running?.abort();
}

function finish() {
  state.running = null;
  $("answer").removeAttribute("aria-busy");
  $("go").textContent = "Ask";
}

function address(question, push) {
  const parameters = new URLSearchParams({ q: question });
  if ($("repository").value) parameters.set("repo", $("repository").value);
  const url = `?${parameters}`;
  if (push && url !== location.search) history.pushState(null, "", url);
  document.title = `${question} · Code Assistant`;
}

// --- the answer -------------------------------------------------------------------------------------------------

function showWaiting() {
  $("start").hidden = true;
  $("results").hidden = false;
  $("notices").replaceChildren();
  $("answer-text").replaceChildren(...["w90", "w70", "w80"].map((width) => el("span", { class: `bone ${width}` })));
  $("citations").replaceChildren();
  $("hit-list").replaceChildren(...[0, 1].map(() => el("span", { class: "bone block" })));
  $("hits").hidden = $("answer").hidden = false;
  $("count").textContent = "";
  $("mode").hidden = true;
  $("meta").textContent = "Searching…";
  $("meta").title = "";
  $("answer").setAttribute("aria-busy", "true");
  $("go").textContent = "Stop";
}

let scheduled = 0;
function scheduleText() {
  scheduled ||= requestAnimationFrame(() => state.text ? showText() : (scheduled = 0));
}

function showText() {
  cancelAnimationFrame(scheduled); // one that came later would undo the colours of the final text
  scheduled = 0;
  $("answer-text").replaceChildren(...prose(state.text, cite, (index) => isCited(index)));
  if (state.running) $("meta").textContent = "Writing…";
}

// While the answer is written its citations are not all there yet: a marker then counts where a hit has that rank.
function isCited(index) {
  return state.citations.has(index) || (state.running !== null && index >= 1 && index <= state.hits.length);
}

function showCitations() {
  const items = [...state.citations.values()].sort((a, b) => a.index - b.index).map((citation) =>
    el("li", {}, el("button", { type: "button", class: "source-link", onclick: () => cite(citation.index) },
      el("span", { class: "index" }, String(citation.index)), place(citation))));
  $("citations").replaceChildren(...items);
}

function badge(answer) {
  const label = answer.abstained ? "nothing relevant found" : answer.mode === "extractive" ? "extracts" : "";
  $("mode").textContent = label;
  $("mode").hidden = !label;
}

async function cite(index) {
  const citation = state.citations.get(index);
  if (!citation) return;
  const covers = (hit) => hit.repository === citation.repository && hit.path === citation.path &&
    hit.start_line <= citation.start_line && citation.end_line <= hit.end_line;
  const at = state.hits.findIndex(covers);
  if (at < 0) return openSource(citation);
  const card = $("hit-list").children[at];
  card.classList.remove("folded");
  markLines(card, citation);
  card.focus({ preventScroll: true });
  const first = card.querySelector(".row.marked") ?? card;
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  first.scrollIntoView({ behavior: isCalm ? "auto" : "smooth", block: "center" });
}

function markLines(root, { start_line: start, end_line: end }) {
  for (const row of document.querySelectorAll(".row.marked")) row.classList.remove("marked");
  for (const card of document.querySelectorAll(".hit.marked")) card.classList.remove("marked");
  for (const row of root.querySelectorAll(".row")) {
    const line = Number(row.dataset.line);
    row.classList.toggle("marked", line >= start && line <= end);
  }
  root.classList.add("marked");
}

// --- the hits ---------------------------------------------------------------------------------------------------

function showHits() {
  const isSeveral = new Set(state.hits.map((hit) => hit.repository)).size > 1;
  $("hit-list").replaceChildren(...state.hits.map((hit) => hitCard(hit, isSeveral)));
  $("hits").hidden = !state.hits.length;
  $("count").textContent = state.hits.length || "";
  highlightHits(state.hits);
}

function hitCard(hit, isNamed) {
  const more = hit.end_line - hit.start_line + 1 - SHOWN_LINES;
  const card = el("article", { class: `hit${more > 2 ? " folded" : ""}`, tabindex: "-1", "aria-label": `${hit.path}, line ${hit.start_line}` });
  const open = el("button", { type: "button", class: "open", title: "Show with the lines around it", onclick: () => openSource(hit) }, place(hit));
  const about = el("span", { class: "about" }, hit.symbol && el("span", { class: "symbol" }, hit.symbol),
    isNamed ? el("span", { class: "repository" }, nameOf(hit.repository)) : null);
  const unfold = el("button", { type: "button", class: "unfold", onclick: () => card.classList.remove("folded") }, `Show all ${more + SHOWN_LINES} lines`);
  card.append(el("div", { class: "head" }, open, about), codeBlock(hit), unfold);
  return card;
}

async function highlightHits(hits) {
  const snippets = hits.map(({ content, language, path }) => ({ content, language: language ?? "", path }));
  const answer = snippets.length ? await tokens(snippets) : null;
  if (!answer || hits !== state.hits) return;
  hits.forEach((hit, index) => {
    const before = $("hit-list").children[index].querySelector(".code");
    const marked = new Set([...before.querySelectorAll(".marked")].map((row) => row.dataset.line));
    const after = codeBlock(hit, answer[index]);
    for (const row of after.querySelectorAll(".row")) row.classList.toggle("marked", marked.has(row.dataset.line));
    before.replaceWith(after);
  });
}

async function highlightFences() {
  const fences = [...document.querySelectorAll("#answer-text .fence")];
  const snippets = fences.map((fence) => ({ content: fence.textContent, language: fence.dataset.language }));
  const answer = fences.length ? await tokens(snippets) : null;
  answer?.forEach((lines, index) => {
    const spans = lines.flatMap((line) => [...line.map(([kind, text]) => el("span", { class: kind && `t-${kind}` }, text)), "\n"]);
    fences[index].firstChild.replaceChildren(...spans);
  });
}

// Colours are a courtesy: without them the code stands there plain.
async function tokens(snippets) {
  return request("POST", "/web/highlight", { snippets }).then((answer) => answer.snippets, () => null);
}

async function openSource(span) {
  const wanted = { repository: span.repository, path: span.path, start_line: Math.max(1, span.start_line - CONTEXT_LINES), end_line: span.end_line + CONTEXT_LINES };
  if (span.ref) wanted.ref = span.ref;
  $("source-title").replaceChildren(place(span));
  $("source-code").replaceChildren(el("span", { class: "bone block" }));
  $("source").showModal();
  try {
    const source = await request("GET", `/v1/source?${new URLSearchParams(wanted)}`);
    const [lines] = (await tokens([{ content: source.content, language: source.language ?? span.language ?? "", path: span.path }])) ?? [null];
    $("source-code").replaceChildren(codeBlock(source, lines));
    markLines($("source-code"), span);
    $("source-code").querySelector(".marked")?.scrollIntoView({ block: "center" });
  } catch (error) {
    $("source-code").replaceChildren(notice("error", error.message));
  }
}

// --- what is indexed, and whether the server is there -------------------------------------------------------------

async function refresh() {
  clearTimeout(watching);
  try {
    const answer = await request("GET", "/v1/repositories");
    repositories = answer.repositories ?? answer;
    isListed = true;
    const busy = repositories.filter((repository) => repository.state === "indexing" || repository.state === "new");
    health(busy.length ? "busy" : "ready", busy.length ? `indexing ${busy[0].name}` : `${repositories.filter(({ state }) => state === "ready").length} indexed`);
    for (const gone of document.querySelectorAll(".notice.gone, .notice.locked")) gone.remove();
    fillPicker();
    if (!$("start").hidden) showStart();
    if (busy.length || !repositories.length) watching = setTimeout(refresh, ASK_AGAIN_MS);
  } catch (error) {
    if (error.code === "unauthorized") return showLocked(error);
    health("gone", error.isGone ? "no server" : "not ready");
    if (!document.querySelector(".notice.error")) $("notices").append(notice("error gone", error.message));
    watching = setTimeout(refresh, ASK_AGAIN_MS);
  }
}

// Not asked again by itself: whoever closed the dialogue would have it open every three seconds.
function showLocked(error) {
  health("gone", "key needed");
  for (const old of document.querySelectorAll(".notice.locked")) old.remove();
  $("notices").append(notice("error locked", error.message, { label: "Enter the key", run: refresh }));
}

function health(kind, text) {
  $("health").className = `health ${kind}`;
  $("health").querySelector(".text").textContent = text;
}

function fillPicker() {
  const wanted = $("repository").value || new URLSearchParams(location.search).get("repo") || "";
  const options = repositories.map(({ name }) => el("option", { value: name }, name));
  $("repository").replaceChildren(el("option", { value: "" }, "all repositories"), ...options);
  $("repository").value = repositories.some(({ name }) => name === wanted) ? wanted : "";
}

function nameOf(id) {
  return repositories.find((repository) => repository.id === id)?.name ?? id;
}

function showStart() {
  $("results").hidden = true;
  $("start").hidden = false;
  document.title = "Code Assistant";
  if (!isListed) return $("start").replaceChildren();
  if (repositories.length) {
    return $("start").replaceChildren(el("ul", { class: "shelf" }, ...repositories.map(repositoryCard)));
  }
  $("start").replaceChildren(el("div", { class: "empty" }, el("h2", {}, "Nothing is indexed yet"),
    el("p", {}, "Point it at a folder or a git URL; this page notices by itself."),
    el("pre", { class: "fence" }, el("code", {}, "code-assistant index /path/to/your/code"))));
}

function repositoryCard(repository) {
  const counts = `${(repository.files ?? 0).toLocaleString("en")} files · ${(repository.chunks ?? 0).toLocaleString("en")} chunks`;
  const detail = [repository.ref, repository.commit?.slice(0, 8)].filter(Boolean).join(" @ ");
  const choose = () => { $("repository").value = repository.name; $("question").focus(); };
  return el("li", {}, el("button", { type: "button", class: `repository-card ${repository.state}`, onclick: choose },
    el("strong", {}, repository.name), el("span", {}, repository.state === "ready" ? counts : repository.state), el("span", { class: "detail" }, detail)));
}

function showNotes(degraded) {
  const notes = degraded.map((name) => notice("note", NOTES[name] ?? `Answered without: ${name}.`));
  const kept = [...$("notices").children].filter((child) => child.classList.contains("gone"));
  $("notices").replaceChildren(...kept, ...notes);
}

function showProblem(error, retry) {
  const isOurs = error instanceof Problem;
  const suffix = isOurs && error.requestId ? ` (request ${error.requestId})` : "";
  const message = isOurs ? `${error.message}${suffix}` : "The page failed; its console tells more.";
  if (!isOurs) console.error(error);
  for (const old of document.querySelectorAll(".notice.error")) old.remove();
  $("notices").append(notice(error.isGone ? "error gone" : "error", message, { label: "Try again", run: retry }));
  for (const bone of document.querySelectorAll(".bone")) bone.remove();
  if (state.text) showText();
  $("meta").textContent = "";
  $("answer").hidden = !state.text;
  $("hits").hidden = !state.hits.length;
  if (error.isGone) refresh();
}

// --- wiring -------------------------------------------------------------------------------------------------------

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (state.running && event.submitter === $("go") && $("go").textContent === "Stop") return halt();
  ask($("question").value.trim());
});

function halt() {
  stop();
  for (const bone of document.querySelectorAll(".bone")) bone.remove();
  $("meta").textContent = "Stopped.";
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches?.("input, textarea, select");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    $("question").focus();
    $("question").select();
  } else if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    if (state.running) halt();
    else if (event.target === $("question")) $("question").value = "";
  }
});

$("source-close").addEventListener("click", () => $("source").close());
$("source").addEventListener("click", (event) => event.target === $("source") && $("source").close());
addEventListener("popstate", () => fromAddress());

function fromAddress() {
  const parameters = new URLSearchParams(location.search);
  $("question").value = parameters.get("q") ?? "";
  const repo = parameters.get("repo") ?? "";
  $("repository").value = repositories.some(({ name }) => name === repo) ? repo : "";
  ask($("question").value.trim(), { push: false });
}

// Whoever types before the list of repositories is there, or asks already, keeps what he typed.
$("question").value = new URLSearchParams(location.search).get("q") ?? "";
const begun = $("question").value;
await refresh();
if ($("question").value === begun && !state.running) fromAddress();
