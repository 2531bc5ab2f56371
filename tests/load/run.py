"""The story of a load run: cost of one, the promise, and where it is not held, the highest rate that is."""

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.load import records
from tests.load.cpu import Watch, core_count
from tests.load.records import Record
from tests.load.scenarios import GENERATE, SEARCH, TIMEOUT_S
from tests.load.server import ROOT, NotReady, Server
from tests.load.verdict import Summary, is_growing, summary

LOCUSTFILE = Path(__file__).with_name("locustfile.py")

# Long enough for a queue to show: what a server is 5 % short of makes a wait of 1.5 s in half a minute.
TRY_MINUTES = 0.5
TRIES = 4

# What one costs is told by a load that a machine carries with ease.
COST_MINUTES = 1 / 3
COST_RATES = {SEARCH: 15.0, GENERATE: 2.0}

# A rate that was held for half a minute may not be held for five: each time it is not, so much less is tried.
RETREAT = 0.92
CONFIRMATIONS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: requests a second of each scenario, for how long."""

    name: str
    search_rate: float
    generate_rate: float
    minutes: float

    @property
    def rates(self) -> Mapping[str, float]:
        """By scenario."""
        return {SEARCH: self.search_rate, GENERATE: self.generate_rate}

    @property
    def duration_s(self) -> float:
        """In seconds."""
        return self.minutes * 60

    def planned(self, scenario: str) -> int:
        """Requests of a scenario."""
        return round(self.rates[scenario] * self.duration_s)

    @property
    def questions(self) -> int:
        """Requests in all."""
        return self.planned(SEARCH) + self.planned(GENERATE)

    def scaled(self, name: str, factor: float, minutes: float) -> "Load":
        """The same mix at another rate."""
        return Load(name, round(self.search_rate * factor, 2), round(self.generate_rate * factor, 2), minutes)


@dataclass(slots=True)
class Outcome:
    """What came of a load."""

    load: Load
    records: list[Record]
    watch: Watch
    exit_code: int
    cache: Mapping[str, float] | None = None

    def of(self, scenario: str) -> Summary:
        """One scenario."""
        return summary(self.records, scenario, self.load.planned(scenario), self.load.duration_s)

    @property
    def errors(self) -> int:
        """Requests that broke the promise."""
        return self.of(SEARCH).errors + self.of(GENERATE).errors

    @property
    def is_held(self) -> bool:
        """Whether every request was answered in time, and none waited in a queue that grows."""
        growing = any(is_growing(self.records, name, self.load.duration_s) for name in (SEARCH, GENERATE))
        return not self.errors and not growing

    @property
    def cores(self) -> dict[str, float]:
        """Cores that each process used, over the time it was loaded."""
        return {name: used / self.watch.wall_s() for name, used in self.watch.used_s().items()}

    @property
    def hit_rate(self) -> float | None:
        """Of the embedding service's cache; None where unknown or unused."""
        if self.cache is None or not (asked := self.cache["hits"] + self.cache["misses"]):
            return None
        return self.cache["hits"] / asked


@dataclass(slots=True)
class Story:
    """Everything that was run. `promise` at the rates asked for; `held`: the highest rate that was held for as long."""

    costs: dict[str, Outcome] = field(default_factory=dict)
    promise: Outcome | None = None
    tries: list[Outcome] = field(default_factory=list)
    held: Outcome | None = None


class Driver:
    """Sends loads by Locust, each with questions that were not asked before."""

    def __init__(
        self, server: Server, locust: Path, questions: Path, folder: Path, say: Callable[[str], None], count: int
    ):
        """questions: a file with a JSON list of `count` texts. folder: for records, logs and Locust's own reports."""
        self._server, self._locust, self._questions = server, locust, questions
        self._folder, self._say, self._count = folder, say, count
        self._first = 0

    def send(self, load: Load) -> Outcome:
        """Run one load to its end. Fails with NotReady where Locust itself fails, or the questions are used up."""
        if self._first + load.questions > self._count:
            raise NotReady(f"{load.questions} more questions are needed; {self._count - self._first} are left")
        self._say(f"{load.name}: {load.search_rate:g} searches, {load.generate_rate:g} generations a second")
        path = self._folder / f"{load.name}.csv"
        before = self._server.cache_counts()
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LOAD_QUESTIONS": str(self._questions),
            "LOAD_FIRST_QUESTION": str(self._first),
            "LOAD_SEARCH_RATE": str(load.search_rate),
            "LOAD_GENERATE_RATE": str(load.generate_rate),
            "LOAD_MINUTES": str(load.minutes),
            "LOAD_RECORDS": str(path),
            "LOAD_KEY": self._server.key,
        }
        command = [
            str(self._locust), "-f", str(LOCUSTFILE), "--headless", "--users", "1", "--host", self._server.url,
            "--html", str(self._folder / f"{load.name}.html"), "--only-summary",
        ]  # fmt: skip
        with (self._folder / f"{load.name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, cwd=self._folder, stdout=log, stderr=log)
            try:
                with Watch({**self._server.pids, "locust": process.pid}) as watch:
                    code = process.wait(load.duration_s + TIMEOUT_S + 60)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait(10)
        if not path.exists():
            raise NotReady(f"Locust ended with exit code {code} and no records; see {path.with_suffix('.log')}")
        outcome = Outcome(load, records.read(path), watch, code, _since(before, self._server.cache_counts()))
        self._first += len(outcome.records)  # what was given up asked no more than these
        self._say(f"  {told(outcome)}")
        return outcome


def tell(load: Load, driver: Driver, *, is_cost_wanted: bool = True) -> Story:
    """Run it all: the costs, the promise, the search for the highest rate."""
    story = Story()
    driver.send(Load("warm-up", min(20, load.search_rate), min(2, load.generate_rate), 1 / 6))
    if is_cost_wanted:
        for name in (SEARCH, GENERATE):
            rates = {SEARCH: 0.0, GENERATE: 0.0, name: min(COST_RATES[name], load.rates[name])}
            story.costs[name] = driver.send(Load(f"cost-{name}", rates[SEARCH], rates[GENERATE], COST_MINUTES))
    story.promise = driver.send(load)
    if story.promise.is_held:
        story.held = story.promise
        return story
    best = _highest(load, driver, story)
    for number in range(CONFIRMATIONS):
        if best <= 0:
            break
        long = driver.send(load.scaled(f"held-{number + 1}", best * RETREAT**number, load.minutes))
        if long.is_held:
            story.held = long
            break
        story.tries.append(long)
    return story


def _highest(load: Load, driver: Driver, story: Story) -> float:
    """The highest share of the rates that was held for half a minute, by bisection; 0 where none was."""
    low, high = 0.0, 1.0
    guess = first_guess(story.costs, load)
    for number in range(TRIES):
        outcome = driver.send(load.scaled(f"try-{number + 1}", guess, min(TRY_MINUTES, load.minutes)))
        story.tries.append(outcome)
        if outcome.is_held:
            low = guess
        else:
            high = guess
        guess = (low + high) / 2
    return low


def first_guess(costs: Mapping[str, Outcome], load: Load) -> float:
    """The share of the rates that all cores would carry by what one request costs, half where that is not known."""
    needed = cores_needed(costs, load.rates)
    return 0.5 if needed is None else min(0.9, 0.9 * core_count() / max(needed, 0.01))


def cost_ms(outcome: Outcome, scenario: str) -> dict[str, float]:
    """CPU-ms of each process a request, in a load of one scenario."""
    sent = max(outcome.of(scenario).answered, 1)
    return {name: round(used * 1e3 / sent, 2) for name, used in outcome.watch.used_s().items()}


def cores_needed(costs: Mapping[str, Outcome], rates: Mapping[str, float]) -> float | None:
    """Cores for these rates by what one request of each costs, the generator included; None where not measured."""
    if set(costs) != {SEARCH, GENERATE}:
        return None
    return sum(sum(cost_ms(costs[name], name).values()) * rates[name] / 1e3 for name in costs)


def told(outcome: Outcome) -> str:
    """One line about a load."""
    searches, generations = outcome.of(SEARCH), outcome.of(GENERATE)
    return (
        f"{'held' if outcome.is_held else 'NOT held'}: "
        f"searches p95 {searches.p95_ms:g} ms, max {searches.max_ms:g} ms, "
        f"generations p95 {generations.p95_ms:g} ms, errors {outcome.errors}, "
        f"cores {sum(outcome.cores.values()):.2f} of {core_count()}"
    )


def _since(before: Mapping[str, float] | None, after: Mapping[str, float] | None) -> dict[str, float] | None:
    if before is None or after is None:
        return None
    return {name: after[name] - before[name] for name in after}
