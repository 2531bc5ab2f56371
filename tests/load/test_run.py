"""The story of a run: the promise, then the highest rate that is held, and what it says at the end."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.load import report
from tests.load.__main__ import main
from tests.load.cpu import Watch
from tests.load.fake_server import FakeRag
from tests.load.records import Record
from tests.load.run import Driver, Load, Outcome, Story, cores_needed, first_guess, tell
from tests.load.scenarios import GENERATE, SEARCH
from tests.load.server import Server
from tests.load.test_corpus import archive, package
from tests.support.live import live

PROMISE = Load("promise", 100, 10, 1)


def outcome(load: Load, latency_s: float = 0.1, cpu_s: float = 30.0) -> Outcome:
    done = [
        Record(scenario, due, due, due + latency_s, due + latency_s, 200, 200, "")
        for scenario in (SEARCH, GENERATE)
        for due in (number / load.rates[scenario] for number in range(load.planned(scenario)))
    ]
    watch = Watch({"rag_app": 1, "locust": 2})
    watch.series = {"rag_app": [(1.0, 1.0), (60.0, cpu_s)], "locust": [(1.0, 0.1), (60.0, 6.0)]}
    watch.machine = [(1.0, 2.0), (60.0, cpu_s + 12)]
    return Outcome(load, sorted(done, key=lambda r: r.due_s), watch, 0, {"hits": 0.0, "misses": 10.0})


class Carries:
    """A driver in front of a machine that carries so many searches a second."""

    def __init__(self, search_rate: float, for_long: float | None = None) -> None:
        self.limit, self.long_limit = search_rate, for_long or search_rate
        self.sent: list[Load] = []

    def send(self, load: Load) -> Outcome:
        self.sent.append(load)
        limit = self.long_limit if load.minutes >= 1 else self.limit
        return outcome(load, 0.1 if load.search_rate <= limit else 9.0, cpu_s=30 * load.search_rate / 100)


def story(driver: Carries, load: Load = PROMISE) -> Story:
    return tell(load, driver)  # type: ignore[arg-type]


def test_a_promise_that_is_held_needs_no_search() -> None:
    driver = Carries(150)
    told = story(driver)
    assert told.held is told.promise
    assert [load.name for load in driver.sent] == ["warm-up", "cost-search", "cost-generate", "promise"]


def test_where_it_is_not_held_the_highest_rate_that_is_gets_found_and_confirmed_for_as_long() -> None:
    driver = Carries(61)
    told = story(driver)
    assert told.promise is not None
    assert not told.promise.is_held
    assert told.held is not None
    assert 50 <= told.held.load.search_rate <= 61
    assert told.held.load.generate_rate == pytest.approx(told.held.load.search_rate / 10, abs=0.01)
    assert told.held.load.minutes == PROMISE.minutes


def test_a_rate_that_is_held_for_a_short_time_only_is_lowered_until_it_holds() -> None:
    driver = Carries(61, for_long=53)
    told = story(driver)
    assert told.held is not None
    assert told.held.load.search_rate <= 53
    assert [load.name for load in driver.sent if load.name.startswith("held")] >= ["held-1"]


def test_where_nothing_is_held_the_story_ends_and_says_so() -> None:
    told = story(Carries(0))
    assert told.held is None
    figures = report.headline(told, 30_000)
    assert figures["promise_held"] is False
    assert figures["errors"] == 6000  # generations have 60 s
    assert figures["cores_needed"] is None


def test_the_headline_is_of_the_rate_that_was_held_and_tells_what_was_asked() -> None:
    told = story(Carries(61))
    figures = report.headline(told, 30_000)
    assert told.held is not None
    share = told.held.load.search_rate / 100
    assert figures["search_rps"] == pytest.approx(told.held.load.search_rate, abs=0.5)
    assert figures["errors"] == 0
    assert figures["asked"] == {
        "search_rate": 100, "generate_rate": 10, "search_p95_ms": 9000.0, "generate_p95_ms": 9000.0, "errors": 6000,
    }  # fmt: skip
    # The same CPU a request: 30 s in a minute at 100 a second, and Locust's 6 s whatever the rate.
    assert figures["cores_needed"] == pytest.approx((0.5 * share + 0.1) / share, abs=0.01)
    assert figures["cache_hit_rate"] == 0


def test_questions_that_a_run_given_up_never_asked_are_left_for_the_next(tmp_path: Path) -> None:
    record = "search,0.1,0.1,0.2,0.2,200,0,"
    locust = tmp_path / "locust"
    locust.write_text(
        "#!/bin/sh\n"
        'echo "$LOAD_FIRST_QUESTION" >> firsts\n'
        'echo "scenario,due_s,sent_s,first_s,ended_s,status,tokens,error" > "$LOAD_RECORDS"\n'
        f'for i in 1 2 3; do echo "{record}" >> "$LOAD_RECORDS"; done\n'
    )
    locust.chmod(0o755)
    driver = Driver(Server("http://127.0.0.1:1"), locust, tmp_path / "q.json", tmp_path, print, count=1_300)
    for name in ("first", "second"):
        driver.send(Load(name, 20, 0, 1))
    assert (tmp_path / "firsts").read_text().split() == ["0", "3"]


def test_the_first_guess_is_what_the_cores_carry_by_the_cost_of_one_request() -> None:
    costs = {
        SEARCH: outcome(Load("cost-search", 10, 0, 1), cpu_s=24),  # 600 searches: 40 + 10 CPU-ms each
        GENERATE: outcome(Load("cost-generate", 0, 1, 1), cpu_s=12),  # 60 generations: 200 + 100 CPU-ms each
    }
    assert cores_needed(costs, {SEARCH: 100, GENERATE: 10}) == pytest.approx(8.0)
    assert 0.1 <= first_guess(costs, PROMISE) <= 0.9
    assert first_guess({}, PROMISE) == 0.5


def test_a_queue_that_grows_is_not_held_even_while_all_are_in_time() -> None:
    load = Load("try", 10, 1, 0.5)
    growing = outcome(load)
    growing.records = [
        Record(r.scenario, r.due_s, r.due_s, r.due_s, r.due_s + 0.05 + r.due_s / 15, 200, 1, "")
        for r in growing.records
    ]
    assert growing.errors == 0
    assert not growing.is_held


def test_the_report_is_a_page_with_plots(tmp_path: Path) -> None:
    told = story(Carries(61))
    page = report.write(tmp_path, told, report.headline(told, 30_000)).read_text()
    assert "**not held**" in page
    pictures = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert pictures == [
        f"{run}-{kind}.svg"
        for run in ("held", "promise")
        for kind in ("cpu", "generate-latency", "rate", "search-latency")
    ]
    assert all(f"({name})" in page for name in pictures)
    assert (tmp_path / "promise-cpu.svg").read_text().count("<polyline") == 3  # two processes and the machine
    assert "over 5 s" in page


def command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rag: FakeRag, *more: str
) -> tuple[int, Sequence[str], Path]:
    source = "".join(f'def name{n}():\n    """Says the number {n} to all of them."""\n' for n in range(80))
    path, sha256 = archive(tmp_path, {"a.py": source})
    with live(rag.app()) as url:
        words = ["--url", url, "--minutes", "0.05", "--search-rate", "10", "--generate-rate", "2", "--quick"]
        words += ["--questions", str(tmp_path / "questions.json"), "--results", str(tmp_path / "results"), *more]
        code = main(words, [package(path, sha256)], 400)
    return code, capsys.readouterr().out.splitlines(), tmp_path / "results"


@pytest.mark.usefixtures("locust", "at_home")
def test_the_command_ends_with_0_a_report_and_a_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rag = FakeRag(key="secret")
    code, lines, results = command(tmp_path, capsys, rag, "--key", "secret")
    assert code == 0
    figures = json.loads(lines[-1])
    assert figures["search_rps"] == 10
    assert figures["generate_rps"] == 2
    assert figures["errors"] == 0
    assert figures["chunks"] == 30_000
    assert figures["promise_held"] is True
    assert {"search_p95_ms", "generate_p95_ms", "cpu_by_process", "cache_hit_rate"} <= set(figures)
    [folder] = results.iterdir()
    assert {"report.md", "result.json", "promise.csv", "promise.html", "promise-cpu.svg"} <= {
        path.name for path in folder.iterdir()
    }
    assert len(set(rag.questions)) == len(rag.questions) == 36 + 120  # with the warm-up


@pytest.mark.usefixtures("locust", "at_home")
def test_the_command_ends_with_1_where_the_promise_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines, _ = command(tmp_path, capsys, FakeRag(degraded=("embedding",)))
    figures = json.loads(lines[-1])
    assert code == 1
    assert figures["promise_held"] is False
    assert figures["asked"]["errors"] == 36


@pytest.mark.usefixtures("at_home")
def test_an_index_that_is_too_small_is_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rag = FakeRag(chunks=24_999)
    code, lines, _ = command(tmp_path, capsys, rag)
    assert code == 2
    assert lines == []
    assert not rag.questions


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
