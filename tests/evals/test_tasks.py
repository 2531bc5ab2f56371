"""Tasks: what is indexed is what is asked about, and no name tells the answer."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from evals.tasks.chosen import chosen
from evals.tasks.commits import Commits, NoRepository
from evals.tasks.documents import Documents
from evals.tasks.ours import CATEGORIES, FOLDER, Pinned, is_korean, packages, problems
from search_eval.golden import BadQuestion, Gold, Question


def rows(path: Path, *those: object) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in those))


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    source = tmp_path / "set"
    source.mkdir()
    rows(
        source / "corpus.jsonl",
        {"_id": "s7", "name": "send_mail", "text": "def send_mail():\n    pass"},
        {"_id": "s9", "name": "stop", "text": "def stop():\n    pass\n"},
    )
    rows(source / "queries.dev.jsonl", {"_id": "q1", "text": "how to stop"}, {"_id": "q2", "text": "unjudged"})
    rows(source / "qrels.dev.jsonl", {"query-id": "q1", "corpus-id": "s9", "score": 1},
         {"query-id": "q1", "corpus-id": "s7", "score": 0})  # fmt: skip
    return Documents("set", source, tmp_path / "work")


def test_a_document_is_a_file_whose_name_tells_nothing(documents: Documents) -> None:
    [batch] = documents.batches()
    files = {path.relative_to(batch.root).as_posix(): path.read_text() for path in batch.root.rglob("*.py")}
    assert files == {"d000/0000.py": "def send_mail():\n    pass\n", "d000/0001.py": "def stop():\n    pass\n"}


def test_a_document_whose_module_is_told_stands_there_and_what_an_earlier_form_left_is_gone(
    documents: Documents,
) -> None:
    left = documents.work / "set" / "d000" / "0000.py"
    left.parent.mkdir(parents=True)
    left.write_text("old")
    rows(
        documents.source / "corpus.jsonl",
        {
            "_id": "s7",
            "path": "mail/client.py",
            "cls": "Client",
            "name": "send",
            "text": "    def send(self):\n        pass",
        },
        {"_id": "s9", "path": "mail/stop.py", "cls": "", "name": "stop", "text": "def stop():\n    pass\n"},
    )
    [batch] = documents.batches()
    files = {path.relative_to(batch.root).as_posix(): path.read_text() for path in batch.root.rglob("*.py")}
    assert files == {
        "mail/client/Client/0000.py": "def send(self):\n    pass\n",
        "mail/stop/0001.py": "def stop():\n    pass\n",
    }
    assert batch.questions[0].gold == (Gold("mail/stop/0001.py"),)


def test_other_files_are_another_state_so_that_no_ranking_of_the_old_ones_is_kept(documents: Documents) -> None:
    [before], [again] = documents.batches(), documents.batches()
    corpus = documents.source / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("def stop", "def halt"))
    [text] = documents.batches()
    corpus.write_text(corpus.read_text().replace('"_id": "s9"', '"_id": "s9", "path": "mail/stop.py"'))
    [place] = documents.batches()
    assert before.state == again.state
    assert len({before.state, text.state, place.state}) == 3


def test_a_question_s_gold_is_the_judged_document_s_file_and_unjudged_ones_are_not_asked(documents: Documents) -> None:
    assert documents.questions == [Question("set-q1", "how to stop", (Gold("d000/0001.py"),), "set", "python")]


@pytest.fixture
def commits(tmp_path: Path) -> Commits:
    """A repository of two commits; the file of questions names the later one first."""
    clone = tmp_path / "clones" / "them+thing" / "repo"
    work = tmp_path / "checkout"
    work.mkdir()

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@x", *words]
        return subprocess.run(command, cwd=work, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "main")
    (work / "old.py").write_text("old = 1\n")
    (work / "both.py").write_text("a = 1\n")
    git("add", "."), git("commit", "-qm", "one")
    first = git("rev-parse", "HEAD")
    (work / "old.py").unlink()
    (work / "new.py").write_text("new = 1\n")
    (work / "both.py").write_text("a = 2\n")
    git("add", "-A"), git("commit", "-qm", "two")
    second = git("rev-parse", "HEAD")
    git("clone", "-q", "--bare", ".", str(clone))
    source = tmp_path / "set"
    source.mkdir()
    row = {"repo": "thing", "github": "them/thing", "lang": "python", "stem_in_query": False}
    rows(
        source / "queries.dev.jsonl",
        {**row, "_id": "b", "parent": second, "date": "2024-02-02", "query": "later", "gold": ["new.py"]},
        {**row, "_id": "a", "parent": first, "date": "2024-01-01", "query": "earlier", "gold": ["old.py", "both.py"]},
    )
    return Commits(source, tmp_path / "clones", tmp_path / "work")


def test_each_question_is_asked_of_the_whole_tree_before_its_commit_oldest_first(commits: Commits) -> None:
    seen = []
    for batch in commits.batches():
        files = {path.name: path.read_text() for path in batch.root.rglob("*") if path.is_file()}
        seen.append((batch.questions[0].query, files))
    assert seen == [
        ("earlier", {"old.py": "old = 1\n", "both.py": "a = 1\n"}),
        ("later", {"new.py": "new = 1\n", "both.py": "a = 2\n"}),
    ]


def test_a_second_run_comes_back_from_the_last_tree_to_the_first(commits: Commits) -> None:
    for _ in range(2):
        states = [sorted(path.name for path in batch.root.iterdir()) for batch in commits.batches()]
        assert states == [["both.py", "old.py"], ["both.py", "new.py"]]


def test_a_clone_without_the_commit_is_named(commits: Commits, tmp_path: Path) -> None:
    path = tmp_path / "set" / "queries.dev.jsonl"
    rows(path, *({**json.loads(line), "parent": "0" * 40} for line in path.read_text().splitlines()))
    with pytest.raises(NoRepository, match="them\\+thing/repo has no tree of 0000"):
        list(commits.batches())


@pytest.fixture(scope="module")
def pinned() -> list[Pinned]:
    return packages()


def test_our_set_is_as_large_and_as_mixed_as_is_promised(pinned: list[Pinned]) -> None:
    questions = [question for one in pinned for question in one.questions]
    main = [question for question in questions if not is_korean(question)]
    assert len(main) >= 240
    assert len(pinned) >= 12
    assert len({one.language for one in pinned}) >= 8
    assert len(questions) - len(main) >= 40
    assert Counter(one.half for one in pinned)["held-out"] * 2 == len(pinned)
    assert set(Counter(question.category for question in main)) == set(CATEGORIES)
    assert min(Counter(question.category for question in main).values()) >= 30
    assert len({question.id for question in questions}) == len(questions)


def test_every_package_is_pinned_by_its_hash_and_some_small_ones_are_checked_without_debian(
    pinned: list[Pinned],
) -> None:
    assert all(len(one.fetch.sha256) == 64 for one in pinned)
    checked = [one for one in pinned if one.is_checked]
    assert len(checked) >= 3
    assert all(one.half == "development" and one.registry != "debian" for one in checked)


def test_every_file_of_questions_belongs_to_a_package(pinned: list[Pinned]) -> None:
    assert {path.stem for path in FOLDER.glob("*.jsonl")} == {one.name for one in pinned}


def one_package(folder: Path, *questions: object) -> Pinned:
    (folder / "packages.toml").write_text(
        '[[package]]\nname = "p"\nhalf = "development"\nlanguage = "go"\nregistry = "npm"\npackage = "@x/p"\n'
        'version = "1"\narchive = "p-1.tgz"\nsha256 = "00"\nfolders = ["src"]\n'
    )
    rows(folder / "p.jsonl", *questions)
    return packages(folder)[0]


GOOD = {"id": "p-1", "category": "usage", "query": "how?", "gold": [{"path": "a.go", "start_line": 1, "end_line": 2}]}


def test_a_korean_wording_is_a_question_of_its_own_with_the_same_gold(tmp_path: Path) -> None:
    one, korean = one_package(tmp_path, {**GOOD, "ko": "어떻게?"}).questions
    assert (korean.id, korean.query, korean.gold, korean.repository) == ("p-1-ko", "어떻게?", one.gold, "p")
    assert is_korean(korean)
    assert not is_korean(one)


def test_wrong_places_are_told_by_id_and_never_by_query(tmp_path: Path) -> None:
    (tmp_path / "a.go").write_text("package a\n")
    found = problems(
        one_package(tmp_path, GOOD, {**GOOD, "id": "p-2", "category": "fun", "gold": [{"path": "b.go"}]}), tmp_path
    )
    assert found == [
        "p-1: a.go has 1 lines, not 2",
        "p-2: 'fun' is no category",
        "p-2: b.go is not there",
    ]


def test_an_id_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadQuestion, match="p-1 is there twice"):
        one_package(tmp_path, GOOD, GOOD)


def test_sets_that_are_not_at_hand_are_left_out_and_said_so(tmp_path: Path) -> None:
    for name in ("cosqa", "repoloc"):
        (tmp_path / name).mkdir()
    names = ("ours", "repoloc", "cosqa", "stdlib")

    def run(**env: str) -> tuple[list[str], list[str]]:
        tasks, skipped = chosen(names, env, tmp_path, lambda line: None)
        return [one.name for one in tasks], [line.split()[0] for line in skipped]

    assert run() == (["ours"], ["repoloc", "cosqa", "stdlib"])
    assert run(EVALSETS=str(tmp_path)) == (["ours", "cosqa"], ["repoloc", "stdlib"])
    assert run(EVALSETS=str(tmp_path), EVALSETS_REPOSITORIES=str(tmp_path)) == (
        ["ours", "repoloc", "cosqa"],
        ["stdlib"],
    )


def test_a_quick_run_is_of_two_packages(tmp_path: Path) -> None:
    [task], _ = chosen(["ours"], {}, tmp_path, lambda line: None, is_quick=True)
    assert len({question.repository for question in task.questions}) == 2
