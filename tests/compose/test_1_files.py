"""The files themselves: clean for every profile and override, and safe in every service."""

import itertools
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service_kit.browsers import AllowedHosts
from tests.compose.stack import ROOT, SERVICES, Stack

PROFILES = ("gpu", "load", "monitoring")
OVERRIDES = sorted(path.name for path in ROOT.glob("docker-compose.*.yml"))


def config(stack: Stack, *options: str, files: list[str]) -> dict[str, Any]:
    named = [part for file in files for part in ("-f", file)]
    done = stack.run(*named, *options, "config")
    assert done.stderr == ""
    told: dict[str, Any] = yaml.safe_load(done.stdout)
    return told


@pytest.mark.parametrize("override", [None, *OVERRIDES])
@pytest.mark.parametrize("profile", ["", *PROFILES, "*"])
def test_it_is_clean_with_each_profile_and_override(stack: Stack, profile: str, override: str | None) -> None:
    options = ["--profile", profile] if profile else []
    told = config(stack, *options, files=["docker-compose.yml", *([override] if override else [])])
    assert set(SERVICES) <= set(told["services"])


def test_env_example_names_base_and_dev_and_is_clean(stack: Stack) -> None:
    example = (ROOT / ".env.example").read_text()
    named = re.search(r"^COMPOSE_FILE=(.*)$", example, re.M)
    assert named is not None
    assert named[1].split(":") == ["docker-compose.yml", "docker-compose.dev.yml"]
    config(stack, "--env-file", str(ROOT / ".env.example"), files=named[1].split(":"))


@pytest.fixture(scope="module")
def services(stack: Stack) -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = config(stack, "--profile", "*", files=["docker-compose.yml"])["services"]
    return told


def test_every_service_has_no_more_rights_than_it_needs(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["pids_limit"] > 0, name
        assert service.get("read_only") is True or name == "vllm", name
        assert "mem_limit" in service or name == "vllm", name
        assert service["logging"]["options"] == {"max-file": "3", "max-size": "10m"}, name
        assert "privileged" not in service, name
    for name in SERVICES:
        assert services[name]["init"] is True, name
        assert "service_kit.probe" in services[name]["healthcheck"]["test"] or "readyz" in str(
            services[name]["healthcheck"]
        ), name


def test_only_the_rag_server_is_published_beyond_loopback(services: dict[str, dict[str, Any]]) -> None:
    beyond = {
        name
        for name, service in services.items()
        for port in service.get("ports", [])
        if port.get("host_ip") != "127.0.0.1"
    }
    assert beyond == {"rag-server"}


def test_services_reach_each_other_whatever_hosts_are_allowed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "code.example.com")
    for files in (["docker-compose.yml"], ["docker-compose.yml", "docker-compose.scale.yml"]):
        services = config(stack, "--profile", "gpu", files=files)["services"].items()
        told = [(name, service.get("environment") or {}) for name, service in services]
        ours = {name: AllowedHosts.of("0.0.0.0", e["ALLOWED_HOSTS"]) for name, e in told if "ALLOWED_HOSTS" in e}
        assert {"rag-server", "embedding-server", "embedding-server-gpu", "llm-server"} <= set(ours)
        for name, allowed in ours.items():
            assert allowed.take(name), name
            assert allowed.take("proxy"), name
            assert allowed.take("code.example.com"), name
            assert not allowed.take("evil.example"), name


def test_the_metrics_of_a_guarded_qdrant_are_scraped_with_its_key(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY_FILE", "./secrets/qdrant_api_key")
    told = config(stack, "--profile", "monitoring", files=["docker-compose.yml"])
    wanted = {str(stack.folder / "secrets" / "qdrant_api_key")}
    for name in ("prometheus", "vector-db", "rag-server"):
        mounted = [secret["source"] for secret in told["services"][name]["secrets"] if "qdrant" in secret["source"]]
        assert {told["secrets"][source]["file"] for source in mounted} == wanted, name


@pytest.mark.parametrize("override", [None, "docker-compose.qdrant-cluster.yml"])
def test_qdrant_does_not_start_where_it_would_ask_for_no_key_and_one_was_meant(
    stack: Stack, override: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(key_file: Path) -> bool:
        told = config(stack, files=["docker-compose.yml", *([override] if override else [])])["services"]
        service = told["vector-db-1" if override else "vector-db"]
        script = service["entrypoint"][2].replace("$$", "$").replace("exec ./entrypoint.sh", "echo started with")
        command = ["bash", "-c", script.replace("/run/secrets/qdrant_api_key", str(key_file))]
        environment = {**os.environ, **service["environment"]}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is ("started" in done.stdout) is not bool(done.stderr)
        assert "a-key" not in done.stderr
        return done.returncode == 0

    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    assert started(ROOT / "deploy" / "unset")
    assert not started(tmp_path / "which may not be read")
    monkeypatch.setenv("QDRANT_API_KEY", "a-key")
    assert not started(ROOT / "deploy" / "unset")


def test_every_foreign_image_has_an_exact_version(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$", service["image"]), (
                name,
                service["image"],
            )


def test_no_service_is_told_a_secret_in_its_environment(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            is_secret = re.search(r"(KEY|PASSWORD|TOKEN|SECRET)$", variable)
            assert not (is_secret and value), (name, variable)


def test_a_container_is_made_anew_where_another_file_is_its_secret(stack: Stack, tmp_path: Path) -> None:
    """Compose itself looks at the secret's name only, and would leave vector-db open to all after a key was set."""

    def hashes(text: str) -> dict[str, str]:
        (tmp_path / "env").write_text(text)
        told = stack.run(
            "-f", "docker-compose.yml", "--env-file", str(tmp_path / "env"), "config", "--hash", "*"
        ).stdout
        return dict(line.split() for line in told.splitlines())

    before = hashes("")
    users = {
        name.upper(): {service for service, told in _services().items() if name in told.get("secrets", [])}
        for name in yaml.safe_load((ROOT / "docker-compose.yml").read_text())["secrets"]
    }
    assert "vector-db" in users["QDRANT_API_KEY"]
    for name, its_users in users.items():
        after = hashes(f"{name}_FILE=./secrets/another\n")
        assert its_users & before.keys() <= {service for service in before if before[service] != after[service]}, name


def test_each_service_s_requirements_hold_what_it_imports_at_the_versions_that_are_tested() -> None:
    from deploy.requirements import SERVICES as BUILT
    from deploy.requirements import name_of, needs_of

    tested = dict(line.split("==") for line in _lines(ROOT / "constraints.txt") if "==" in line)
    tested = {name_of(name): version for name, version in tested.items()}
    for service in BUILT:
        pinned = dict(
            re.findall(
                r"^([A-Za-z0-9._-]+)(?:\[[a-z0-9,-]+\])?==(\S+) \\$",
                (ROOT / service / "requirements.txt").read_text(),
                re.M,
            )
        )
        pinned = {name_of(name): version for name, version in pinned.items()}
        for requirement in needs_of(service):
            assert name_of(requirement) in pinned, f"make requirements: {service} lacks {requirement}"
        for name, version in pinned.items():
            # pip freeze, and so constraints.txt, leaves out what packages are built with.
            assert name == "setuptools" or tested[name] == version, (service, name)


def _services() -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return told


def _lines(path: Path) -> list[str]:
    return list(itertools.chain(line.strip() for line in path.read_text().splitlines() if not line.startswith("#")))
