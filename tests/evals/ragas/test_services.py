import json
from pathlib import Path

from evals.ragas.__main__ import judge_of
from evals.ragas.services import Addresses


def test_what_is_not_known_is_left_to_the_scorings_own_defaults() -> None:
    assert Addresses(url="http://x").options() == ["--url", "http://x"]


def test_a_started_stack_is_asked_at_all_of_its_addresses_and_judged_by_its_own_gateway() -> None:
    words = Addresses("http://rag", "http://llm", "http://emb", "scripted").options()
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        "--url": "http://rag",
        "--llm-url": "http://llm",
        "--judge-url": "http://llm/v1",
        "--embedding-url": "http://emb/v1",
        "--judge-model": "scripted",
    }


def test_a_named_judge_goes_before_the_script() -> None:
    assert Addresses(judge_model="scripted").judged_by("gpt-x").judge_model == "gpt-x"
    assert Addresses(judge_model="scripted").judged_by("").judge_model == "scripted"


def test_a_replay_is_judged_by_the_model_that_is_on_the_tape(tmp_path: Path) -> None:
    tape = tmp_path / "calls.jsonl"
    calls = [{"to": "stack", "request": None}, {"to": "judge", "request": {"model": "gpt-x"}}]
    tape.write_text("".join(f"{json.dumps(call)}\n" for call in calls))
    assert judge_of(tape) == "gpt-x"
    tape.write_text(json.dumps(calls[0]))
    assert judge_of(tape) == ""
