import os
import re
import socket
import time
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given, settings
from pathspec import GitIgnoreSpec

from rag_app.features.indexing.ignore import MAX_DOUBLE_STARS, check_globs, globs
from rag_app.features.indexing.walk import Found, walk
from service_kit.errors import Unavailable, ValidationFailed


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(root: Path, **options: object) -> dict[str, str | None]:
    wanted = {"max_file_bytes": 1_000, **options}
    return {entry.path: entry.reason for entry in walk(root, **wanted)}  # type: ignore[arg-type]


def test_every_file_is_found_once_by_its_relative_path(tmp_path: Path) -> None:
    put(tmp_path, **{"b.py": "b", "src/a.py": "a", "src/deep/er/c.py": "c"})
    assert found(tmp_path) == {"b.py": None, "src/a.py": None, "src/deep/er/c.py": None}


@pytest.mark.parametrize(
    ("ignore", "path", "is_ignored"),
    [
        ("*.log", "deep/a.log", True),
        ("/a.log", "deep/a.log", False),
        ("/a.log", "a.log", True),
        ("*.log\n!keep.log", "keep.log", False),
        ("build/", "src/build/x.py", True),
        ("build/", "build", False),
        ("build/\n!build/x.py", "build/x.py", True),  # git never looks into an ignored folder
        ("build/*\n!build/x.py", "build/x.py", False),
        ("docs/**/draft.md", "docs/a/b/draft.md", True),
        ("# a.py\n\n\\#x", "a.py", False),
        ("a[0-9].py", "a7.py", True),
    ],
)
def test_gitignore_means_what_it_means_to_git(tmp_path: Path, ignore: str, path: str, is_ignored: bool) -> None:
    put(tmp_path, **{path: "x", ".gitignore": ignore})
    reached = found(tmp_path)
    assert (reached.get(path, "ignored") == "ignored") is is_ignored


@pytest.mark.filterwarnings("ignore:Possible set difference")  # pathspec's own compiling
@pytest.mark.parametrize("odd", ["!", "\\", "a\\", "[z-a]", "[a--b]", "[", "//", "!/"])
@pytest.mark.parametrize("where", [".gitignore", "sub/.gitignore", ".git/info/exclude"])
def test_one_line_that_cannot_be_read_spoils_neither_the_walk_nor_the_other_lines(
    tmp_path: Path, where: str, odd: str
) -> None:
    put(tmp_path, **{".git/HEAD": "x", where: f"*.log\n{odd}\n*.tmp\n"})
    put(tmp_path, **{"sub/a.log": "x", "sub/b.tmp": "x", "sub/c.py": "x"})
    reached = found(tmp_path)
    assert {path: reached[path] for path in ("sub/a.log", "sub/b.tmp", "sub/c.py")} == {
        "sub/a.log": "ignored",
        "sub/b.tmp": "ignored",
        "sub/c.py": None,
    }


@pytest.mark.filterwarnings("ignore:Possible set difference")  # pathspec's own compiling
@pytest.mark.parametrize("pattern", ["!", "[z-a]", "[a--b]", "a\\", "[a", "**/a/**/b/**/c/**"])
def test_a_pattern_of_a_request_that_cannot_be_read_is_refused_and_named(pattern: str) -> None:
    with pytest.raises(ValidationFailed, match=f"exclude: {re.escape(repr(pattern))}"):
        check_globs("exclude", ["*.md", pattern])
    check_globs("exclude", ["*.md", "# a comment", " ", "!keep.md", "src/**/*.py", "[a-z].c"])


def test_a_nested_gitignore_overrules_the_one_above_and_only_below_itself(tmp_path: Path) -> None:
    put(tmp_path, **{".gitignore": "*.txt", "sub/.gitignore": "!*.txt\n*.py", "a.txt": "x", "a.py": "x"})
    put(tmp_path, **{"sub/a.txt": "x", "sub/a.py": "x", "sub/deep/b.txt": "x"})
    reached = found(tmp_path)
    assert {path for path, reason in reached.items() if reason == "ignored"} == {"a.txt", "sub/a.py"}


def test_a_folder_of_a_work_tree_obeys_the_rules_above_it(tmp_path: Path) -> None:
    put(tmp_path, **{".git/info/exclude": "*.tmp", ".gitignore": "/lib/gen\n", "lib/a.py": "x", "lib/gen/b.py": "x"})
    put(tmp_path, **{"lib/c.tmp": "x"})
    assert found(tmp_path / "lib") == {"a.py": None, "c.tmp": "ignored", "gen/": "ignored"}
    assert found(tmp_path)["lib/gen/"] == "ignored"
    assert found(tmp_path)["lib/c.tmp"] == "ignored"


def test_rules_above_do_not_reach_out_of_their_work_tree(tmp_path: Path) -> None:
    put(tmp_path, **{".gitignore": "*.py", "tree/.git/HEAD": "x", "tree/a.py": "x"})
    assert found(tmp_path / "tree") == {"a.py": None}


def test_a_folder_that_is_left_out_counts_once_and_is_not_entered(tmp_path: Path) -> None:
    for folder in ("node_modules", "vendor", "third_party", ".venv", "lib/site-packages"):
        put(tmp_path, **{f"{folder}/x/y.py": "x"})
    put(tmp_path, **{".git/config": "x", "sub/.git": "gitdir: elsewhere"})
    assert set(found(tmp_path).items()) == {
        (f"{folder}/", "vendored") for folder in ("node_modules", "vendor", "third_party", ".venv", "lib/site-packages")
    }


def test_a_vendored_folder_that_an_include_names_is_ones_own(tmp_path: Path) -> None:
    put(tmp_path, **{"vendor/lib/a.c": "x", "vendor/node_modules/b.js": "x", "src/c.c": "x"})
    assert found(tmp_path, include=["vendor/lib/", "*.c"]) == {
        "vendor/lib/a.c": None, "vendor/node_modules/": "vendored", "src/c.c": None,
    }  # fmt: skip
    assert found(tmp_path, include=["**"])["vendor/"] == "vendored"


def test_generated_empty_and_large_files_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, **{"app.min.js": "x", "Cargo.lock": "x", "x_pb2.py": "x", "empty.py": "", "big.py": "x" * 1_001})
    put(tmp_path, **{"just.py": "x" * 1_000, "lockfile.py": "x"})
    assert found(tmp_path) == {
        "Cargo.lock": "generated",
        "app.min.js": "generated",
        "big.py": "too_large",
        "empty.py": "empty",
        "just.py": None,
        "lockfile.py": None,
        "x_pb2.py": "generated",
    }


def test_what_is_data_and_not_code_is_left_out(tmp_path: Path) -> None:
    large = "x" * 100_001
    put(
        tmp_path, **{"a.csv": "1,2", "logo.SVG": "<svg/>", "de.po": 'msgid "a"', "nb.ipynb": "{}", "package.json": "{}"}
    )
    put(tmp_path, **{"cities.json": large, "ci.yml": "on: push", "long.py": large})
    reached = found(tmp_path, max_file_bytes=1_000_000)
    left_out = {"a.csv", "logo.SVG", "de.po", "nb.ipynb", "cities.json"}
    assert reached == {path: "data" if path in left_out else None for path in reached}


SECRETS = (
    *(".env", ".env.local", ".ENV", "sub/.env.production", "id_rsa", "id_ed25519", "tls.pem", "Server.KEY", "a.p12"),
    *("store.jks", ".netrc", ".pgpass", ".htpasswd", ".git-credentials", "debug.keystore"),
)
NO_SECRETS = (
    *(".env.example", ".env.sample", "sub/.env.template", ".env.dist", ".env.defaults", "id_rsa.pub", "environment.py"),
    *("key.py", "keys.ts", "pem.go", "env.py", "netrc.py", "tls.pem.md", "credentials.json"),
)


def test_what_its_name_says_is_secret_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, **dict.fromkeys((*SECRETS, *NO_SECRETS), "x"))
    assert found(tmp_path) == {**dict.fromkeys(SECRETS, "secret"), **dict.fromkeys(NO_SECRETS, None)}


@pytest.mark.parametrize(
    ("include", "left_out"),
    [
        (["**"], {"a/dev.pem", "b.pem", ".env"}),
        (["*"], {"a/dev.pem", "b.pem", ".env"}),
        (["**", "a/dev.pem"], {"b.pem", ".env"}),
        (["**", "*.pem"], {".env"}),
        ([".env", "**"], {"a/dev.pem", "b.pem"}),
    ],
)
def test_a_secret_that_an_include_names_is_wanted(tmp_path: Path, include: list[str], left_out: set[str]) -> None:
    put(tmp_path, **{"a/dev.pem": "x", "b.pem": "x", ".env": "x", "c.py": "x"})
    reached = found(tmp_path, include=include)
    assert {path for path, reason in reached.items() if reason == "secret"} == left_out
    assert set(reached.values()) <= {"secret", None}


def test_a_tree_deeper_than_any_is_left_where_it_gets_absurd(tmp_path: Path) -> None:
    put(tmp_path, **{"d/" * 200 + "a.py": "x", "d/" * 220 + "b.py": "x"})
    # Not deeper: pytest deletes the folder by recursion.
    assert found(tmp_path) == {"d/" * 200 + "a.py": None, "d/" * 201: "too_deep"}


def test_odd_names_are_names(tmp_path: Path) -> None:
    odd = {"n" * 252 + ".py", "--output=x.py", "A.py", "a.py", "sp ace.py", "tab\t.py", "日本.py", "'\".py"}
    put(tmp_path, **dict.fromkeys(odd, "x"), **{"two\nlines.py": "x"})
    assert found(tmp_path) == {**dict.fromkeys(odd, None), "two\nlines.py": "bad_name"}


def test_links_are_never_followed(tmp_path: Path) -> None:
    put(tmp_path, **{"outside/secret.py": "x", "root/a.py": "x"})
    root = tmp_path / "root"
    (root / "out.py").symlink_to(tmp_path / "outside" / "secret.py")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "circle").symlink_to(root)
    (root / "dangling").symlink_to(tmp_path / "nowhere")
    assert found(root) == {
        "a.py": None,
        "circle": "symlink",
        "dangling": "symlink",
        "folder": "symlink",
        "out.py": "symlink",
    }


def test_pipes_and_sockets_are_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert found(tmp_path) == {"pipe": "special", "socket": "special"}


def test_a_name_that_is_not_utf_8_is_told_in_a_readable_way(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.py"))).write_text("x")
    (tmp_path / "two\nlines.py").write_text("x")
    reached = found(tmp_path)
    assert sorted(reached.values(), key=str) == ["bad_name", "bad_name"]
    for path in reached:
        path.encode("utf-8")


def test_include_and_exclude_take_gitignore_patterns(tmp_path: Path) -> None:
    put(tmp_path, **{"src/a.py": "x", "src/a.js": "x", "src/test/b.py": "x", "c.py": "x"})
    reached = found(tmp_path, include=["src/**/*.py"], exclude=["test/"])
    assert reached == {"c.py": "excluded", "src/a.js": "excluded", "src/a.py": None, "src/test/": "excluded"}


def test_a_root_that_cannot_be_listed_does_not_look_empty(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be listed"):
        list(walk(tmp_path / "gone", max_file_bytes=1))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    assert found(tmp_path) == {"closed/": "unreadable"}


def test_an_ignore_file_that_is_no_file_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, **{".gitignore/a.py": "x"})
    assert found(tmp_path) == {".gitignore/a.py": None}


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    put(tmp_path, **{"a.py": "x"})
    before: Found = next(walk(tmp_path, max_file_bytes=9))
    put(tmp_path, **{"a.py": "xy"})
    after: Found = next(walk(tmp_path, max_file_bytes=9))
    assert before.signature != after.signature
    assert before.size == 1


_PIECE = st.sampled_from(["*", "a", "b", "ab", "?", "[ab]", "\\*", ".", "(", "/", "**/"])


@settings(max_examples=300, deadline=None)
@given(pieces=st.lists(_PIECE, min_size=1, max_size=7), path=st.text("ab.(*/", min_size=1, max_size=8))
def test_a_pattern_made_linear_matches_what_it_matched(pieces: list[str], path: str) -> None:
    pattern = "".join(pieces)
    assume(pattern.count("**") <= MAX_DOUBLE_STARS)  # one with more is passed over
    try:
        wanted = GitIgnoreSpec.from_lines([pattern]).match_file(path)
    except ValueError:
        return
    assert globs([pattern]).match_file(path) == wanted


@pytest.mark.parametrize(
    "pattern", ["*a" * 30 + "*b", "*(" * 30 + "*b", "*?" * 30 + "b", "*[a(]" * 30 + "*b", "a**" * 40, "**/a/" * 3 + "b"]
)
def test_a_pattern_that_means_harm_costs_no_time(pattern: str) -> None:
    begun = time.process_time()
    for name in ("a" * 250, "(" * 250, "a/" * 200 + "c"):
        globs([pattern]).match_file(name)
    assert time.process_time() - begun < 2  # forever, without the care; 10 ms with it
