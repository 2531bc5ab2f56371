"""`code-assistant eval` and `tune`, against a real server over real git histories made here."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from qdrant_client import AsyncQdrantClient

from rag_app.cli.client import Failure, Server
from rag_app.cli.measuring import FIGURES, Asker
from rag_app.core.settings import RagSettings
from rag_app.db.alive import AliveMark
from rag_app.db.chunks import ChunkStore
from rag_app.main import create_app
from search_eval.coordinates import Bounds, Found, coordinate_search
from search_eval.history import Asked
from tests.support.cli import Cli
from tests.support.fake_rag import FakeRag, repository
from tests.support.fake_tei import DIM, FakeTei
from tests.support.indexing import git
from tests.support.live import live
from tests.support.past import Step, make_past

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

TOPICS = (
    "anchor", "basket", "candle", "dragon", "engine", "falcon", "garden", "hammer", "island", "jacket", "kettle",
    "ladder",
)  # fmt: skip

BUDGET = ("--budget", "900")


def _noise(text: str) -> list[float]:
    """A model that knows nothing: its cosines are chance, so that only words lead to a file, and less of it is more."""
    random = Random(text)
    values = [random.gauss(0, 1) for _ in range(DIM)]
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values]


def _source(topic: str, edition: int) -> str:
    other = "\n".join(f"    step_{line} = prepare(state, {line})" for line in range(6))
    return f"def handle_{topic}(state):\n    limit = {edition}\n{other}\n    return {topic}(state)\n"


def _steps(topics: tuple[str, ...], commits: int) -> Iterator[Step]:
    """A first commit with a file a topic, then one commit after the other that names a topic and changes its file."""
    yield "The first light of day", {f"src/part{n}.py": _source(topic, 0) for n, topic in enumerate(topics)}
    for number in range(commits):
        place = number % len(topics)
        text = _source(topics[place], number + 1)
        edition = "".join(chr(ord("a") + int(digit)) for digit in f"{number:03}")
        yield f"Raise the {topics[place]} limit, edition {edition}", {f"src/part{place}.py": text}


@dataclass
class Served:
    """A real server; `cli` speaks to it, `url` is its address, `root` what it may index.

    at_embedding: (how many embeddings from now, what happens then).
    """

    cli: Cli
    url: str
    root: Path
    at_embedding: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    def index(self, name: str, steps: Iterator[Step]) -> str:
        """Make a repository, index it; its id."""
        assert self.cli("index", str(make_past(self.root / name, steps))).code == 0
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/v1/repositories").json()["repositories"]
        return next(str(one["id"]) for one in found if one["name"] == name)

    def repositories(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/v1/repositories").json()["repositories"]
        return found

    def ranking(self, repository: str) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.url}/v1/repositories/{repository}/ranking").json()
        return answer

    def paths(self, repository: str, query: str) -> tuple[list[str], str]:
        body = {"query": query, "repositories": [repository], "explain": True}
        answer = httpx.post(f"{self.url}/v1/search", json=body).json()
        return [hit["path"] for hit in answer["hits"]], answer["query"]["weights_from"]


@contextmanager
def _serving(folder: Path, at_embedding: list[tuple[int, Callable[[], None]]]) -> Iterator[str]:
    def embed(text: str) -> list[float]:
        waiting, at_embedding[:] = [(left - 1, act) for left, act in at_embedding], []
        at_embedding.extend(one for one in waiting if one[0] > 0)
        for left, act in waiting:
            if left <= 0:
                act()
        return _noise(text)

    with ExitStack() as stack:
        tei = stack.enter_context(live(FakeTei(512, max_client_batch_size=64, vector=embed).app()))
        settings = RagSettings(  # type: ignore[call-arg]
            _env_file=None, data_dir=folder / "data", allowed_roots=str(folder), embedding_url=tei
        )
        store = ChunkStore(settings, AsyncQdrantClient(":memory:"))
        yield stack.enter_context(live(create_app(settings, store=store)))


@pytest.fixture
def served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Served]:
    at_embedding: list[tuple[int, Callable[[], None]]] = []
    with _serving(tmp_path, at_embedding) as url:
        yield Served(Cli(url, capsys), url, tmp_path, at_embedding)


def test_weights_that_win_are_kept_and_rank_the_searches_of_that_repository_alone(served: Served) -> None:
    mine = served.index("mine", _steps(TOPICS, 134))
    other = served.index("other", _steps(TOPICS, 1))
    query = "Raise the kettle limit"
    before = {one: served.paths(one, query) for one in (mine, other)}

    tuned = served.cli("tune", "--repo", "mine", *BUDGET)
    assert tuned.code == 0, tuned.err
    assert "in the index" in tuned.out
    assert "each asked of the tree before its commit" in tuned.out
    assert "then, where they do better by the index as it is: 41 trees more, some seconds each" in tuned.err
    assert "kept: the gain on the newer questions is significant, asked of the tree before each commit (p " in tuned.out
    kept = served.ranking(mine)
    assert 0 <= kept["weights"]["dense_share"] < kept["defaults"]["dense_share"]
    evidence = kept["evidence"]
    assert evidence["low"] > 0
    assert evidence["p"] < 0.05
    assert (evidence["judged_by"], evidence["at"][:13]) == (41, "at the parent")
    assert {one["name"] for one in httpx.get(f"{served.url}/v1/repositories").json()["repositories"]} == {
        "mine",
        "other",
    }
    assert served.paths(mine, query)[1] == "repository"
    assert served.paths(mine, query)[0][0] == "src/part10.py"
    assert served.paths(other, query) == before[other]
    assert served.ranking(other)["weights"] == {}

    # What was tuned on is not asked again.
    report = json.loads(served.cli("eval", "--repo", "mine", "--json").out)
    assert (report["questions"], report["is_newer_than_tuned_on"]) == (41, True)
    assert report["figures"]["kept"]["ndcg10"]["mean"] > report["figures"]["default"]["ndcg10"]["mean"]
    assert set(report["figures"]) == {"default", "kept", "words only", "meaning only"}

    forgotten = served.cli("tune", "--repo", "mine", "--forget")
    assert (forgotten.code, "ranked with the defaults again" in forgotten.err) == (0, True)
    assert served.paths(mine, query) == before[mine]


def test_a_trial_tells_what_would_be_kept_and_keeps_nothing(served: Served) -> None:
    mine = served.index("mine", _steps(TOPICS, 134))
    trial = served.cli("tune", "--repo", str(served.root / "mine"), "--dry-run", "--json", "--at-head", *BUDGET)
    report = json.loads(trial.out)
    assert (trial.code, report["is_better"], "dense_share" in report["weights"]) == (0, True, True)
    assert report["searches"] <= 900 + 2 * 41
    assert served.ranking(mine)["weights"] == {}


def test_no_search_is_spent_on_a_reranker_that_is_not_there(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: set[str] = set()

    def search(start: Any, bounds: dict[str, Bounds], *rest: Any) -> Found:
        moved.update(bounds)
        return coordinate_search(start, bounds, *rest)

    monkeypatch.setattr("rag_app.cli.tune_work.coordinate_search", search)
    served.index("mine", _steps(TOPICS[:1], 134))
    assert served.cli("tune", "--repo", "mine", "--budget", "100").code == 1
    assert "dense_share" in moved
    assert "rerank_share" not in moved


def test_where_nothing_can_win_nothing_is_kept_and_the_exit_code_says_so(served: Served) -> None:
    mine = served.index("mine", _steps(TOPICS[:1], 134))  # of one file the ranking is always right
    tuned = served.cli("tune", "--repo", "mine", *BUDGET)
    assert tuned.code == 1
    assert "nothing kept: no other weights did better on the older questions" in tuned.out
    assert served.ranking(mine)["weights"] == {}


def test_a_gain_that_may_be_luck_is_not_kept(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = served.index("mine", _steps(TOPICS, 134))
    monkeypatch.setattr("rag_app.cli.tune_work.SIGNIFICANT_P", 0.0)
    tuned = served.cli("tune", "--repo", "mine", *BUDGET)
    end = "nothing kept: the gain on the newer questions is not significant, by the index as it is (p "
    assert (tuned.code, end in tuned.out) == (1, True)
    assert served.ranking(mine)["weights"] == {}


def test_a_gain_that_only_the_changes_themselves_give_is_not_kept(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 41 syncs would show it too: at the parents both rankings find as much.
    alike = {name: 0.5 for prefix in ("", "span_") for name in (f"{prefix}{figure}" for figure in FIGURES)}
    monkeypatch.setattr(
        "rag_app.cli.tune_work.at_parents",
        lambda rag, repository, past, asked, ways: ({name: [alike] * len(asked) for name in ways}, 0),
    )
    mine = served.index("mine", _steps(TOPICS, 134))
    tuned = served.cli("tune", "--repo", "mine", "--json", *BUDGET)
    report = json.loads(tuned.out)
    by_index, at_parents = report["judged"]
    assert report["reason"] == (
        "the gain on the newer questions is not significant, asked of the tree before each commit (p 1), "
        "though by the index as it is it is"
    )
    assert (by_index["reason"], at_parents["reason"]) == ("", "the gain on the newer questions is not significant")
    assert (tuned.code, served.ranking(mine)["weights"]) == (1, {})


def test_at_the_parents_all_newer_questions_are_asked_though_one_was_said_again_of_a_file_that_is_gone(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steps() -> Iterator[Step]:
        made = list(_steps(TOPICS, 134))
        yield from made
        yield "A place for what goes", {"src/gone.py": _source("zeppelin", 0)}
        yield made[-1][0], {"src/gone.py": _source("zeppelin", 1)}
        yield "Take away what goes", {"src/gone.py": None}

    asked: list[Asked] = []
    alike = {name: 0.5 for prefix in ("", "span_") for name in (f"{prefix}{figure}" for figure in FIGURES)}

    def at_parents(rag: Any, repository: Any, past: Any, wanted: list[Asked], ways: Any) -> Any:
        asked.extend(wanted)
        return {name: [alike] * len(wanted) for name in ways}, 0

    monkeypatch.setattr("rag_app.cli.tune_work.at_parents", at_parents)
    served.index("mine", steps())
    tuned = served.cli("tune", "--repo", "mine", *BUDGET)
    assert (len(asked), len({one.commit for one in asked})) == (41, 41)
    assert "mine: the 41 newer questions (31%), files, at the parent" in tuned.out
    assert "now asking each of 41 trees" in tuned.err


def test_too_little_history_is_said_with_an_exit_code_of_its_own(served: Served) -> None:
    served.index("mine", _steps(TOPICS, 130))
    tuned = served.cli("tune", "--repo", "mine", *BUDGET)
    assert tuned.code == 3
    assert "too little history: 130 commits of mine make a question, the 39 newest of them to judge by" in tuned.err


def test_ctrl_c_ends_a_tuning_and_changes_nothing(served: Served) -> None:
    mine = served.index("mine", _steps(TOPICS, 134))
    served.at_embedding.append((40, lambda: os.kill(os.getpid(), signal.SIGINT)))  # in the middle of the first pass
    tuned = served.cli("tune", "--repo", "mine", "--budget", "1000000", "--minutes", "60")
    assert (tuned.code, "nothing was changed" in tuned.err) == (130, True)
    assert served.ranking(mine)["weights"] == {}


def test_eval_tells_figures_with_intervals_of_the_product_and_of_each_arm(served: Served) -> None:
    served.index("mine", _steps(TOPICS, 30))
    told = served.cli("eval", "--repo", "mine", "-n", "24")
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines[0].startswith("mine: 24 questions, files, at HEAD: the change itself is in the index")
    assert [line.split("  ")[0] for line in lines[2:5]] == ["default", "words only", "meaning only"]
    assert lines[3].split()[2:5] == ["1.000", "[1.000,", "1.000]"], "each topic's word is in one file"
    assert "72 searches" in lines[-1]


def test_eval_asks_the_users_own_questions(served: Served, tmp_path: Path) -> None:
    served.index("mine", _steps(TOPICS, 1))
    asked = tmp_path / "asked.jsonl"
    rows = [
        {"id": topic, "query": f"handle_{topic}", "gold": [{"path": f"src/part{n}.py"}]}
        for n, topic in enumerate(TOPICS)
    ]
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = json.loads(served.cli("eval", "--repo", "mine", "--questions", str(asked), "--json").out)
    assert (report["questions"], report["at"]) == (12, "as indexed")
    assert report["figures"]["words only"]["recall1"]["mean"] == 1


def test_a_question_without_an_answer_is_refused_by_its_line_and_with_what_it_lacks(
    served: Served, tmp_path: Path
) -> None:
    served.index("mine", _steps(TOPICS[:2], 1))
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"id": "1", "query": "a", "gold": [{"path": "a.py"}]}\n{"id": "2", "query": "b"}\n')
    refused = served.cli("eval", "--repo", "mine", "--questions", str(asked))
    assert refused.code == 2
    assert "asked.jsonl:2: {'id': '2', 'query': 'b'} has no 'gold'; a question needs \"id\"" in refused.err


def test_an_answer_that_is_not_indexed_is_told_since_it_can_only_be_missed(served: Served, tmp_path: Path) -> None:
    served.index("mine", _steps(TOPICS[:2], 1))
    asked = tmp_path / "asked.jsonl"
    paths = ["src/part0.py", *(f"lib/part{number}.py" for number in range(4)), "lib/part0.py"]
    rows = [{"id": str(n), "query": "handle_anchor", "gold": [{"path": path}]} for n, path in enumerate(paths)]
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = served.cli("eval", "--repo", "mine", "--questions", str(asked))
    assert told.code == 0
    assert "4 of the 5 files that answer are not in the index of mine" in told.err
    assert told.err.rstrip().endswith("lib/part0.py, lib/part1.py, lib/part2.py, …")
    asked.write_text(json.dumps(rows[0]) + "\n")
    assert served.cli("eval", "--repo", "mine", "--questions", str(asked)).err == ""


def test_at_the_parent_each_question_is_asked_of_the_tree_before_and_no_copy_is_left(served: Served) -> None:
    # The last commit writes the word that its message asks by: today's index has it, the tree before it had not.
    def steps() -> Iterator[Step]:
        yield from _steps(TOPICS[:4], 4)
        yield "Let zeppelins fly too", {"src/part2.py": _source("zeppelins", 9)}

    mine = served.index("mine", steps())
    at_head = json.loads(served.cli("eval", "--repo", "mine", "-n", "1", "--json").out)
    before = json.loads(served.cli("eval", "--repo", "mine", "-n", "1", "--at-parent", "--json").out)
    assert at_head["figures"]["words only"]["ndcg10"]["mean"] == 1
    assert before["figures"]["words only"]["ndcg10"]["mean"] == 0
    assert before["at"] == "at the parent: each asked of the tree before its commit"
    left = httpx.get(f"{served.url}/v1/repositories").json()["repositories"]
    assert [one["id"] for one in left] == [mine]
    assert {path.name for path in served.root.iterdir()} == {"data", "mine"}


def test_two_ctrl_c_while_a_scratch_copy_is_indexed_leave_none(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    # The second comes when the removal was refused once, for the job is in the middle of an embedding.
    mine = served.index("mine", _steps(TOPICS, 4))
    refused, call = threading.Event(), Server.call

    def first() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        refused.wait(30)

    def second(rag: Server, method: str, *rest: Any) -> Any:
        try:
            return call(rag, method, *rest)
        except Failure as failure:
            if (method, failure.code) == ("DELETE", "conflict"):
                os.kill(os.getpid(), signal.SIGINT)
                refused.set()
            raise

    monkeypatch.setattr(Server, "call", second)
    # A commit changes one function; the copy's other texts are in the cache of embeddings.
    served.at_embedding.append((1, first))
    ended = served.cli("eval", "--repo", "mine", "--at-parent")
    assert refused.is_set()
    assert ended.code == 130
    assert "the scratch copy is being removed" in ended.err
    assert ended.err.endswith("ended before it was done; nothing was changed\n")
    assert [one["id"] for one in served.repositories()] == [mine]
    assert {path.name for path in served.root.iterdir()} == {"data", "mine"}


def test_a_scratch_copy_that_cannot_be_removed_is_told_and_the_next_run_removes_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = served.index("mine", _steps(TOPICS, 4))
    may_go_on = threading.Event()

    def stuck() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        may_go_on.wait(30)

    monkeypatch.setattr("rag_app.cli.scratch.FORGET_LIMIT_S", 0.0)
    served.at_embedding.append((1, stuck))
    ended = served.cli("eval", "--repo", "mine", "--at-parent")
    [left] = [one for one in served.repositories() if one["id"] != mine]
    assert (ended.code, left["name"][:14]) == (143, ".mine-scratch-")
    assert f"`code-assistant repos delete {left['id']}` removes it" in ended.err
    assert "nothing was changed" not in ended.err
    assert {path.name for path in served.root.iterdir()} == {"data", "mine"}

    may_go_on.set()
    while any(one["state"] in ("new", "indexing") for one in served.repositories()):
        time.sleep(0.05)
    again = served.cli("eval", "--repo", "mine", "--at-parent", "-n", "1")
    assert (again.code, f"removed the left-over scratch copy {left['name']}" in again.err) == (0, True)
    assert [one["id"] for one in served.repositories()] == [mine]


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(served: Served) -> None:
    mine = served.index("mine", _steps(TOPICS, 4))
    ids = {}
    for name in ("killed", "living"):
        folder = served.root / f".mine-scratch-{name}"
        make_past(folder / "all", _steps(TOPICS, 1))
        mark = AliveMark(folder / "alive")
        if name == "living":
            mark.set()
        else:
            (folder / "alive").mkdir()
            (folder / "alive" / mark.name).touch()
        body = {"source": {"type": "path", "path": str(folder / "all")}, "name": folder.name}
        ids[name] = httpx.post(f"{served.url}/v1/repositories", json=body).json()["repository"]["id"]
    while any(one["state"] in ("new", "indexing") for one in served.repositories()):
        time.sleep(0.05)
    assert served.cli("eval", "--repo", "mine", "--at-parent", "-n", "1").code == 0
    assert {one["id"] for one in served.repositories()} == {mine, ids["living"]}
    assert {path.name for path in served.root.iterdir()} == {"data", "mine", ".mine-scratch-living"}


def test_a_scratch_copy_is_hidden_from_searches_that_do_not_name_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = served.index("mine", _steps(TOPICS, 4))
    found: set[str] = set()

    def values(asker: Asker, *rest: Any) -> Any:
        copies = [one for one in served.repositories() if one["id"] != mine]
        assert [one["id"] for one in copies] == [asker.repository]
        hits = httpx.post(f"{served.url}/v1/search", json={"query": "handle_kettle"}).json()["hits"]
        found.update(hit["repository"] for hit in hits)
        return asked(asker, *rest)

    asked = Asker.values
    monkeypatch.setattr(Asker, "values", values)
    assert served.cli("eval", "--repo", "mine", "--at-parent", "-n", "1").code == 0
    assert found == {mine}


def test_doc_comments_ask_a_copy_that_lacks_them_for_functions_and_no_copy_is_left(served: Served) -> None:
    def steps() -> Iterator[Step]:
        doc = '    """Gives back every connection and waits for those in use."""\n'
        code = f"def close(it):\n{doc}    return it.end()\n\n\n" + "\n".join(f"value_{n} = {n}" for n in range(40))
        yield "The first light of day", {"src/quay.py": code, "src/other.py": _source("kettle", 0)}

    mine = served.index("mine", steps())
    told = served.cli("eval", "--repo", "mine", "--doc-comments", "--json")
    report = json.loads(told.out)
    assert (report["questions"], report["level"]) == (1, "functions")
    assert report["figures"]["words only"]["ndcg10"]["mean"] == 0, "no word of it is in the code itself"
    assert report["searches"] == 3
    assert served.paths(mine, "every connection")[0][0] == "src/quay.py", "the repository has its documentation still"
    assert [one["id"] for one in httpx.get(f"{served.url}/v1/repositories").json()["repositories"]] == [mine]
    assert {path.name for path in served.root.iterdir()} == {"data", "mine"}


def test_two_sets_of_questions_at_once_are_refused(served: Served) -> None:
    refused = served.cli("eval", "--repo", "mine", "--doc-comments", "--at-parent")
    assert (refused.code, "give one of them" in refused.err) == (2, True)


def test_a_server_without_its_model_is_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tei = FakeTei(max_input_length=512, max_client_batch_size=64)
    with live(tei.app()) as url:
        settings = RagSettings(
            _env_file=None, data_dir=tmp_path / "data", allowed_roots=str(tmp_path), embedding_url=url
        )  # type: ignore[call-arg]
        store = ChunkStore(settings, AsyncQdrantClient(":memory:"))
        with live(create_app(settings, store=store)) as rag:
            served = Served(Cli(rag, capsys), rag, tmp_path)
            served.index("mine", _steps(TOPICS[:3], 3))
            tei.failures += [(503, {})] * 100
            told = served.cli("eval", "--repo", "mine")
    assert (told.code, "the server searched without embedding" in told.err) == (2, True)


def test_a_folder_without_git_and_a_repository_that_is_unknown_are_refused_in_words(served: Served) -> None:
    (served.root / "plain").mkdir()
    (served.root / "plain" / "a.py").write_text("x = 1\n")
    served.cli("index", str(served.root / "plain"))
    refused = served.cli("eval", "--repo", "plain")
    assert (refused.code, "git cannot read the history of" in refused.err) == (2, True)
    unknown = served.cli("tune", "--repo", "nope")
    assert (unknown.code, "no repository is called 'nope'; indexed are: plain" in unknown.err) == (2, True)


def test_a_history_elsewhere_is_asked_for_where_the_indexed_folder_has_none(cli: Cli, rag: FakeRag) -> None:
    rag.repositories = [repository(), repository("r2", "cloned", source={"type": "git", "url": "https://x.org/a.git"})]
    away = cli("tune", "--repo", "flask")
    assert (away.code, away.err) == (
        2,
        "/src/flask is not on this machine; name a clone that has the history: --history PATH\n",
    )
    cloned = cli("tune", "--repo", "cloned")
    assert (cloned.code, "the server cloned cloned without its history" in cloned.err) == (2, True)


def test_a_clone_that_has_the_history_may_be_named(served: Served) -> None:
    past = make_past(served.root / "mine", _steps(TOPICS, 12))
    shutil.copytree(past, served.root / "bare", ignore=shutil.ignore_patterns(".git"))
    assert served.cli("index", str(served.root / "bare")).code == 0
    told = served.cli("eval", "--repo", "bare", "--history", str(past))
    assert (told.code, told.out.splitlines()[0][:18]) == (0, "bare: 12 questions")


def test_questions_are_of_the_commit_that_the_index_holds_and_not_of_what_came_since(served: Served) -> None:
    served.index("mine", _steps(TOPICS, 12))
    for words in (["commit", "-q", "--allow-empty", "-m", "x"], ["reset", "-q", "--hard", "HEAD~3"]):
        git(served.root / "mine", *words)
    told = served.cli("eval", "--repo", "mine", "--json")
    assert json.loads(told.out)["questions"] == 12, "the indexed commit, not the HEAD that went back"
    git(served.root / "mine", "reflog", "expire", "--expire=all", "--all")
    git(served.root / "mine", "gc", "-q", "--prune=now")
    told = served.cli("eval", "--repo", "mine", "--json")
    assert json.loads(told.out)["questions"] == 10
    assert "which the index holds; its HEAD is taken instead" in told.err


def test_a_repository_that_holds_no_question_is_told_with_what_was_left_out(served: Served) -> None:
    def steps() -> Iterator[Step]:
        yield "The first light of day", {"src/a.py": "x = 1\n"}
        yield "Fix typos all over", {"src/a.py": "x = 2\n"}

    served.index("mine", steps())
    told = served.cli("eval", "--repo", "mine")
    assert told.code == 3
    assert "makes a question (1 cosmetic, 1 first commit)" in told.err


def test_no_program_that_the_repositorys_own_configuration_names_is_run(served: Served, tmp_path: Path) -> None:
    served.index("mine", _steps(TOPICS, 4))
    trap, sprung = tmp_path / "trap", tmp_path / "sprung"
    trap.write_text(f"#!/bin/sh\necho $0 >> {sprung}\ncat\n")
    trap.chmod(0o755)
    mine = served.root / "mine"
    (mine / ".gitattributes").write_text("*.py diff=trap filter=trap\n")
    programs = (
        "core.fsmonitor core.pager core.sshCommand diff.external diff.trap.command diff.trap.textconv "
        "filter.trap.clean filter.trap.smudge gpg.program pager.log"
    )
    for name in programs.split():
        git(mine, "config", name, str(trap))
    git(mine, "config", "log.showSignature", "true")
    (mine / ".git" / "hooks" / "post-checkout").write_text(trap.read_text())
    (mine / ".git" / "hooks" / "post-checkout").chmod(0o755)
    assert served.cli("eval", "--repo", "mine").code == 0
    assert served.cli("eval", "--repo", "mine", "--at-parent", "-n", "2").code == 0
    assert not sprung.exists(), sprung.read_text()
