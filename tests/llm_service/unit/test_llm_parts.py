"""The pure parts: envelopes, retries, labels, the list of names in a message."""

import pytest
from prometheus_client import CollectorRegistry

from llm_service.core.envelope import openai_envelope
from llm_service.core.errors import Refused
from llm_service.features.chat.metrics import MAX_MODEL_LABELS, OTHER, ChatMetrics
from llm_service.features.chat.names import unknown_model
from llm_service.features.chat.schemas import parse_chat_request
from llm_service.providers.refusals import failure_of, read_complaint
from llm_service.providers.retries import is_retryable, wait_s
from service_kit.errors import Conflict, DeadlineExceeded, Overloaded, ServiceError, Unavailable, Upstream


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (Conflict("x"), "invalid_request_error", None),
        (Overloaded("x"), "rate_limit_error", "rate_limit_exceeded"),
        (Upstream("x"), "server_error", "upstream"),
        (DeadlineExceeded("x"), "server_error", "timeout"),
        (ServiceError("x"), "server_error", "internal"),
    ],
)
def test_each_failure_has_openais_type_and_code(error: ServiceError, kind: str, code: str | None) -> None:
    told = openai_envelope("/v1/chat/completions", error)
    assert told == {"error": {"message": "x", "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "word"),
    [(404, "not_found"), (409, "conflict"), (413, "too_large"), (429, "overloaded"), (402, "validation")],
)
def test_an_upstreams_refusal_is_counted_by_our_own_words(status: int, word: str) -> None:
    assert (Refused(status, "x").code, Refused(status, "x").status) == (word, status)


@pytest.mark.parametrize("payload", [b"[1, 2]", b'{"error": ["a"]}', b'{"other": 1}', b"", b"\xff", b"null"])
def test_any_answer_can_be_read_as_a_complaint(payload: bytes) -> None:
    complaint = read_complaint(payload)
    assert not complaint.is_envelope
    assert complaint.code is None


def test_a_long_complaint_is_cut() -> None:
    assert len(read_complaint(b"x" * 10_000).message) < 600


def test_a_503_keeps_the_time_that_the_server_named() -> None:
    failure = failure_of(503, b"{}", 9, address="a", key_setting="K")
    assert isinstance(failure, Unavailable)
    assert failure.retry_after_s == 9


@pytest.mark.parametrize(("status", "is_worth_it"), [(429, True), (500, True), (503, True), (400, False), (408, False)])
def test_only_busy_and_broken_servers_are_asked_again(status: int, is_worth_it: bool) -> None:
    failure = failure_of(status, b"{}", None, address="a", key_setting="K")
    assert is_retryable(status, failure) is is_worth_it


def test_waits_grow_spread_and_never_undercut_what_the_server_asked_for() -> None:
    first, second, asked = (
        {wait_s(attempt, given) for _ in range(200)} for attempt, given in ((0, None), (1, None), (0, 3))
    )
    assert 0.25 <= min(first) < max(first) <= 0.375
    assert 0.5 <= min(second) < max(second) <= 0.75
    assert 3.0 <= min(asked) < max(asked) <= 4.5


def test_models_past_the_limit_share_one_label() -> None:
    metrics = ChatMetrics(CollectorRegistry())
    for number in range(MAX_MODEL_LABELS + 5):
        with metrics.observe(f"m{number}") as observation:
            observation.begin()
    assert metrics.requests.labels(OTHER, "ok")._value.get() == 5
    assert metrics.requests.labels("m0", "ok")._value.get() == 1


def test_a_bug_of_ours_is_counted_as_internal() -> None:
    metrics = ChatMetrics(CollectorRegistry())

    def broken() -> None:
        with metrics.observe("m"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert metrics.requests.labels(OTHER, "internal")._value.get() == 1


def test_a_message_lists_ten_models_and_counts_the_rest() -> None:
    message = unknown_model("gone", "http://gpu/v1", [f"m{n}" for n in range(12)], "see /v1/models").message
    assert "m9 and 2 more" in message
    assert "m10" not in message


def test_only_the_models_name_changes_in_a_request_that_is_rewritten() -> None:
    request = parse_chat_request(b'{"messages": [{"role": "user"}], "seed": 12345678901234567890, "top_k": 5}')
    renamed = parse_chat_request(request.encoded_for("qwen"))
    assert renamed.fields == {**request.fields, "model": "qwen"}
