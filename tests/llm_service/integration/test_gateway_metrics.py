"""What an operator sees at /metrics: each figure by backend, model and outcome, and no label that callers make up."""

import asyncio
import time
from typing import Any

import httpx
import orjson
import pytest

from llm_service.features.chat.metrics import MAX_MODEL_LABELS, OTHER
from tests.llm_service.conftest import Start
from tests.llm_service.wire import CHAT, COMPLETION, HELLO, error_of, get, metrics, post, quickest, settled, until
from tests.support.live import live
from tests.support.unruly_llm import END, FIRST, UnrulyLlm, answer, hang, stream

OF = {"backend": "default", "model": "m"}


def slow(seconds: float, then: Any) -> Any:
    async def play(send: Any) -> None:
        await asyncio.sleep(seconds)
        await then(send)

    return play


async def test_each_figure_is_there_by_backend_model_and_outcome(start: Start) -> None:
    url = start(UnrulyLlm([answer(200, COMPLETION), stream(FIRST, 0.05, FIRST, 0.05, END)]))
    await post(url)
    started = time.monotonic()
    await post(url, stream=True)
    took_s = time.monotonic() - started
    seen = await settled(url)
    assert seen.value("llm_requests_total", **OF, outcome="ok") == 2
    for name in ("llm_time_to_first_token_seconds", "llm_duration_seconds", "llm_overhead_seconds"):
        assert seen.value(f"{name}_count", **OF) == 2
        assert seen.value(f"{name}_bucket", **OF, le="+Inf") == 2
    assert seen.value("llm_time_between_tokens_seconds_count", **OF) >= 2
    assert 0.09 <= seen.value("llm_time_between_tokens_seconds_sum", **OF) < took_s
    assert seen.value("llm_time_between_tokens_seconds_bucket", **OF, le="0.02") <= seen.value(
        "llm_time_between_tokens_seconds_bucket", **OF, le="0.64"
    )
    assert seen.value("llm_tokens_total", **OF, kind="prompt") == 7
    assert seen.value("llm_tokens_total", **OF, kind="completion") == 2
    for name in ("llm_requests_in_work", "llm_requests_queued"):
        assert f"\n{name} 0.0" in seen.text
    assert seen.value("llm_backend_in_flight", backend="default") == 0
    assert 'llm_breaker_state{backend="default"} 0.0' in seen.text


async def test_the_gateways_own_time_excludes_what_it_waits_for(start: Start) -> None:
    """One second at the backend, before the answer or between its tokens, and one at the door."""
    whole, streamed = slow(1.0, answer(200, COMPLETION)), slow(0.5, stream(FIRST, 0.5, END))

    async def overhead_s() -> float:
        url = start(UnrulyLlm([whole, streamed, whole]), llm_max_concurrent_requests=1)
        await post(url)
        await post(url, stream=True)
        await settled(url)
        await asyncio.gather(post(url), post(url))
        seen = await settled(url)
        assert seen.value("llm_overhead_seconds_count", **OF) == 4
        assert seen.value("llm_duration_seconds_sum", **OF) > 5  # the last one waited for the one before it
        return seen.value("llm_overhead_seconds_sum", **OF)

    assert await quickest(overhead_s, 4 * 0.05) < 4 * 0.05


async def test_a_client_that_reads_slowly_is_no_overhead(start: Start) -> None:
    async def overhead_s() -> float:
        url = start(UnrulyLlm([stream(FIRST * 100_000, END)]))
        body = {"model": "m", "messages": HELLO, "stream": True}
        async with httpx.AsyncClient() as http, http.stream("POST", url + CHAT, json=body) as response:
            pieces = response.aiter_raw()
            await anext(pieces)
            await asyncio.sleep(1.0)
            async for _ in pieces:
                pass
        seen = await settled(url)
        assert seen.value("llm_duration_seconds_sum", **OF) > 1
        return seen.value("llm_overhead_seconds_sum", **OF)

    assert await quickest(overhead_s, 0.5) < 0.5


async def test_the_first_token_is_timed_and_not_the_headers(start: Start) -> None:
    async def first_token_s() -> float:
        url = start(UnrulyLlm([stream(0.3, FIRST, 0.3, END)]))
        await post(url, stream=True)
        seen = await settled(url)
        assert seen.value("llm_time_to_first_token_seconds_sum", **OF) >= 0.29
        return seen.value("llm_time_to_first_token_seconds_sum", **OF)

    assert await quickest(first_token_s, 0.6) < 0.6


async def test_what_is_in_work_and_what_waits_is_shown_while_it_does(start: Start) -> None:
    url = start(UnrulyLlm([hang]), llm_max_concurrent_requests=2, llm_max_queued_requests=5, llm_queue_timeout_s=60)
    asked = [asyncio.create_task(post(url)) for _ in range(5)]

    async def shows(in_work: int, queued: int, in_flight: int) -> bool:
        now = await metrics(url)
        return (
            now.value("llm_requests_in_work"),
            now.value("llm_requests_queued"),
            now.value("llm_backend_in_flight", backend="default"),
        ) == (in_work, queued, in_flight)

    await until(lambda: shows(2, 3, 2))
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    await until(lambda: shows(0, 0, 0))
    assert (await settled(url)).value("llm_requests_total", outcome="client_left") == 5


@pytest.mark.parametrize(
    ("play", "options", "outcome"),
    [
        (answer(400, {"error": {"message": "no"}}), {}, "validation"),
        (answer(429, {"error": {"message": "no"}}), {}, "overloaded"),
        (answer(500, {}), {}, "upstream"),
        (answer(503, {}), {}, "unavailable"),
        (answer(401, {}), {}, "upstream"),
        (hang, {}, "timeout"),
        (stream(FIRST, ending="dies"), {"stream": True}, "upstream"),
        (stream(FIRST, ending="hangs"), {"stream": True}, "timeout"),
    ],
)
async def test_a_failure_is_counted_by_its_word_at_the_backend_that_failed(
    start: Start, play: Any, options: dict[str, Any], outcome: str
) -> None:
    """Found here: what failed before its first byte was told of no backend."""
    settings = {"llm_total_timeout_s": 0.3} if play is hang else {"llm_idle_timeout_s": 0.2}
    url = start(UnrulyLlm([play]), llm_max_retries=0, **settings)
    await post(url, **options)
    seen = await settled(url)
    assert seen.value("llm_requests_total", **OF, outcome=outcome) == 1
    assert seen.value("llm_requests_total") == 1


@pytest.mark.usefixtures("rests_long")
async def test_retries_are_counted_by_what_failed_and_the_breaker_is_shown(start: Start) -> None:
    url = start(UnrulyLlm([answer(500, {}), answer(500, {}), answer(200, COMPLETION), answer(500, {})]))
    await post(url)
    assert (await metrics(url)).value("llm_retries_total", **OF, fault="down") == 2
    for _ in range(2):
        await post(url)
    assert (await metrics(url)).value("llm_breaker_state", backend="default") == 2
    with live(UnrulyLlm([answer(429, {}, {"retry-after": "30"})])) as address:
        cooling = start(None, llm_base_url=address + "/v1")
        await post(cooling)
        assert (await metrics(cooling)).value("llm_breaker_state", backend="default") == 3


async def test_two_backends_and_an_alias_are_told_apart(start: Start) -> None:
    with (
        live(UnrulyLlm([answer(200, COMPLETION)], models=["qwen"])) as first,
        live(UnrulyLlm([answer(200, COMPLETION)], models=["llama"])) as second,
    ):
        tables = [
            {"name": "left", "base_url": first + "/v1", "aliases": {"code": "qwen"}},
            {"name": "right", "base_url": second + "/v1"},
        ]
        url = start(None, llm_backends=orjson.dumps(tables).decode())
        for model in ("qwen", "code", "code", "llama"):
            assert (await post(url, model=model)).status_code == 200
        seen = await settled(url)
    assert seen.value("llm_requests_total", backend="left", model="qwen", outcome="ok") == 1
    assert seen.value("llm_requests_total", backend="left", model="code", outcome="ok") == 2
    assert seen.value("llm_requests_total", backend="right", model="llama", outcome="ok") == 1
    assert seen.labels("llm_breaker_state", "backend") == {"left", "right"}


async def test_names_that_callers_make_up_are_no_labels(start: Start) -> None:
    url = start(UnrulyLlm([answer(200, COMPLETION)]))
    for number in range(3):
        assert error_of(await post(url, model=f"made-up-{number}"))["code"] == "model_not_found"
        await post(url, f"/v1/made-up-{number}")
        await get(url, f"/made-up-{number}")
    seen = await settled(url)
    assert "made-up" not in seen.text
    assert seen.value("llm_requests_total", model=OTHER, outcome="not_found") == 3


async def test_before_a_backend_that_takes_any_name_labels_are_at_most_fifty(start: Start) -> None:
    """Ollama's list may lack what it serves, so that an answered name is a model; but callers choose it."""
    async with httpx.AsyncClient() as http:
        url = start(UnrulyLlm([answer(200, COMPLETION)], models=[]))
        for number in range(MAX_MODEL_LABELS + 20):
            body = {"model": f"made-up-{number}", "messages": HELLO}
            assert (await http.post(url + CHAT, json=body)).status_code == 200
    seen = await settled(url)
    assert len(seen.labels("llm_requests_total", "model")) == MAX_MODEL_LABELS + 1
    assert seen.value("llm_requests_total", model=OTHER) == 20
    assert MAX_MODEL_LABELS == 50


async def test_names_that_such_a_backend_refuses_are_no_labels(start: Start) -> None:
    url = start(UnrulyLlm([answer(404, {"error": {"message": "no such model", "code": 404}})], models=[]))
    for number in range(3):
        await post(url, model=f"made-up-{number}")
    seen = await settled(url)
    assert "made-up" not in seen.text
    assert seen.value("llm_requests_total", backend="default", model=OTHER, outcome="not_found") == 3


async def test_names_that_callers_make_up_do_not_become_labels(start: Start) -> None:
    url = start(UnrulyLlm([answer(404, {"error": {"message": "no such model"}})]))
    for number in range(3):
        await post(url, model=f"made-up-{number}")
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(url + "/metrics")).text
    assert 'llm_requests_total{backend="none",model="other",outcome="not_found"} 3.0' in metrics
    assert "made-up" not in metrics


async def test_how_full_the_door_may_be_and_how_many_backends_there_are_is_shown(start: Start) -> None:
    now = await metrics(start(UnrulyLlm([hang]), llm_max_concurrent_requests=2, llm_max_queued_requests=5))
    assert now.value("llm_requests_in_work_limit") == 2
    assert now.value("llm_requests_queued_limit") == 5
    assert now.value("llm_backends") == 1


async def test_a_scrape_tells_readiness_from_what_requests_have_shown_and_asks_no_backend(start: Start) -> None:
    upstream = UnrulyLlm([answer(500, {})])
    url = start(upstream, llm_max_retries=0)
    now = await metrics(url)
    assert (now.value("service_ready"), now.value("service_check_ok", check="backend default")) == (1, 1)
    assert upstream.paths == []
    for _ in range(5):
        await post(url)
    now = await metrics(url)
    assert (now.value("service_ready"), now.value("service_check_ok", check="backend default")) == (0, 0)
