"""What a page of another site can do to a service on the user's own machine: nothing."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service_kit.app import create_service
from service_kit.browsers import AllowedHosts
from service_kit.metrics import HttpMetrics

REBOUND = "rebound.attacker.example"


def service(listens_on: str = "127.0.0.1", allowed: str = "") -> TestClient:
    async def ready() -> list[object]:
        return []

    app: FastAPI = create_service(
        "toy",
        readiness=ready,  # type: ignore[arg-type]
        metrics=HttpMetrics("toy"),
        max_body_bytes=1000,
        allowed_hosts=AllowedHosts.of(listens_on, allowed),
    )

    @app.post("/orders")
    async def order() -> str:
        return "taken"

    return TestClient(app, base_url="http://localhost:8000")


def post(client: TestClient, **headers: str) -> int:
    return client.post(
        "/orders", headers={name.replace("_", "-"): value for name, value in headers.items()}
    ).status_code


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_name_that_was_pointed_at_this_machine_is_refused(method: str) -> None:
    answer = service().request(method, "/orders" if method == "POST" else "/healthz", headers={"host": REBOUND})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (403, "forbidden")
    assert REBOUND in error["message"]
    assert "ALLOWED_HOSTS" in error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "localhost.",
        "code.localhost:8000",
        "127.0.0.1:8000",
        "[::1]:8000",
        "192.168.1.7",
        "",
    ],
)
def test_loopback_names_and_addresses_are_taken(host: str) -> None:
    assert service().get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["localhost.attacker.example", "127.0.0.1.attacker.example"])
def test_a_name_that_only_looks_like_loopback_is_refused(host: str) -> None:
    assert service().get("/healthz", headers={"host": host}).status_code == 403


def test_of_two_host_headers_each_is_looked_at() -> None:
    answer = service().get("/healthz", headers=[("host", "localhost"), ("host", REBOUND)])
    assert answer.status_code == 403


def test_a_service_for_other_machines_takes_any_name_until_it_is_told_which() -> None:
    headers = {"host": "embedding_service:8001"}
    assert service("0.0.0.0").get("/healthz", headers=headers).status_code == 200
    told = service("0.0.0.0", "code.example.org, embedding_service")
    assert told.get("/healthz", headers=headers).status_code == 200
    assert told.get("/healthz", headers={"host": "Code.Example.org"}).status_code == 200
    assert told.get("/healthz", headers={"host": REBOUND}).status_code == 403


def test_a_proxy_on_this_machine_is_let_in_by_a_setting() -> None:
    headers = {"host": "code.example.org"}
    assert service().get("/healthz", headers=headers).status_code == 403
    assert service(allowed="code.example.org").get("/healthz", headers=headers).status_code == 200
    assert service(allowed="*").get("/healthz", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://attacker.example", "null", "http://localhost:3000", "http://localhost.attacker.example:8000", "", "x"],
)
@pytest.mark.parametrize("listens_on", ["127.0.0.1", "0.0.0.0"])
def test_a_page_of_another_origin_can_change_nothing(origin: str, listens_on: str) -> None:
    answer = service(listens_on).post("/orders", headers={"origin": origin, "content-type": "text/plain"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_of_another_site_is_told_by_its_fetch_metadata(site: str) -> None:
    assert post(service(), sec_fetch_site=site) == 403


def test_our_own_page_a_program_and_the_users_own_doing_are_taken() -> None:
    client = service()
    assert post(client) == 200
    assert post(client, origin="http://localhost:8000") == 200
    assert post(client, origin="http://localhost:8000", sec_fetch_site="same-origin") == 200
    assert post(client, sec_fetch_site="none") == 200


def test_behind_a_proxy_that_ends_tls_the_page_is_still_our_own() -> None:
    assert post(service("0.0.0.0"), host="code.example.org", origin="https://code.example.org") == 200
    assert post(service("0.0.0.0"), host="code.example.org:80", origin="https://code.example.org:443") == 200


def test_behind_a_proxy_that_changes_the_host_the_page_is_known_by_fetch_metadata_or_by_the_setting() -> None:
    page = "https://code.example.org"
    assert post(service(), origin=page, sec_fetch_site="same-origin") == 200
    assert post(service(), origin=page) == 403
    assert post(service(allowed="code.example.org"), origin=page) == 200


def test_following_a_link_from_elsewhere_is_no_attack() -> None:
    assert service().get("/healthz", headers={"sec-fetch-site": "cross-site"}).status_code == 200


def test_a_refusal_is_counted() -> None:
    client = service()
    post(client, origin="https://attacker.example")
    assert 'errors_total{code="forbidden"} 1.0' in client.get("/metrics").text
