"""The files that scale the stack out: what they add is as safe as the rest, and one address is published."""

import re
from typing import Any

import pytest
import yaml

from tests.compose.stack import ROOT, Stack
from tests.compose.test_1_files import config

BASE, SCALE, CLUSTER = "docker-compose.yml", "docker-compose.scale.yml", "docker-compose.qdrant-cluster.yml"


@pytest.fixture(scope="module")
def services(stack: Stack) -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = config(stack, files=[BASE, SCALE, CLUSTER])["services"]
    return told


def test_what_they_add_has_no_more_rights_than_the_rest(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["read_only"] is True, name
        assert service["pids_limit"] > 0, name
        assert "mem_limit" in service, name
        assert service["logging"]["options"] == {"max-file": "3", "max-size": "10m"}, name
        assert service["healthcheck"]["test"], name
        assert "build" in service or re.search(r":v?\d+\.\d+\.\d+", service["image"]) or name == "rag-indexer", name


def test_the_proxy_alone_is_published_and_only_services_that_are_one_are_on_loopback(
    services: dict[str, dict[str, Any]],
) -> None:
    ports = {name: {port.get("host_ip") for port in service.get("ports", [])} for name, service in services.items()}
    assert {name: hosts for name, hosts in ports.items() if hosts} == {
        "proxy": {None},
        "llm-server": {"127.0.0.1"},
        "vector-db": {"127.0.0.1"},
    }


def test_replicas_answer_one_service_indexes_and_all_share_a_volume_and_a_way_to_vectors(
    services: dict[str, dict[str, Any]],
) -> None:
    api, indexer = services["rag-server"], services["rag-indexer"]
    assert (api["environment"]["RAG_ROLE"], indexer["environment"]["RAG_ROLE"]) == ("api", "indexer")
    assert api["image"] == indexer["image"]
    assert (api["volumes"], api["secrets"]) == (indexer["volumes"], indexer["secrets"])
    told = [{k: v for k, v in one["environment"].items() if k != "RAG_ROLE"} for one in (api, indexer)]
    assert told[0] == told[1]
    assert told[0]["EMBEDDING_URL"] == "http://proxy:8001"
    replicas = {name: service["deploy"]["replicas"] for name, service in services.items() if "deploy" in service}
    assert replicas == {"rag-server": 3, "rag-indexer": 1, "embedding-server": 2}


def test_nodes_of_qdrant_have_a_volume_each_and_the_first_keeps_the_one_there_was(
    services: dict[str, dict[str, Any]],
) -> None:
    nodes = [services[f"vector-db-{number}"] for number in (1, 2, 3)]
    assert [node["volumes"][0]["source"] for node in nodes] == [
        "vector-db-data",
        "vector-db-2-data",
        "vector-db-3-data",
    ]
    for number, node in enumerate(nodes, 1):
        assert node["environment"]["QDRANT__CLUSTER__ENABLED"] == "true"
        assert node["command"][:2] == ["--uri", f"http://vector-db-{number}:6335"]
        assert node["entrypoint"][-2].endswith('exec ./entrypoint.sh "$$@"')  # the arguments reach Qdrant
        assert ("--bootstrap" in node["command"]) == (number > 1)
    assert services["rag-server"]["environment"]["QDRANT_HOST"] == "vector-db"


def test_prometheus_asks_the_indexer_too_where_jobs_are_counted() -> None:
    told = yaml.safe_load((ROOT / "monitoring" / "prometheus" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in told["scrape_configs"]}
    assert jobs["rag-server"]["dns_sd_configs"][0]["names"] == ["rag-server", "rag-indexer"]
