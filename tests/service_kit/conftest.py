"""A small service built from the kit, as the real ones are."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict, Field

from service_kit.app import create_service
from service_kit.errors import Overloaded
from service_kit.health import Check
from service_kit.metrics import HttpMetrics


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = Field(ge=1, le=10)
    note: str = ""


class Toy:
    """The app and the switches of a test."""

    def __init__(self) -> None:
        self.checks = [Check("store", True, "answers"), Check("extra", True, "there", required=False)]
        self.metrics = HttpMetrics("toy")
        self.app: FastAPI = create_service("toy", readiness=self._readiness, metrics=self.metrics, max_body_bytes=1000)

        @self.app.post("/orders/{name}")
        async def order(name: str, body: Order) -> dict[str, object]:
            return {"name": name, "count": body.count}

        @self.app.get("/busy")
        async def busy() -> None:
            raise Overloaded("64 requests are in flight; the limit is 64", retry_after_s=3)

        @self.app.get("/broken")
        async def broken() -> None:
            raise RuntimeError("the password is hunter2")

    async def _readiness(self) -> list[Check]:
        return self.checks


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def client(toy: Toy) -> TestClient:
    return TestClient(toy.app, raise_server_exceptions=False)
