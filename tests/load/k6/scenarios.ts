// The promise as k6 scenarios: what tests/load/scenarios.py and locustfile.py say, in k6's words.
//
//   k6 run -e HOST=http://127.0.0.1:8000 -e QUESTIONS=$PWD/.load/questions.json tests/load/k6/scenarios.ts
//
// (QUESTIONS: a JSON list that `python -m tests.load --prepare` writes.) k6 counts a request's time from its sending. An
// open executor that has no free user drops the request, so that dropped ones fail the run as much as late ones do.
import { check } from "k6";
import exec from "k6/execution";
import http, { RefinedResponse } from "k6/http";
import { SharedArray } from "k6/data";
import { Counter, Trend } from "k6/metrics";
import { Options } from "k6/options";

const HOST: string = __ENV.HOST || "http://127.0.0.1:8000";
const KEY: string = __ENV.RAG_API_KEY_FILE ? open(__ENV.RAG_API_KEY_FILE).trim() : __ENV.RAG_API_KEY || "";
const MINUTES: number = Number(__ENV.MINUTES || "5");
const SEARCH_RATE: number = Number(__ENV.SEARCH_RATE || "100");
const GENERATE_RATE: number = Number(__ENV.GENERATE_RATE || "10");

const SEARCH_LIMIT_MS = 5000;
const GENERATE_LIMIT_MS = 60000;
const TIMEOUT = "90s";
const CODE_EVERY = 5;

const questions = new SharedArray<string>("questions", () => JSON.parse(open(__ENV.QUESTIONS)) as string[]);

// k6 has one counter of iterations for each scenario: generations take questions from behind those of all searches.
const SEARCHES: number = Math.ceil(SEARCH_RATE * MINUTES * 60) + 1;

const tokens: Trend = new Trend("generate_tokens");
const wrong: Counter = new Counter("wrong_answers");

export const options: Options = {
  scenarios: {
    search: {
      executor: "constant-arrival-rate",
      exec: "search",
      rate: Math.round(SEARCH_RATE * 60),
      timeUnit: "1m",
      duration: `${Math.round(MINUTES * 60)}s`,
      preAllocatedVUs: 100,
      maxVUs: 600,
    },
    generate: {
      executor: "constant-arrival-rate",
      exec: "generate",
      rate: Math.round(GENERATE_RATE * 60),
      timeUnit: "1m",
      duration: `${Math.round(MINUTES * 60)}s`,
      gracefulStop: TIMEOUT,
      preAllocatedVUs: 100,
      maxVUs: 700,
    },
  },
  thresholds: {
    "http_req_failed": ["rate==0"],
    "http_req_duration{scenario:search}": [`max<${SEARCH_LIMIT_MS}`],
    "http_req_duration{scenario:generate}": [`max<${GENERATE_LIMIT_MS}`],
    "checks": ["rate==1"],
    "wrong_answers": ["count==0"],
    "dropped_iterations": ["count==0"],
  },
};

interface SearchAnswer {
  hits: unknown[];
  degraded: string[];
}

interface FinalAnswer {
  degraded: string[];
}

function post(path: string, body: object): RefinedResponse<"text"> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (KEY) {
    headers["authorization"] = `Bearer ${KEY}`;
  }
  return http.post(`${HOST}${path}`, JSON.stringify(body), { headers, timeout: TIMEOUT, responseType: "text" });
}

function question(number: number): string {
  if (number >= questions.length) {
    exec.test.abort(`question ${number} is needed, and there are ${questions.length}`);
  }
  return questions[number];
}

export function search(): void {
  const answer = post("/v1/search", { query: question(exec.scenario.iterationInTest), limit: 10 });
  const isOk = check(answer, {
    "search: 200": (r) => r.status === 200,
    "search: hits of both arms": (r) => r.status === 200 && isWhole(JSON.parse(r.body) as SearchAnswer),
  });
  wrong.add(isOk ? 0 : 1);
}

function isWhole(answer: SearchAnswer): boolean {
  return answer.hits.length > 0 && answer.degraded.length === 0;
}

export function generate(): void {
  const number = exec.scenario.iterationInTest;
  const asked = question(SEARCHES + number);
  const isCode = number % CODE_EVERY === CODE_EVERY - 1;
  const answer = isCode
    ? post("/v1/generate", { instruction: `Write a function for this: ${asked}`, language: "python", stream: true })
    : post("/v1/ask", { question: asked, stream: true });
  const events = eventsOf(answer.status === 200 ? answer.body : "");
  tokens.add(events.filter((event) => event.name === "message").length);
  const isOk = check(answer, {
    "generate: 200": (r) => r.status === 200,
    "generate: whole": () => events.some((event) => event.name === "done"),
    "generate: no error": () => !events.some((event) => event.name === "error"),
    "generate: not degraded": () =>
      events.some((event) => event.name === "final_answer" && (JSON.parse(event.data) as FinalAnswer).degraded.length === 0),
  });
  wrong.add(isOk ? 0 : 1);
}

interface ServerSentEvent {
  name: string;
  data: string;
}

function eventsOf(body: string): ServerSentEvent[] {
  return body
    .split("\n\n")
    .filter((block) => block.startsWith("event:"))
    .map((block) => {
      const lines = block.split("\n");
      const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      return { name: lines[0].slice(7).trim(), data: data.join("\n") };
    });
}
