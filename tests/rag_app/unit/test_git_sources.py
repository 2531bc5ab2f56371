from pathlib import Path

import pytest

from rag_app.features.indexing.sources import (
    allowed_folder,
    allowed_ref,
    allowed_url,
    default_name,
    without_credentials,
)
from service_kit.errors import ValidationFailed
from tests.support.indexing import git


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "allowed"
    (root / "lib").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    return root


def test_a_folder_under_an_allowed_root_is_resolved(root: Path) -> None:
    (root / "link").symlink_to(root / "lib")
    for path in (root / "lib", root / "link", root / "lib" / ".." / "lib"):
        assert allowed_folder(str(path), [root]) == root / "lib"
    assert allowed_folder(str(root), [root]) == root


@pytest.mark.parametrize("path", ["{root}/../outside", "{root}/escape", "/etc", "/", "{root}-sibling"])
def test_what_leads_out_of_the_roots_is_refused_by_name(root: Path, path: str) -> None:
    (root / "escape").symlink_to(root.parent / "outside")
    (root.parent / "allowed-sibling").mkdir()
    given = path.format(root=root)
    with pytest.raises(ValidationFailed) as failure:
        allowed_folder(given, [root])
    for word in (given, str(root), "ALLOWED_ROOTS"):
        assert word in failure.value.message


def test_of_what_is_outside_it_is_not_told_whether_it_exists(root: Path) -> None:
    messages = []
    for path in (root.parent / "outside", root.parent / "missing"):
        with pytest.raises(ValidationFailed) as failure:
            allowed_folder(str(path), [root])
        messages.append(failure.value.message.replace(str(path), ""))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("name", ["missing", "file.txt"])
def test_what_is_no_folder_is_refused_by_name(root: Path, name: str) -> None:
    (root / "file.txt").write_text("x")
    with pytest.raises(ValidationFailed, match=f"{name}.*does not exist or is not a folder"):
        allowed_folder(str(root / name), [root])


def test_a_bare_repository_is_told_from_a_work_tree(root: Path) -> None:
    git(root, "init", "-q", "--bare", "lib")
    with pytest.raises(ValidationFailed, match="bare git repository; give a work tree"):
        allowed_folder(str(root / "lib"), [root])


@pytest.mark.parametrize("path", ["lib", "", "  ", "a\0b"])
def test_what_is_no_whole_path_is_refused(root: Path, path: str) -> None:
    with pytest.raises(ValidationFailed, match=r"source\.path"):
        allowed_folder(path, [root])


def test_links_in_a_circle_are_refused(root: Path) -> None:
    (root / "circle").symlink_to(root / "circle")
    with pytest.raises(ValidationFailed):
        allowed_folder(str(root / "circle"), [root])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a/b.git",
        "https://example.org:8443/a",
        "ssh://git@example.org/a/b.git",
        "ssh://git@example.org:22/a",
        "git@example.org:owner/repo.git",
        "example.org:owner/repo",
        "http://127.0.0.1:9000/a.git",
    ],
)
def test_https_and_ssh_are_fetched_and_http_where_it_is_listed(url: str) -> None:
    assert allowed_url(url, ["127.0.0.1:9000"]) == url


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://example.org/a.git", "http"),
        ("http://127.0.0.1:9001/a.git", "http"),
        ("git://example.org/a.git", "git"),
        ("file:///etc", "file"),
        ("ext::sh -c touch% /tmp/x", "git address"),
        ("ext::sh", "ext"),
        ("ftp://example.org/a", "ftp"),
        ("/etc/passwd", "only https and ssh"),
        ("../up", "only https and ssh"),
    ],
)
def test_every_other_scheme_is_refused_by_name(url: str, word: str) -> None:
    with pytest.raises(ValidationFailed, match=word):
        allowed_url(url, ["127.0.0.1:9000"])


@pytest.mark.parametrize(
    "url",
    [
        "-uhttps://example.org/a",
        "--upload-pack=touch /tmp/x",
        "https://-oProxyCommand=x/a",
        "ssh://-oProxyCommand=x/a",
        "ssh://-x@example.org/a",
        "-x@example.org:a",
        "https:///a",
        "https://example.org:99999/a",
        "https://[::1/a",
        "https://example.org/a b",
        "https://example.org/a\nb",
        "https://example.org/" + "a" * 2_000,
        "",
    ],
)
def test_what_git_would_read_as_something_else_is_refused(url: str) -> None:
    with pytest.raises(ValidationFailed):
        allowed_url(url, [])


@pytest.mark.parametrize(
    "url", ["https://me:hunter2@example.org/a", "https://hunter2@example.org/a", "git://me:hunter2@x/a"]
)
def test_credentials_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationFailed) as failure:
        allowed_url(url, [])
    assert "hunter2" not in failure.value.message
    assert "hunter2" not in without_credentials(url)


@pytest.mark.parametrize("ref", ["main", "feature/x", "v1.0", "a" * 40, None])
def test_names_of_branches_tags_and_commits_are_taken(ref: str | None) -> None:
    assert allowed_ref(ref) == ref


@pytest.mark.parametrize(
    "ref", ["-x", "--upload-pack=x", "a..b", "a b", "a:b", "x^", "x~1", "@{1}x@{", "a*", "x.lock", ""]
)
def test_other_refs_are_refused(ref: str) -> None:
    with pytest.raises(ValidationFailed, match="ref"):
        allowed_ref(ref)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("/code/lib", "lib"),
        ("https://x.org/a/b.git", "b"),
        ("git@x.org:a/c.git", "c"),
        ("git@x.org:d", "d"),
        ("/home/me/.dotfiles", "dotfiles"),
        ("/", "repository"),
    ],
)
def test_a_repository_is_named_after_its_last_part(location: str, name: str) -> None:
    assert default_name(location) == name
