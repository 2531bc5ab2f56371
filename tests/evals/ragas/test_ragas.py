"""Ragas itself over a real stack, whose model and judge are a script: `make test-ragas`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from benchmarks.core.venvs import VENVS, ensure
from evals.ragas.report import NO_JUDGE, SCRIPTED_ANSWERS, SCRIPTED_JUDGE
from tests.support.stack import Stack, running

pytestmark = [pytest.mark.ragas, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
RAGAS = ROOT / "evals" / "ragas"
QUESTIONS = HERE / "keeper.jsonl"

# Nobody listens there.
NOWHERE = "http://127.0.0.1:9"

# Whoever opens a connection, ends: what cannot be reached is not noticed, what is tried is.
OFFLINE = """
import os, runpy, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        os.write(2, f"reached out: {event} {arguments!r}".encode())
        os._exit(97)
sys.addaudithook(watch)
runpy.run_module("evals.ragas.score", run_name="__main__")
"""


@dataclass(frozen=True)
class Ran:
    """A run of the scoring that has ended."""

    folder: Path
    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "result.json").read_text("utf-8"))
        return found

    def scores(self, name: str) -> list[float | None]:
        return [line["scores"][name] for line in self.result["questions"]]

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text("utf-8").splitlines()]

    def found(self) -> dict[str, list[dict[str, Any]]]:
        """What the stack found, by question."""
        asked = [call for call in self.calls() if call["path"] == "/v1/ask"]
        return {call["request"]["question"]: json.loads(call["response"])["hits"] for call in asked}


@pytest.fixture(scope="session")
def python() -> Path:
    return ensure(VENVS / "ragas", RAGAS / "requirements.txt", "python")


def script(folder: Path) -> Path:
    """The scripted judge and the answers of this test, in one file."""
    path = folder / "script.toml"
    judge, _, _ = (RAGAS / "scripted.toml").read_text("utf-8").partition("# What the stack's own model says")
    path.write_text(judge + (HERE / "answers.toml").read_text("utf-8"), "utf-8")
    return path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    copytree(HERE / "package", folder / "keeper")
    extra = {"LLM_PROVIDER": "scripted", "LLM_SCRIPT": str(script(folder)), "PYTHONPATH": str(ROOT)}
    with running(folder, extra) as one:
        indexed = one.cli("index", str(folder / "keeper"))
        assert indexed.returncode == 0, indexed.stderr
        yield one


def command(python: Path, stack: Stack, folder: Path, *more: str, how: tuple[str, ...] = ()) -> list[str]:
    llm = f"http://127.0.0.1:{stack.env['LLM_PORT']}"
    addresses = ["--url", stack.url, "--llm-url", llm, "--judge-url", f"{llm}/v1", "--judge-model", "scripted"]
    addresses += ["--embedding-url", f"{stack.env['EMBEDDING_URL']}/v1", "--price", "scripted=1/2"]
    run = how or ("-m", "evals.ragas.score")
    return [str(python), *run, "--questions", str(QUESTIONS), "--folder", str(folder), *addresses, *more]


def ran(words: list[str], folder: Path) -> Ran:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return Ran(folder, ended.returncode, ended.stdout, ended.stderr)


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[bytes]) -> bytes:
    """The file as it is once it has so many whole lines."""
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, "ended before it was killed"
        time.sleep(0.05)
    return path.read_bytes()


@pytest.fixture(scope="module")
def killed(python: Path, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, Ran]:
    """(the journal, the tape when a run was killed in its fourth question; the run that went on)."""
    folder = tmp_path_factory.mktemp("resumed")
    words = command(python, stack, folder, "--parallel", "1")
    process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    try:
        journal = wait_for_lines(folder / "questions.jsonl", 4, process)  # what the run is made of, and three questions
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    tape = (folder / "calls.jsonl").read_bytes()
    return journal, tape, ran(words, folder)


@pytest.fixture(scope="module")
def whole(python: Path, stack: Stack, killed: object, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run that nobody disturbed, after the one that was killed, since the model is silent once."""
    folder = tmp_path_factory.mktemp("whole")
    done = ran(command(python, stack, folder, "--cache", str(folder / "cache.jsonl")), folder)
    assert done.code == 0, done.err
    return done


def test_a_killed_run_goes_on_where_it_was_and_ends_like_one_that_was_not(
    killed: tuple[bytes, bytes, Ran], whole: Ran
) -> None:
    journal, tape, resumed = killed
    assert resumed.code == 0, resumed.err
    assert "3 of 5 questions are finished already" in resumed.err
    assert (resumed.folder / "questions.jsonl").read_bytes().startswith(journal)
    assert (resumed.folder / "calls.jsonl").read_bytes().startswith(tape)
    made = [(call["key"], call["nth"]) for call in resumed.calls()]
    assert len(set(made)) == len(made), "a call was made twice"
    assert (resumed.folder / "result.json").read_bytes() == (whole.folder / "result.json").read_bytes()
    assert (resumed.folder / "report.md").read_bytes() == (whole.folder / "report.md").read_bytes()


def test_a_replay_reaches_nobody_and_gives_the_same_bytes(
    python: Path, stack: Stack, whole: Ran, tmp_path: Path
) -> None:
    away = ["--url", NOWHERE, "--judge-url", f"{NOWHERE}/v1", "--embedding-url", f"{NOWHERE}/v1"]
    words = command(python, stack, tmp_path, *away, "--replay", str(whole.folder / "calls.jsonl"), how=("-c", OFFLINE))
    replayed = ran(words, tmp_path)
    assert replayed.code == 0, replayed.err
    assert "calls that went out: none" in replayed.err
    for name in ("result.json", "report.md"):
        assert (tmp_path / name).read_bytes() == (whole.folder / name).read_bytes()
    assert replayed.out == whole.out


def test_a_replay_that_lacks_a_call_says_which(python: Path, stack: Stack, whole: Ran, tmp_path: Path) -> None:
    calls = whole.calls()
    lost = next(call for call in calls if "needs a citation" in json.dumps(call["request"]))
    tape = tmp_path / "calls.jsonl"
    tape.write_text("".join(f"{json.dumps(call)}\n" for call in calls if call is not lost))
    replayed = ran(command(python, stack, tmp_path / "run", "--replay", str(tape)), tmp_path / "run")
    assert replayed.code == 2
    assert f"citation_recall: judge POST /v1/chat/completions, call {lost['key'][:12]}" in replayed.err


def test_another_run_takes_the_judges_answers_from_the_cache(
    python: Path, stack: Stack, whole: Ran, tmp_path: Path
) -> None:
    away = ["--judge-url", f"{NOWHERE}/v1", "--embedding-url", f"{NOWHERE}/v1"]
    words = command(python, stack, tmp_path, *away, "--cache", str(whole.folder / "cache.jsonl"))
    again = ran(words, tmp_path)
    assert again.code == 0, again.err
    assert (tmp_path / "result.json").read_bytes() == (whole.folder / "result.json").read_bytes()


def test_a_judge_that_is_away_stops_the_run_and_says_how_to_go_on(python: Path, stack: Stack, tmp_path: Path) -> None:
    stopped = ran(command(python, stack, tmp_path, "--judge-url", f"{NOWHERE}/v1"), tmp_path)
    assert stopped.code == 2
    assert "cannot be asked" in stopped.err
    assert f"go on with --folder {tmp_path}" in stopped.err
    assert "Traceback" not in stopped.err


def test_every_judged_metric_is_what_the_script_makes_of_it(whole: Ran) -> None:
    """By evals/ragas/scripted.toml: "never" is not supported, and claims hold beside a lock. keeper-5 abstains."""
    assert whole.scores("faithfulness") == [0.5, 1.0, 0.5, 1.0, None]
    assert whole.scores("citation_correctness") == [pytest.approx(2 / 3), None, 0.5, 1.0, None]
    assert whole.scores("citation_recall") == [1.0, 0.0, 1.0, 1.0, None]
    assert whole.scores("factual_correctness") == [1.0, 0.5, None, None, None]
    assert whole.scores("context_recall") == [pytest.approx(2 / 3), pytest.approx(2 / 3), None, None, None]
    relevancy = whole.scores("answer_relevancy")
    # The judge's question is about a lock, as the first of ours is; embeddings are the stack's own.
    assert relevancy[0] == max(value for value in relevancy if value is not None)
    assert 0.3 < relevancy[0] < 1


def test_judged_context_precision_is_average_precision_over_the_passages_of_the_answer(whole: Ran) -> None:
    found = whole.found()
    for question, score in zip(whole.result["questions"], whole.scores("context_utilization"), strict=True):
        verdicts = ["raise " in hit["content"] for hit in found[question["query"]]]
        expected = sum(sum(verdicts[: i + 1]) / (i + 1) for i, is_useful in enumerate(verdicts) if is_useful)
        if score is not None:
            assert score == pytest.approx(expected / max(sum(verdicts), 1), abs=1e-6)
    assert any(score and score < 1 for score in whole.scores("context_utilization"))


def test_metrics_without_a_judge_compare_files_spans_and_texts(whole: Ran) -> None:
    found = whole.found()
    for number, question in enumerate(whole.result["questions"]):
        [gold] = json.loads(QUESTIONS.read_text("utf-8").splitlines()[number])["gold"]
        hits = found[question["query"]]
        files = {hit["path"] for hit in hits}
        assert question["scores"]["id_context_precision_file"] == pytest.approx((gold["path"] in files) / len(files))
        assert question["scores"]["id_context_recall_file"] == float(gold["path"] in files)
        first, last = gold.get("start_line") or 1, gold.get("end_line") or 10_000
        is_found = any(
            hit["path"] == gold["path"] and hit["start_line"] <= last and first <= hit["end_line"] for hit in hits
        )
        assert question["scores"]["id_context_recall_span"] == float(is_found)
    # Nothing is near the last one, and its span is the fourth of its file.
    assert whole.scores("id_context_recall_span") == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert whole.scores("non_llm_context_recall") == [1.0, 1.0, 1.0, None, 0.0]
    assert whole.result["questions"][3]["reasons"]["non_llm_context_recall"] == "the gold is a whole file"
    assert whole.scores("citations_verified") == [1.0, None, 1.0, 1.0, None]
    assert whole.scores("answered_where_found") == [1.0, 1.0, 1.0, 1.0, 0.0]


def test_what_a_script_judged_or_wrote_is_labelled_in_every_table(whole: Ran) -> None:
    report = (whole.folder / "report.md").read_text("utf-8")
    sections = report.split("\n## ")
    assert len(sections) >= 5
    for section in sections:
        assert SCRIPTED_ANSWERS in section
        assert SCRIPTED_JUDGE in section or section.startswith("Without a judge")
    headline = json.loads(whole.out.splitlines()[-1])
    assert headline["labels"] == [SCRIPTED_JUDGE, SCRIPTED_ANSWERS]
    assert headline == whole.result["headline"]


def test_the_cost_is_that_of_the_tokens_that_the_servers_told(whole: Ran) -> None:
    spent = 0.0
    for call in whole.calls():
        if call["to"] == "judge":
            usage = json.loads(call["response"])["usage"]
            spent += (usage["prompt_tokens"] + 2 * usage["completion_tokens"]) / 1e6
    # Equal prompts of two questions are one call on the tape, and count for each.
    assert whole.result["headline"]["cost"] == pytest.approx(spent, rel=0.02)
    assert whole.result["headline"]["cost_without"] == ["answer", "embedding"]


def test_the_command_starts_a_stack_of_its_own_and_replays_without_one(python: Path, tmp_path: Path) -> None:
    own = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    text = script(tmp_path).read_text("utf-8").replace("times = 1\nsilent_after = 0", 'say = "It is installed. [1]"')
    (tmp_path / "script.toml").write_text(text, "utf-8")
    words = [sys.executable, "-m", "evals.ragas", "--questions", str(QUESTIONS), "--first", "2"]
    live = [*words, "--sources", str(HERE / "package"), "--script", str(tmp_path / "script.toml")]
    outs = []
    for more in (live, [*words, "--replay", str(tmp_path / "run" / "calls.jsonl")]):
        folder = tmp_path / ("run" if more is live else "replay")
        ended = subprocess.run(
            [*more, "--folder", str(folder)], env=own, capture_output=True, text=True, timeout=400, check=False
        )
        assert ended.returncode == 0, ended.stderr
        outs.append(ended.stdout)
    assert outs[0] == outs[1]
    assert json.loads(outs[0].splitlines()[-1])["questions"] == 2
    assert json.loads(outs[0].splitlines()[-1])["with_reference"] == 2


def test_without_a_judge_only_what_needs_none_is_scored(python: Path, stack: Stack, tmp_path: Path) -> None:
    done = ran(command(python, stack, tmp_path, "--judge-model", ""), tmp_path)
    assert done.code == 0, done.err
    assert done.result["headline"]["judge"] == NO_JUDGE
    assert "faithfulness" not in done.result["metrics"]
    assert done.result["metrics"]["id_context_recall_file"]["scored"] == 5
    assert SCRIPTED_JUDGE not in done.out
