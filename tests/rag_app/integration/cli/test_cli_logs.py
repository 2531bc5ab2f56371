"""`code-assistant logs`: one question in the logs of all services, from files, from Compose and from a pipe."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from rag_app.cli.main import main
from tests.support.cli import Outcome

ID = "4f1c9d-trace"
DAY = "2026-11-26T10:00:"


def line(second: float, service: str, request_id: str = ID, message: str = "request", **fields: object) -> str:
    about = {"time": f"{DAY}{second:06.3f}Z", "level": fields.pop("level", "INFO"), "service": service}
    return json.dumps({**about, "request_id": request_id, "message": message, **fields})


def access(second: float, service: str, route: str, status: int = 200, request_id: str = ID) -> str:
    return line(second, service, request_id, method="POST", route=route, status=status, duration_ms=second * 10)


def logs(capsys: pytest.CaptureFixture[str], *arguments: str) -> Outcome:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["logs", *arguments])
    told = capsys.readouterr()
    return Outcome(int(ended.value.code or 0), told.out, told.err)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DATA_DIR/logs of a stack that answered two questions."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    files = {
        "rag_app.log": [access(3, "rag_app", "/v1/ask"), access(9, "rag_app", "/v1/search", request_id="other")],
        "embedding_service.log": ["plain words", access(1, "embedding_service", "/embed")],
        "vector_db.log.1": [access(2, "vector_db", "/collections/{name}/points/query/batch", 500)],
        "llm_service.log": [
            line(
                2.5,
                "llm_service",
                message="stream broke",
                level="WARNING",
                code="upstream",
                exception="at a.py:1\nValueError",
            )
        ],
    }
    for name, told in files.items():
        (tmp_path / "logs" / name).write_text("\n".join(told) + "\n")
    return tmp_path / "logs"


def test_one_question_is_told_in_the_order_in_which_it_happened(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = logs(capsys, "--request-id", ID)
    assert told.code == 0
    assert [row.split()[1:4] for row in told.out.splitlines() if row[0] != " "] == [
        ["embedding_service", "INFO", "POST"],
        ["vector_db", "INFO", "POST"],
        ["llm_service", "WARNING", "stream"],
        ["rag_app", "INFO", "POST"],
    ]
    assert "10:00:03.000  rag_app" in told.out
    assert "POST /v1/ask  200  30" in told.out
    assert "points/query/batch  500" in told.out
    assert "code=upstream" in told.out
    assert "              ValueError" in told.out
    assert "other" not in told.out


def test_json_lines_are_the_services_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(row) for row in logs(capsys, "--request-id", ID, "--json").out.splitlines()]
    assert [row["service"] for row in rows] == ["embedding_service", "vector_db", "llm_service", "rag_app"]
    assert rows[2]["exception"] == "at a.py:1\nValueError"


def test_an_unknown_id_is_said_to_be_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = logs(capsys, "--request-id", "4f1c9d")  # a part of one is not one
    assert told.code == 1
    assert "no line of request '4f1c9d'" in told.err
    assert str(folder) in told.err
    assert told.out == ""


@pytest.mark.parametrize(("since", "count"), [("2026-11-26T10:00:02+00:00", 3), ("2026-11-26T10:00:02.600+00:00", 1)])
def test_since_leaves_out_what_came_before(
    folder: Path, since: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = logs(capsys, "--request-id", ID, "--since", since, "--json").out.splitlines()
    assert len(rows) == count


def test_a_past_that_cannot_be_read_is_refused_with_examples(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = logs(capsys, "--request-id", ID, "--since", "yesterday")
    assert told.code == 2
    assert "10m" in told.err


def test_nothing_to_read_names_the_ways_to_give_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    told = logs(capsys, "--request-id", ID)
    assert told.code == 2
    assert "--from" in told.err
    piped = (
        f"docker compose logs --no-color | docker compose exec -T rag-server code-assistant logs --request-id {ID} -"
    )
    assert piped in " ".join(told.err.split())


COMPOSE = [
    "rag-server-1        | 2026-11-26T10:00:03.1Z " + access(3, "rag_app", "/v1/ask"),
    "\x1b[36membedding-server-1  | \x1b[0m" + access(1, "embedding_service", "/embed"),
    f"\x1b[2Kvector-db-1         | 2026-11-26T10:00:02.000Z INFO qdrant: served {ID} in 3 ms",
    "llm-server-1        | not of this one",
]


@pytest.mark.parametrize("words", [["-"], ["--from", "-"]])
def test_what_docker_compose_logs_prints_can_be_piped_in(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(COMPOSE).encode())))
    told = logs(capsys, "--request-id", ID, *words)
    assert [row.split()[1] for row in told.out.splitlines()] == ["embedding_service", "vector-db", "rag_app"]
    assert "served 4f1c9d-trace in 3 ms" in told.out


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker that has a project with these logs; `asked` holds what it was called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "out").write_text("\n".join(COMPOSE) + "\n")
    program = f"""\
        #!{sys.executable}
        import sys
        from pathlib import Path
        folder = Path({str(folder)!r})
        with (folder / "asked").open("a") as asked:
            asked.write(" ".join(sys.argv[1:]) + chr(10))
        if (folder / "fails").exists():
            sys.exit("no configuration file provided: not found")
        print("0a1b" if "ps" in sys.argv else (folder / "out").read_text(), flush=True)
        if "--follow" in sys.argv:
            import time; time.sleep(600)
        """
    (folder / "docker").write_text(textwrap.dedent(program))
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_compose_is_asked_where_files_know_nothing(
    folder: Path, docker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in folder.iterdir():
        path.write_text(access(1, "rag_app", "/v1/ask", request_id="older") + "\n")
    told = logs(capsys, "--request-id", ID)
    assert told.code == 0
    assert "embedding_service" in told.out
    assert "compose logs --no-color" in (docker / "asked").read_text()


def test_files_that_know_it_are_enough(folder: Path, docker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert logs(capsys, "--request-id", ID).code == 0
    assert not (docker / "asked").exists()


def test_a_compose_that_fails_is_told_in_its_words(
    folder: Path, docker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (docker / "fails").touch()
    told = logs(capsys, "--request-id", ID, "--from", "compose")
    assert told.code == 2
    assert "no configuration file provided" in told.err


def test_a_line_that_was_cut_off_by_a_crash_and_one_of_a_stranger_are_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "rag_app.log").write_text(f'{{"request_id": "{ID}", "mess')
    told = logs(capsys, "--request-id", ID, "--from", str(folder))
    assert '{"request_id": "4f1c9d-trace", "mess' in told.out


def test_escape_sequences_in_a_log_do_not_reach_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rag_app.log").write_text(line(1, "rag_app", message="\x1b]0;owned\x07") + "\n")
    assert "\x1b" not in logs(capsys, "--request-id", ID).out


def test_a_large_file_is_read_in_little_memory(folder: Path) -> None:
    """300 MB, a part of it one endless line; the program itself takes 60 MB."""
    others = (access(4, "rag_app", "/v1/search", request_id="someone-else") + "\n").encode() * 5_000
    with (folder / "rag_app.log").open("ab") as log:
        for _ in range(300_000_000 // len(others) // 2):
            log.write(others)
        for _ in range(150):
            log.write(b"x" * 1_000_000)
        log.write(b"\n" + access(5, "rag_app", "/v1/late").encode() + b"\n")
    program = (
        "import sys; from rag_app.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        # Not ru_maxrss, which begins with the peak of the process that started this one.
        "finally:\n    print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr)"
    )
    words = [sys.executable, "-c", program, "logs", "--request-id", ID]
    told = subprocess.run(words, capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert "/v1/late" in told.stdout
    peak_kb = int(told.stderr.splitlines()[-1])
    assert peak_kb < 130_000


def test_an_endless_job_shows_its_last_lines_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rag_app.cli.logs.MOST_LINES", 10)
    (folder / "rag_app.log").write_text("".join(line(n, "rag_app", "a-job") + "\n" for n in range(25)))
    told = logs(capsys, "--request-id", "a-job")
    assert told.out.splitlines()[-1].startswith("10:00:24.000")
    assert len(told.out.splitlines()) == 10
    assert "the last 10 of 25 lines" in told.err


def test_a_job_is_found_from_the_request_that_asked_for_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rag_app.log").write_text(line(1, "rag_app", "someone", "queued", job="a-job") + "\n")
    assert "queued  job=a-job" in logs(capsys, "--request-id", "a-job").out


def test_followed_lines_come_as_they_are_written_and_from_files_begun_anew(folder: Path) -> None:
    words = [str(Path(sys.executable).with_name("code-assistant")), "logs", "--request-id", ID, "--follow", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline())["service"] for _ in range(4)][-1] == "rag_app"
        with (folder / "vector_db.log").open("a") as log:
            log.write(access(20, "vector_db", "/first") + "\n")
        assert "/first" in process.stdout.readline()
        (folder / "rag_app.log").rename(folder / "rag_app.log.1")
        time.sleep(0.1)
        (folder / "rag_app.log").write_text(access(21, "rag_app", "/second") + "\n")
        assert "/second" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_followed_containers_are_told_as_docker_tells_them_until_ctrl_c(folder: Path, docker: Path) -> None:
    words = ["logs", "--request-id", ID, "--from", "compose", "--follow", "--json"]
    command = [str(Path(sys.executable).with_name("code-assistant")), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert {json.loads(process.stdout.readline())["service"] for _ in range(3)} >= {"rag_app", "embedding_service"}
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert "--follow" in (docker / "asked").read_text()
