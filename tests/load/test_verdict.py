"""When the promise is broken: by an error, by lateness, by what was never sent."""

import ast
import tomllib
from pathlib import Path

from llm_service.providers.scripted.tokens import token_count
from tests.load import records
from tests.load.records import Record
from tests.load.scenarios import GENERATE, SEARCH, Stream, call, search_error
from tests.load.server import SCRIPT
from tests.load.verdict import is_growing, judge, summary


def record(due_s: float, latency_s: float, scenario: str = SEARCH, error: str = "") -> Record:
    return Record(scenario, due_s, due_s, due_s + latency_s / 2, due_s + latency_s, 200, 3, error)


def test_each_scenario_has_its_own_limit() -> None:
    assert judge(record(0, 4.9)) == ""
    assert judge(record(0, 5.1)) == "over 5 s"
    assert judge(record(0, 59, GENERATE)) == ""
    assert judge(record(0, 61, GENERATE)) == "over 60 s"
    assert judge(record(0, 0.1, error="status 503")) == "status 503"


def test_a_request_that_was_never_sent_is_an_error() -> None:
    told = summary([record(0, 0.1), record(1, 0.2)], SEARCH, planned=5, duration_s=2)
    assert told.errors == 3
    assert told.rps == 1.0


def test_only_answers_that_held_count_as_throughput() -> None:
    told = summary([record(0, 0.1), record(1, 7), record(2, 0.1, error="status 500")], SEARCH, 3, 3)
    assert told.rps == 0.33
    assert told.broken == {"over 5 s": 1, "status 500": 1}
    assert told.max_ms == 7000


def test_a_queue_that_grows_is_seen_before_it_breaks_the_promise() -> None:
    growing = [record(at / 10, 0.05 + at / 300 * 2) for at in range(300)]
    steady = [record(at / 10, 0.6) for at in range(300)]
    quick = [record(at / 10, 0.01 if at < 100 else 0.2) for at in range(300)]
    assert is_growing(growing, SEARCH, 30)
    assert not is_growing(steady, SEARCH, 30)
    assert not is_growing(quick, SEARCH, 30)


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = [record(0.5, 0.25), record(1, 2, GENERATE, "broken off, sadly")]
    records.write(tmp_path / "a.csv", made)
    assert records.read(tmp_path / "a.csv") == made


def test_a_search_without_one_of_its_arms_is_no_whole_answer() -> None:
    assert search_error(200, b'{"hits": [{}], "degraded": []}') == ""
    assert search_error(200, b'{"hits": [{}], "degraded": ["embedding"]}') == "degraded: embedding"
    assert search_error(200, b'{"hits":[{"id":"a"}],"degraded":[],"took_ms":{}}') == ""
    assert search_error(200, b'{"hits":[{"id":"a"}],"degraded":["embedding"],"took_ms":{}}') == "degraded: embedding"
    assert search_error(200, b'{"hits":[],"degraded":[],"took_ms":{}}') == "no hits"
    assert search_error(200, b'{"hits": [], "degraded": []}') == "no hits"
    assert search_error(503, b"") == "status 503"
    assert search_error(200, b"<html>") == "not JSON"


def streamed(*parts: bytes) -> Stream:
    stream = Stream()
    for part in parts:
        stream.feed(part)
    return stream


WHOLE = (
    b'event: search_results\ndata: {}\n\nevent: message\ndata: {"delta": "a"}\n\n',
    b'event: message\ndata: {"delta": "b"}\n\nevent: final_answer\ndata: {"degraded": []}\n\nevent: done\ndata: {}\n\n',
)


def test_a_stream_is_whole_however_it_is_cut() -> None:
    joined = b"".join(WHOLE)
    for size in (1, 7, 1000):
        stream = streamed(*(joined[at : at + size] for at in range(0, len(joined), size)))
        assert stream.tokens == 2
        assert stream.error(200) == ""


def test_a_stream_that_fails_breaks_off_or_is_degraded_is_an_error() -> None:
    assert streamed(WHOLE[0]).error(200) == "broken off"
    assert streamed(WHOLE[0], b"event: done\ndata: {}\n\n").error(200) == "broken off"
    failing = b'event: error\ndata: {"code": "timeout"}\n\nevent: done\ndata: {}\n\n'
    assert "timeout" in streamed(WHOLE[0], failing).error(200)
    degraded = WHOLE[1].replace(b'"degraded": []', b'"degraded": ["llm"]')
    assert streamed(WHOLE[0], degraded).error(200) == "degraded: llm"
    assert streamed().error(503) == "status 503"


def test_the_first_token_is_told_once() -> None:
    stream = Stream()
    assert [stream.feed(part) for part in WHOLE] == [True, False]


def test_one_generation_in_five_writes_code() -> None:
    paths = [call(GENERATE, number, "x").path for number in range(10)]
    assert paths.count("/v1/generate") == 2
    assert paths.count("/v1/ask") == 8
    assert call(SEARCH, 4, "x").path == "/v1/search"


def test_the_model_under_load_says_200_tokens_and_code_that_parses() -> None:
    script = tomllib.loads(SCRIPT.read_text())
    assert script["say_tokens"] == 200
    assert script["between_tokens_s"] == 1 / 50
    [rule] = script["rules"]
    assert token_count(rule["say"]) == 200
    assert rule["say"].startswith("```python\n")
    ast.parse(rule["say"].removeprefix("```python\n").removesuffix("```"))
    code = call(GENERATE, 4, "how is a lock taken?").body
    assert rule["contains"].endswith(str(code["instruction"]).removesuffix(" how is a lock taken?"))
    assert code["language"] == "python"
