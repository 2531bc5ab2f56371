"""What a path tells of its file: which class it is of, and what it is about."""

import pytest

from rag_app.features.search.paths import path_class, subject


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("src/flask/app.py", "code"),
        ("tests/test_app.py", "test"),
        ("src/app_test.go", "test"),
        ("src/app.spec.ts", "test"),
        ("src/FooTest.java", "test"),
        ("conftest.py", "test"),
        ("src/latest/contest.py", "code"),
        ("src/testing/util.c", "test"),
        ("src/attest.py", "code"),
        ("examples/tutorial/app.py", "example"),
        ("docs/index.py", "example"),
        ("docs_src/first/main.py", "example"),
        ("doc/man_docs.go", "code"),
        ("doc/README.md", "docs"),
        ("docs/guide/start.html", "docs"),
        ("README.md", "docs"),
        ("LICENSE-MIT", "docs"),
        ("CHANGES", "docs"),
        ("lib/Readme.adoc", "docs"),
        ("src/changeset.py", "code"),
        ("src/license.go", "code"),
        ("src/readme_parser.ts", "code"),
        ("package.json", "config"),
        (".github/workflows/ci.yml", "config"),
        ("vite.config.ts", "config"),
        ("Makefile", "config"),
        ("src/config.py", "code"),
        ("dist/node/app.cjs", "generated"),
        ("single_include/json.hpp", "generated"),
        ("src/parser.generated.ts", "generated"),
        ("src/distance.py", "code"),
        ("src/builder.py", "code"),
        ("third_party/zlib/inflate.c", "vendored"),
        ("vendor/lib/test_lib.rb", "vendored"),
        ("requests/compat.py", "deprecated"),
        ("src/legacy/api.ts", "deprecated"),
        ("src/compatible.py", "code"),
    ],
)
def test_path_classes(path: str, kind: str) -> None:
    assert path_class(path) == kind


@pytest.mark.parametrize(
    ("test", "code"),
    [
        ("tests/test_pool.py", "src/pool.py"),
        ("pool_test.go", "pool.go"),
        ("test/unit/http-adapter.spec.js", "lib/http_adapter.js"),
        ("src/test/java/JsonReaderTest.java", "src/main/java/JsonReader.java"),
        ("tests/TestReader.cs", "Reader.cs"),
        ("types.test-d.ts", "types.test-d.ts"),
        ("spec/pool_spec.rb", "lib/pool.rb"),
        ("test.py", "test.py"),
    ],
)
def test_a_modules_tests_are_about_what_it_is_about(test: str, code: str) -> None:
    assert subject(test) == subject(code) != ""


def test_files_without_an_extension_are_about_what_they_are_called() -> None:
    assert (subject("bin/deploy"), subject(".eslintrc")) == ("deploy", "eslintrc")
    assert subject("tests/fixtures/keys") != subject("bin/deploy")


def test_other_names_are_other_subjects() -> None:
    assert len({subject(path) for path in ("pool.py", "pools.py", "contest.py", "latest.go", "attest.ts")}) == 5
