"""The pure parts: envelopes, refusals, labels, what is changed in a request."""

from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from llm_service.core.backends import Backend
from llm_service.core.envelope import openai_envelope
from llm_service.core.errors import Refused
from llm_service.core.settings import OPENAI_URL
from llm_service.features.chat.metrics import MAX_MODEL_LABELS, OTHER, GatewayMetrics
from llm_service.features.chat.schemas import CHAT, Limits, ModelRequest, parse_request
from llm_service.features.models.service import ModelsService
from llm_service.providers.base import AttemptFailed, Fault
from llm_service.providers.catalog import Member, Target, unknown_model
from llm_service.providers.pool import Pool
from llm_service.providers.refusals import Sender, failure_of, read_complaint, status_in
from service_kit.errors import Conflict, DeadlineExceeded, NotFound, Overloaded, ServiceError, Unavailable, Upstream
from tests.support.backends import MemoryBackend, down, late


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


@pytest.mark.parametrize("deep", [b"[" * 300 + b"]" * 300, b"[" * 1000 + b"]" * 1000])
@pytest.mark.parametrize(
    "around", [(b"", b""), (b'{"detail":', b"}"), (b'{"error":', b"}"), (b'{"error":{"message":', b"}}")]
)
def test_an_answer_that_is_nested_deeply_can_be_read_as_a_complaint(around: tuple[bytes, bytes], deep: bytes) -> None:
    """Found here: FastAPI's 422 quotes what a caller nested, and he was answered 500 for it."""
    assert "nested" in read_complaint(around[0] + deep + around[1]).message


def test_a_long_complaint_is_cut() -> None:
    assert len(read_complaint(b"x" * 10_000).message) < 600


SENDER = Sender("http://gpu/v1", "GPU_KEY", "/v1/chat/completions")


def test_an_error_inside_a_stream_names_the_keys_place_and_no_route() -> None:
    sender = Sender("http://gpu/v1", "GPU_KEY")
    refused_key = failure_of(401, b"{}", None, sender)
    assert isinstance(refused_key, AttemptFailed)
    assert refused_key.failure.message == "http://gpu/v1 refused the key (401); check GPU_KEY"
    gone = failure_of(404, b'{"error": {"message": "gone", "code": 404}}', None, sender)
    assert isinstance(gone, Refused)
    assert gone.message == "gone"


def test_a_503_keeps_the_time_that_the_server_named() -> None:
    failed = failure_of(503, b"{}", "9", SENDER)
    assert isinstance(failed, AttemptFailed)
    assert isinstance(failed.failure, Unavailable)
    assert (failed.failure.retry_after_s, failed.retry_after_s) == (9, 9.0)


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (401, Fault.KEY),
        (403, Fault.KEY),
        (408, Fault.DOWN),
        (429, Fault.BUSY),
        (500, Fault.DOWN),
        (503, Fault.DOWN),
        (400, None),
        (404, None),
        (422, None),
        (301, None),
    ],
)
def test_whose_fault_an_answer_is(status: int, fault: Fault | None) -> None:
    failure = failure_of(status, b"{}", None, SENDER)
    assert (failure.fault if isinstance(failure, AttemptFailed) else None) is fault


@pytest.mark.parametrize("status", [400, 404, 408, 429, 500, 503])
def test_what_a_server_quotes_is_for_its_caller_alone(status: int) -> None:
    failure = failure_of(status, b'{"error": {"message": "your model prompt was: secret"}}', None, SENDER)
    told = failure.failure if isinstance(failure, AttemptFailed) else failure
    assert "secret" in told.message
    assert "secret" not in told.logged


@pytest.mark.parametrize(
    ("message", "param", "code"),
    [
        ("This model has a maximum context length of 512", None, "context_length_exceeded"),
        ("the request exceeds the available context size", None, "context_length_exceeded"),
        ("too many", "input_tokens", "context_length_exceeded"),
        ("temperature must be non-negative", "temperature", None),
    ],
)  # fmt: skip
def test_too_long_has_openais_code_whoever_says_it(message: str, param: str | None, code: str | None) -> None:
    error = {"error": {"message": message, "type": "BadRequestError", "param": param, "code": 400}}
    assert read_complaint(orjson.dumps(error)).code == code


def test_an_error_in_a_stream_stands_for_its_status() -> None:
    assert status_in(b'{"error": {"message": "x", "code": 400}}') == 400
    assert [status_in(body) for body in (b"{", b"{}", b'{"error": "x"}', b'{"error": {"code": "x"}}')] == [500] * 4


class NoBackend:
    address = "nowhere"


def target(name: str, *, is_known: bool = True) -> Target:
    return Target(Member(Backend("gpu", "http://gpu/v1"), NoBackend()), name, name, is_known)  # type: ignore[arg-type]


def test_models_past_the_limit_share_one_label() -> None:
    metrics = GatewayMetrics(CollectorRegistry())
    for number in range(MAX_MODEL_LABELS + 5):
        with metrics.observe(f"m{number}") as seen:
            seen.aim(target(f"m{number}", is_known=False))
            seen.begin()
    assert metrics.requests.labels("gpu", OTHER, "ok")._value.get() == 5
    assert metrics.requests.labels("gpu", "m0", "ok")._value.get() == 1


def test_a_name_of_megabytes_is_no_label() -> None:
    """Found here: fifty names as long as a body may be would have stayed, each in some sixty lines of every scrape."""
    metrics = GatewayMetrics(CollectorRegistry())
    with metrics.observe("m" * 1_000_000) as seen:
        seen.aim(target("m" * 1_000_000, is_known=False))
        seen.begin()
    assert metrics.requests.labels("gpu", OTHER, "ok")._value.get() == 1


def test_a_bug_of_ours_is_counted_as_internal() -> None:
    metrics = GatewayMetrics(CollectorRegistry())

    def broken() -> None:
        with metrics.observe("m"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert metrics.requests.labels("none", OTHER, "internal")._value.get() == 1


def test_a_message_lists_ten_models_and_counts_the_rest() -> None:
    message = unknown_model("gone", [f"m{n}" for n in range(12)], "see /v1/models").message
    assert "m9 and 2 more" in message
    assert "m10" not in message


def request(body: bytes, **limits: Any) -> ModelRequest:
    return parse_request(CHAT, body, Limits(**{"max_tokens": 100, "n": 4, **limits}))


def test_only_the_models_name_changes_in_a_request_that_is_rewritten() -> None:
    asked = request(b'{"messages": [{"role": "user"}], "seed": 12345678901234567890, "top_k": 5}')
    renamed = orjson.loads(asked.body_for(target("qwen")))
    assert renamed == {**asked.fields, "model": "qwen"}


def test_counts_are_asked_for_in_the_callers_own_bytes() -> None:
    raw = b'{"model": "m",  "messages": [{}], "x": 1.0, "stream": true }\n'
    sent = request(raw).body_for(target("m"))
    assert sent == raw.rstrip()[:-1] + b',"stream_options":{"include_usage":true}}'
    assert orjson.loads(sent)["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("given", "sent", "wants"),
    [
        ({"include_usage": True}, {"include_usage": True}, True),
        ({"include_usage": False, "a": 1}, {"include_usage": True, "a": 1}, False),
        ({}, {"include_usage": True}, False),
        (None, {"include_usage": True}, False),
        ("nonsense", "nonsense", False),
    ],
)
def test_stream_options_are_kept_and_counts_added(given: Any, sent: Any, wants: bool) -> None:
    body = {"model": "m", "messages": [{}], "stream": True, "stream_options": given}
    asked = request(orjson.dumps(body))
    assert orjson.loads(asked.body_for(target("m")))["stream_options"] == sent
    assert asked.wants_usage is wants


def test_a_whole_answer_gets_no_stream_options() -> None:
    raw = b'{"model": "m", "messages": [{}]}'
    assert request(raw).body_for(target("m")) == raw


@pytest.mark.parametrize(
    ("given", "limits", "sent"),
    [
        ({"max_tokens": 500}, {}, {"max_tokens": 100}),
        ({"max_completion_tokens": 500, "n": 9}, {}, {"max_completion_tokens": 100, "n": 4}),
        ({"max_tokens": 50, "n": 4}, {}, {"max_tokens": 50, "n": 4}),
        ({"max_tokens": "many"}, {}, {"max_tokens": "many"}),  # the backend's to refuse
        ({}, {}, {}),
        ({}, {"added_max_tokens": 100}, {"max_tokens": 100}),
        ({"max_completion_tokens": 7}, {"added_max_tokens": 100}, {"max_completion_tokens": 7}),
    ],
)
def test_what_is_over_a_limit_is_cut_to_it(given: Any, limits: Any, sent: Any) -> None:
    asked = request(orjson.dumps({"model": "m", "messages": [{}], **given}), **limits)
    fields = orjson.loads(asked.body_for(target("m")))
    assert {key: value for key, value in fields.items() if key not in {"model", "messages"}} == sent


def test_openai_gets_an_added_limit_under_its_newer_name() -> None:
    openai = Target(Member(Backend("openai", OPENAI_URL), NoBackend()), "m", "m")  # type: ignore[arg-type]
    asked = request(b'{"model": "m", "messages": [{}]}', added_max_tokens=100)
    assert orjson.loads(asked.body_for(openai))["max_completion_tokens"] == 100


LONG = "x" * 200_000


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model": "alias"},
        {"max_tokens": 1_000},
        {"stream": True},
        {"stream": True, "stream_options": {"continuous_usage_stats": True}},
        {"stream": True, "stream_options": None},
        {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 1_000},
        {"stream": True, "model": "alias", "tools": [{"type": "function"}], "n": 9},
    ],
)
def test_a_large_body_is_forwarded_as_a_small_one_is(fields: dict[str, Any]) -> None:
    """Only the small one is held decoded."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "x": [{"y": 1}], **fields}
    small = orjson.loads(request(orjson.dumps(body)).body_for(target("m")))
    asked = request(orjson.dumps({**body, "messages": [{"role": "user", "content": LONG}]}))
    large = orjson.loads(asked.body_for(target("m")))
    assert large.pop("messages")[0]["content"] == LONG
    assert large == {name: value for name, value in small.items() if name != "messages"}


def test_a_large_body_is_held_by_its_bytes_and_not_decoded() -> None:
    """Found here: 10 MB of small objects took 234 MB for as long as a backend took, and were counted as 10."""
    body = b'{"model":"m","messages":[' + b",".join([b"{}"] * 50_000) + b'],"x":[' + b",".join([b"{}"] * 50_000) + b"]}"
    assert request(body).fields == {"model": "m"}


@dataclass
class Telling(MemoryBackend):
    """A backend that has a version, or fails to tell it."""

    told: bytes | Exception = b'{"version":"1"}'

    async def fetch(self, path: str) -> bytes:
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


@pytest.mark.parametrize(
    "failure",
    [late(), down(), Upstream("no JSON object"), NotFound("has none")],
    ids=lambda failure: type(failure).__name__,
)
async def test_a_backend_that_does_not_tell_its_version_keeps_no_other_from_it(failure: Exception) -> None:
    """Found here: one that hung made the answer 504, where the next one had a version."""
    members = {backend.backend(): backend for backend in (Telling("a", told=failure), Telling("b"))}
    backends = tuple(members)
    pool = Pool(lambda: backends, members.__getitem__)
    assert await ModelsService(pool).version() == b'{"version":"1"}'
