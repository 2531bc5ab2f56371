"""What every service built from the kit does for its callers."""

import re
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from service_kit.health import Check

if TYPE_CHECKING:
    from tests.service_kit.conftest import Toy


def test_a_request_keeps_the_callers_id(client: TestClient) -> None:
    answer = client.get("/healthz", headers={"x-request-id": "abc-123"})
    assert answer.headers["x-request-id"] == "abc-123"


@pytest.mark.parametrize("offered", ["", "x" * 129, 'evil" id', "two\tparts"])
def test_an_id_that_is_not_short_and_plain_is_replaced(client: TestClient, offered: str) -> None:
    answer = client.get("/healthz", headers={"x-request-id": offered})
    assert answer.headers["x-request-id"] != offered
    assert len(answer.headers["x-request-id"]) == 32


def test_alive_and_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


def test_not_ready_says_what_is_missing_and_when_to_come_back(client: TestClient, toy: "Toy") -> None:
    toy.checks[0] = Check("store", False, "nothing listens on port 6333; set QDRANT_PORT")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "QDRANT_PORT" in answer.json()["checks"][0]["detail"]


def test_what_is_not_required_does_not_make_it_unready(client: TestClient, toy: "Toy") -> None:
    toy.checks[1] = Check("extra", False, "no LLM", required=False)
    assert client.get("/readyz").status_code == 200


def test_a_field_out_of_range_is_named_with_its_value_and_its_limit(client: TestClient) -> None:
    answer = client.post("/orders/tea", json={"count": 11})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "validation")
    assert "count" in error["message"]
    assert "10" in error["message"]
    assert "11" in error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]


def test_a_long_value_is_not_sent_back_whole(client: TestClient) -> None:
    answer = client.post("/orders/tea", json={"count": "9" * 700})
    assert len(answer.content) < 700


def test_a_body_that_is_not_json_is_told_with_the_place_where_it_stops_being(client: TestClient) -> None:
    answer = client.post("/orders/tea", content=b'{"count": 1, oh', headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "validation")
    assert error["message"].startswith("the body is not JSON: ")
    assert error["message"].endswith(" at character 14")
    assert [field["field"] for field in error["details"]["fields"]] == ["body"]


@pytest.mark.parametrize(
    ("sent_as", "told"), [("text/plain", "came as 'text/plain'"), (None, "without a content-type")]
)
def test_json_that_came_as_something_else_is_told_by_its_content_type(
    client: TestClient, sent_as: str | None, told: str
) -> None:
    headers = {"content-type": sent_as} if sent_as else {}
    answer = client.post("/orders/tea", content=b'{"count": 1}', headers=headers)
    message = answer.json()["error"]["message"]
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "validation")
    assert told in message
    assert "application/json" in message


def test_a_body_that_is_missing_is_told_without_a_field(client: TestClient) -> None:
    assert client.post("/orders/tea").json()["error"]["message"] == "the body is missing; send JSON"


def test_a_field_that_is_missing_is_named(client: TestClient) -> None:
    assert client.post("/orders/tea", json={}).json()["error"]["message"] == "count: Field required"


def test_a_field_that_nobody_knows_is_told_to_be_unknown(client: TestClient) -> None:
    message = client.post("/orders/tea", json={"count": 1, "sugar": "two"}).json()["error"]["message"]
    assert message == "sugar: no field of this name is known; see /docs (given: 'two')"


def test_unknown_routes_and_methods_use_the_envelope(client: TestClient) -> None:
    assert client.get("/nowhere").json()["error"]["code"] == "not_found"
    wrong_method = client.get("/orders/tea")
    assert (wrong_method.status_code, wrong_method.json()["error"]["code"]) == (405, "validation")


def test_refused_at_the_door_says_when_to_come_back(client: TestClient) -> None:
    answer = client.get("/busy")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert answer.json()["error"]["code"] == "overloaded"


def test_an_unknown_failure_keeps_its_text_to_itself(client: TestClient) -> None:
    answer = client.get("/broken", headers={"x-request-id": "find-me"})
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "find-me" in answer.json()["error"]["message"]


def test_a_declared_body_over_the_limit_is_refused(client: TestClient) -> None:
    answer = client.post("/orders/tea", json={"count": 1, "note": "x" * 2000})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert "1000" in answer.json()["error"]["message"]


def test_an_undeclared_body_over_the_limit_is_refused(client: TestClient) -> None:
    def pieces() -> object:
        for _ in range(30):
            yield b"x" * 100

    answer = client.post("/orders/tea", content=pieces(), headers={"content-type": "application/json"})  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_metrics_count_by_route_template_and_error_word(client: TestClient) -> None:
    client.post("/orders/tea", json={"count": 1})
    client.post("/orders/coffee", json={"count": 99})
    client.get("/wp-admin.php")
    text = client.get("/metrics").text
    assert 'http_requests_total{method="POST",route="/orders/{name}",status="200"} 1.0' in text
    assert 'route="unmatched",status="404"' in text
    assert 'errors_total{code="validation"} 1.0' in text
    assert "tea" not in text
    assert "wp-admin" not in text


def test_the_documentation_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text
    loaded = re.findall(r"(?:src|href|url)(?:=|: )[\"']([^\"']+)", page.text)
    assert len(loaded) == 4, loaded  # script, style, icon, description
    for address in loaded:
        assert client.get(f"/{address}").status_code == 200, address
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "/orders/{name}" in client.get("/openapi.json").json()["paths"]


def test_the_documentation_has_no_other_files(client: TestClient) -> None:
    for name in ("__init__.py", "..%2F__init__.py", "nothing.js"):
        assert client.get(f"/docs/{name}").status_code == 404
    assert client.get("/redoc").status_code == 404  # FastAPI's loads from a CDN
