"""The promise as a Locust scenario: searches and generations at fixed rates, due whether or not the server keeps up.

    LOAD_QUESTIONS=.load/questions.json locust -f tests/load/locustfile.py --headless --users 1 --host http://127.0.0.1:8000

with the root of the project in PYTHONPATH. One user is the whole crowd: it starts each request when it is due, in a
greenlet of its own. LOAD_SEARCH_RATE, LOAD_GENERATE_RATE (a second), LOAD_MINUTES, LOAD_FIRST_QUESTION, LOAD_KEY (or
LOAD_KEY_FILE) and LOAD_RECORDS (a file of CSV to write) change what is done. Ends with exit code 1 where the promise
was broken, and at once where LOAD_GIVE_UP_AFTER requests broke it.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import gevent
from geventhttpclient import HTTPClient
from geventhttpclient.url import URL
from locust import User, events, task
from locust.runners import WorkerRunner

from tests.load import records
from tests.load.arrivals import Arrival, arrivals, drive
from tests.load.records import Record
from tests.load.scenarios import GENERATE, MINUTES, RATES, SEARCH, TIMEOUT_S, Stream, call, search_error
from tests.load.verdict import judge

# More than can be in flight before every request is late: what waits here would wait in the server else.
CONNECTIONS = 1_000

# After the first token an answer is read so often, as a page would paint it: to wake up for each token would cost the
# generator 36 CPU-ms an answer, on the cores that the server needs. It makes an answer longer by so much at most.
READ_EVERY_S = 0.1

# So many that broke the promise settle it: the rest of the run would only load a server that is over its limit.
GIVE_UP_AFTER = int(os.environ.get("LOAD_GIVE_UP_AFTER", "100"))


def _number(name: str, default: float) -> float:
    return float(os.environ.get(name) or default)


class Crowd(User):  # type: ignore[misc]
    """All users at once."""

    fixed_count = 1

    def on_start(self) -> None:
        """Read the questions, open the pool."""
        self.questions: list[str] = json.loads(Path(os.environ["LOAD_QUESTIONS"]).read_text("utf-8"))
        self.first = int(_number("LOAD_FIRST_QUESTION", 0))
        self.minutes = _number("LOAD_MINUTES", MINUTES)
        self.rates = {
            SEARCH: _number("LOAD_SEARCH_RATE", RATES[SEARCH]),
            GENERATE: _number("LOAD_GENERATE_RATE", RATES[GENERATE]),
        }
        self.done: list[Record] = []
        self.broken = 0
        url = URL(self.host)
        self.client = HTTPClient.from_url(
            url, concurrency=CONNECTIONS, connection_timeout=TIMEOUT_S, network_timeout=TIMEOUT_S
        )
        self.headers = {"content-type": "application/json"}
        file = os.environ.get("LOAD_KEY_FILE")
        if key := Path(file).read_text().strip() if file else os.environ.get("LOAD_KEY"):
            self.headers["authorization"] = f"Bearer {key}"

    @task
    def everything(self) -> None:
        """The whole run."""
        due = arrivals({name: rate for name, rate in self.rates.items() if rate > 0}, self.minutes * 60)
        if self.first + len(due) > len(self.questions):
            raise SystemExit(f"{len(due)} questions are needed from {self.first} on, of {len(self.questions)}")
        self.began = time.perf_counter()
        started = []
        numbers = iter(range(self.first, self.first + len(due)))

        def start(arrival: Arrival, due_at: float) -> None:
            question = self.questions[next(numbers)]
            started.append(gevent.spawn(self._send, arrival, due_at, question))

        for _ in drive(
            due, start, now=time.perf_counter, sleep=gevent.sleep, stopped=lambda: self.broken >= GIVE_UP_AFTER
        ):
            pass
        gevent.joinall(started)
        self._finish(len(due))

    def _send(self, arrival: Arrival, due_at: float, question: str) -> None:
        asked = call(arrival.scenario, arrival.number, question)
        sent_at = time.perf_counter()
        status, tokens, size, first_at, error = 0, 0, 0, 0.0, ""
        try:
            response = self.client.request("POST", asked.path, asked.encoded(), self.headers)
            status = response.status_code
            if arrival.scenario == SEARCH or status != 200:
                payload = bytes(response.read())
                size, error = len(payload), search_error(status, payload)
            else:
                stream = Stream()
                while line := response.readline(b"\n"):
                    size += len(line)
                    if stream.feed(bytes(line)):
                        first_at = time.perf_counter()
                    if first_at and not response._body_buffer and not response.message_complete:
                        gevent.sleep(READ_EVERY_S)
                tokens, error = stream.tokens, stream.error(status)
            response.release()
        except Exception as exc:
            error = f"{type(exc).__name__}: {exc}"[:200]
        ended_at = time.perf_counter()
        record = Record(
            arrival.scenario,
            due_at - self.began,
            sent_at - self.began,
            (first_at or ended_at) - self.began,
            ended_at - self.began,
            status,
            tokens,
            error,
        )
        self.done.append(record)
        self.broken += bool(judge(record))
        self.environment.events.request.fire(
            request_type="POST",
            name=f"{arrival.scenario} {asked.path}",
            response_time=record.latency_s * 1e3,
            response_length=size,
            exception=RuntimeError(error) if error else None,
            context={},
        )

    def _finish(self, planned: int) -> None:
        if where := os.environ.get("LOAD_RECORDS"):
            records.write(Path(where), sorted(self.done, key=lambda record: record.due_s))
        if self.broken or len(self.done) < planned:
            self.environment.process_exit_code = 1
        self.environment.runner.quit()


@events.init.add_listener
def _one_process(environment: Any, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        raise SystemExit("the schedule is one process's; start locust without workers")
