"""What a scrape tells of a service that must be asked for it, and that it never waits long for the answer."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service_kit.app import create_service
from service_kit.health import Check
from service_kit.metrics import HttpMetrics
from service_kit.scrape import SCRAPE_WAITS_S, DiskGauges


class Watched:
    """A service with checks that a test sets, and that may hang until it lets them go."""

    def __init__(self) -> None:
        self.checks = [Check("store", True, "answers"), Check("extra", True, "there", required=False)]
        self.metrics = HttpMetrics("toy")
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.app: FastAPI = create_service(
            "toy", readiness=self._readiness, metrics=self.metrics, max_body_bytes=1000, watched=self._watched
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://toy")

    async def scrape(self) -> dict[str, float]:
        lines = (await self.client.get("/metrics")).text.splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    async def _readiness(self) -> list[Check]:
        raise AssertionError("a scrape asked what /readyz asks")

    async def _watched(self) -> list[Check]:
        self.asked += 1
        await self.may_answer.wait()
        return self.checks


@pytest.fixture
async def service() -> Watched:
    return Watched()


async def test_a_scrape_tells_whether_the_service_is_ready_and_each_check(service: Watched) -> None:
    told = await service.scrape()
    assert told["service_ready"] == 1
    assert told['service_check_ok{check="store"}'] == 1
    service.checks = [Check("store", False, "no answer"), Check("extra", True, "there", required=False)]
    told = await service.scrape()
    assert (told["service_ready"], told['service_check_ok{check="store"}']) == (0, 0)
    assert told['service_check_ok{check="extra"}'] == 1


async def test_a_check_that_is_not_required_leaves_the_service_ready(service: Watched) -> None:
    service.checks = [Check("store", True, "answers"), Check("extra", False, "gone", required=False)]
    told = await service.scrape()
    assert (told["service_ready"], told['service_check_ok{check="extra"}']) == (1, 0)


async def test_a_check_that_is_gone_is_no_longer_told(service: Watched) -> None:
    await service.scrape()
    service.checks = service.checks[:1]
    assert 'service_check_ok{check="extra"}' not in await service.scrape()


async def test_a_scrape_does_not_wait_for_a_check_that_hangs_and_a_later_one_tells_it(service: Watched) -> None:
    await service.scrape()
    service.may_answer.clear()
    service.checks = [Check("store", False, "no answer")]
    async with asyncio.timeout(SCRAPE_WAITS_S * 40):
        told = await service.scrape()
    assert told["service_ready"] == 1  # as it was, until it answers
    asked = service.asked
    await service.scrape()
    assert service.asked == asked  # the question is still out; it is not asked twice at once
    service.may_answer.set()
    assert (await service.scrape())["service_ready"] == 0


async def test_a_service_whose_readiness_fails_is_not_ready_and_its_other_metrics_are_told(service: Watched) -> None:
    await service.scrape()
    service.checks = None  # type: ignore[assignment]
    told = await service.scrape()
    assert told["service_ready"] == 0
    assert told['service_info{service="toy"}'] == 1


async def test_a_question_that_fails_hides_no_other_metric(service: Watched) -> None:
    async def fails() -> None:
        raise OSError("the disk is gone")

    service.metrics.questions.add(fails)
    assert (await service.scrape())["service_ready"] == 1


async def test_the_disk_of_a_folder_that_does_not_exist_yet_is_its_parents(service: Watched, tmp_path: Path) -> None:
    service.metrics.questions.add(DiskGauges(service.metrics.registry, tmp_path / "not" / "yet", "data").ask)
    told = await service.scrape()
    free, size = (told[f'service_disk_{name}_bytes{{volume="data"}}'] for name in ("free", "size"))
    assert 0 < free < size


async def test_scrapes_cost_little(service: Watched, tmp_path: Path) -> None:
    service.metrics.questions.add(DiskGauges(service.metrics.registry, tmp_path, "data").ask)
    await service.scrape()
    started = time.process_time()
    for _ in range(20):
        await service.scrape()
    assert (time.process_time() - started) / 20 < 0.05  # 2 ms where it was measured
