"""A golden set out of a real git repository, made here: which commits ask, what answers, and how time splits it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from search_eval.git_log import Git
from search_eval.golden import Gold, Question
from search_eval.history import Asked, History, history, split
from search_eval.source_paths import is_source, tells_history

CODE = "def one():\n    return 1\n\n\ndef two():\n    return 2\n\n\ndef three():\n    return 3\n"


class Repo:
    """A git repository whose clock goes on by a day with each commit."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.day = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str, who: str = "Ann <ann@example.org>") -> str:
        name, _, address = who.partition(" <")
        moment = f"{1_600_000_000 + self.day * 86_400} +0000"
        env = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment, "PATH": "/usr/bin:/bin:/usr/local/bin"}
        settings = ["-c", f"user.name={name}", "-c", f"user.email={address.rstrip('>')}", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *settings, *words], cwd=self.folder, env=env, check=True, capture_output=True, text=True
        )
        return done.stdout

    def commit(self, message: str, files: Mapping[str, str | None], who: str = "Ann <ann@example.org>") -> str:
        """Write the files (None: delete), commit; the commit's id."""
        self.day += 1
        for path, text in files.items():
            place = self.folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text) if text is not None else place.unlink()
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", message, who=who)
        return self.git("rev-parse", "HEAD").strip()

    def asked(self, **options: str | int) -> History:
        return history(self.git, **options)  # type: ignore[arg-type]


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "repo")
    files = {f"src/{name}.py": CODE for name in ("cart", "order", "user", "mail", "price", "stock")}
    made.commit("First light of the shop", {**files, "README.md": "shop\n", "poetry.lock": "1\n"})
    return made


def queries(found: History) -> list[str]:
    return [one.question.query for one in found.asked]


def test_a_commit_asks_by_its_message_and_the_files_that_it_changed_answer(repo: Repo) -> None:
    commit = repo.commit("Round totals once (#12)", {"src/cart.py": CODE + "# x\n", "tests/test_cart.py": "1\n"})
    [one] = repo.asked().asked
    assert one.question.query == "Round totals once"
    assert one.question.gold == (Gold("src/cart.py"),)  # its test is no answer
    assert (one.commit, one.question.category) == (commit, "commit")


def test_at_the_parent_the_changed_lines_answer_in_the_parents_numbers(repo: Repo) -> None:
    changed = "# a\n# b\n" + CODE.replace("return 2", "return 22").replace("return 3\n", "return 3\n# end\n")
    repo.commit("Round totals once only", {"src/cart.py": changed})
    [one] = repo.asked(at="parent").asked
    assert one.question.gold == (Gold("src/cart.py", 1, 1), Gold("src/cart.py", 6, 6), Gold("src/cart.py", 10, 10))
    assert one.parent == repo.git("rev-parse", "HEAD~1").strip()


def test_a_question_that_names_a_gold_files_stem_is_told_apart(repo: Repo) -> None:
    repo.commit("Let the cart round once", {"src/cart.py": CODE + "# x\n"})
    assert repo.asked().asked[0].question.category == "commit, names a file's stem"


@pytest.mark.parametrize(
    ("reason", "message", "files", "who"),
    [
        ("revert", 'Revert "Round totals once"', {"src/cart.py": "1\n"}, ""),
        ("version", "Bump version to 2.1", {"src/cart.py": "1\n"}, ""),
        ("cosmetic", "Fix typos all over", {"src/cart.py": "1\n"}, ""),
        ("over 5 files", "Rework everything at once", {f"src/{n}.py": "1\n" for n in
         ("cart", "order", "user", "mail", "price", "stock")}, ""),
        ("no source changed", "Explain how totals are rounded", {"README.md": "more\n"}, ""),
        ("no source changed", "Test how totals are rounded", {"tests/test_cart.py": "more\n"}, ""),
        ("no source changed", "Lock the newest of everything", {"poetry.lock": "2\n"}, ""),
        ("under 3 words", "Fix cart.py, #12", {"src/cart.py": "1\n"}, ""),
        ("by a program", "Let totals be rounded once", {"src/cart.py": "1\n"}, "renovate[bot] <r@example.org>"),
        ("only new files", "Add vouchers to the shop", {"src/voucher.py": "1\n"}, ""),
        ("gone since", "Drop what mails the owner", {"src/mail.py": None}, ""),
    ],
)  # fmt: skip
def test_what_asks_for_no_place_is_left_out_and_counted(
    repo: Repo, reason: str, message: str, files: dict[str, str | None], who: str
) -> None:
    repo.commit(message, files, *([who] if who else []))
    found = repo.asked()
    assert found.asked == ()
    assert found.left_out == {reason: 1, "first commit": 1}


def test_a_merge_asks_nothing_and_the_commits_that_it_brings_do(repo: Repo) -> None:
    repo.git("checkout", "--quiet", "-b", "side")
    repo.commit("Round totals once only", {"src/cart.py": CODE + "# x\n"})
    repo.git("checkout", "--quiet", "main")
    repo.commit("Send letters only once", {"src/order.py": CODE + "# y\n"})
    repo.day += 1
    repo.git("merge", "--quiet", "--no-ff", "-m", "Bring the rounding of totals", "side")
    found = repo.asked()
    assert queries(found) == ["Send letters only once", "Round totals once only"]
    assert found.left_out["merge"] == 1


def test_what_was_said_twice_asks_once(repo: Repo) -> None:
    repo.commit("Round totals once only", {"src/cart.py": CODE + "# x\n"})
    repo.commit("Round totals once only (#3)", {"src/cart.py": CODE + "# y\n"})
    found = repo.asked()
    assert (queries(found), found.left_out["said twice"]) == (["Round totals once only"], 1)


def test_a_file_that_was_renamed_since_answers_under_todays_name_and_at_the_parent_under_its_own(repo: Repo) -> None:
    repo.commit("Round totals once only", {"src/cart.py": CODE + "# x\n"})
    repo.git("mv", "src/cart.py", "src/basket.py")
    repo.commit("Call it a basket", {})
    repo.git("mv", "src/basket.py", "src/trolley.py")
    repo.commit("Call it a trolley", {"src/trolley.py": CODE + "# x\n# z\n"})
    assert [one.question.gold for one in repo.asked().asked] == [(Gold("src/trolley.py"),)] * 3
    at_parent = [{gold.path for gold in one.question.gold} for one in repo.asked(at="parent").asked]
    assert at_parent == [{"src/basket.py"}, {"src/cart.py"}, {"src/cart.py"}]


def test_a_new_file_under_an_old_name_does_not_answer_for_the_old_one(repo: Repo) -> None:
    repo.commit("Round totals once only", {"src/cart.py": CODE + "# x\n"})
    repo.commit("Do without any of it", {"src/cart.py": None})
    repo.commit("Begin again from nothing", {"src/cart.py": "print('quite another thing')\n"})
    found = repo.asked()
    assert (found.asked, found.left_out["gone since"]) == ((), 2)


def test_a_folder_of_a_repository_asks_for_its_own_files_only(repo: Repo) -> None:
    repo.commit("Round totals once only", {"src/cart.py": CODE + "# x\n", "web/app.js": "1\n"})
    repo.commit("Draw it in another colour", {"web/app.js": "2\n"})

    def below(*words: str) -> str:
        return repo.git("-C", "src", *words)

    found: list[Git] = [below]
    asked = history(found[0]).asked
    assert [one.question.gold for one in asked] == [(Gold("cart.py"),)]


def test_a_limit_takes_the_newest(repo: Repo) -> None:
    for number in ("alpha", "beta", "gamma"):
        repo.commit(f"Round totals like {number}", {"src/cart.py": CODE + f"# {number}\n"})
    assert queries(repo.asked(limit=2)) == ["Round totals like gamma", "Round totals like beta"]


def test_the_older_part_is_to_tune_on_and_nothing_of_it_is_newer_than_what_judges(repo: Repo) -> None:
    for number in range(10):
        repo.commit(f"Round totals like uncle {'abcdefghij'[number] * 3}", {"src/cart.py": CODE + f"# {number}\n"})
    older, newer = split(repo.asked().asked)
    assert (len(older), len(newer)) == (7, 3)
    assert max(one.time for one in older) < min(one.time for one in newer)


def asked_at(*times: int) -> list[Asked]:
    question = Question("q", "where", (Gold("src/cart.py"),))
    return [Asked(question, f"c{number:03}", "p", time) for number, time in enumerate(times)]


@pytest.mark.parametrize(
    ("times", "sizes"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], (7, 3)),
        ([1, 2, 3, 4, 5, 6, 7, 7, 9, 10], (6, 4)),  # the second of the cut goes whole to the nearer side
        ([1, 2, 3, 4, 5, 5, 5, 5, 9, 10], (8, 2)),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 10], (9, 1)),
        ([1] * 10, (10, 0)),
    ],
)
def test_commits_of_one_second_stand_on_one_side_so_that_the_time_of_the_cut_tells_them_apart(
    times: list[int], sizes: tuple[int, int]
) -> None:
    asked = asked_at(*times)
    older, newer = split(list(reversed(asked)))
    assert (len(older), len(newer)) == sizes
    since = newer[0].time if newer else max(times) + 1
    assert [one for one in asked if one.time >= since] == newer


def test_only_the_commits_that_are_wanted_ask_whatever_others_say(repo: Repo) -> None:
    older = repo.commit("Round totals once only", {"src/cart.py": CODE + "# x\n"})
    newer = repo.commit("Round totals once only (#3)", {"src/cart.py": CODE + "# y\n"})
    assert [one.commit for one in repo.asked(at="parent").asked] == [newer]
    found = history(repo.git, at="parent", among={older})
    assert ([one.commit for one in found.asked], found.left_out) == ([older], {})


def test_names_with_blanks_and_umlauts_pass(repo: Repo) -> None:
    repo.commit("Add a file that is odd", {"src/müll eimer.py": CODE})
    repo.commit("Empty it every week", {"src/müll eimer.py": CODE + "# x\n"})
    assert repo.asked().asked[0].question.gold == (Gold("src/müll eimer.py"),)
    assert repo.asked(at="parent").asked[0].question.gold == (Gold("src/müll eimer.py", 10, 10),)


@pytest.mark.parametrize("path", ["a.py", "src/Cart.java", "lib/x.test_helpers.py", "contest/a.go", "src/latest.rs"])
def test_source_is_source(path: str) -> None:
    assert is_source(path)


@pytest.mark.parametrize(
    "path",
    ["tests/a.py", "a_test.go", "src/CartTest.java", "app.spec.ts", "docs/conf.py", "README.md", "package-lock.json",
     "Makefile", "setup.py", "src/x/__version__.py", "vendor/a.go", "app.min.js", "api_pb2.py", "test_a.py"],
)  # fmt: skip
def test_tests_docs_locks_and_generated_files_are_no_source(path: str) -> None:
    assert not is_source(path)


def test_files_that_quote_the_history_are_known_and_code_of_that_name_is_none() -> None:
    assert all(
        map(tells_history, ["CHANGELOG.md", "HISTORY.rst", "docs/changes/2.1.md", "NEWS", "doc/release-notes.txt"])
    )
    assert not any(map(tells_history, ["src/history.py", "docs/guide.md", "docs/newsletter.md", "lib/changes.go"]))
