"""Digests come from a registry, or not at all."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from deploy.digests import compose_files, pin
from tests.support.live import live

MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "1" * 64, "size": 7,
                "platform": {"os": "linux", "architecture": "amd64"},
            }
        ],
    }
).encode()  # fmt: skip
DIGEST = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()


def registry() -> FastAPI:
    """As much of one as is asked for a manifest: it has `known:1.0` alone."""
    app = FastAPI()

    @app.get("/v2/")
    def version() -> dict[str, str]:
        return {}

    @app.api_route("/v2/known/manifests/{reference}", methods=["GET", "HEAD"])
    def manifest(reference: str) -> Response:
        if reference not in ("1.0", DIGEST):
            return JSONResponse({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, 404)
        media_type = "application/vnd.oci.image.index.v1+json"
        return Response(MANIFEST, headers={"docker-content-digest": DIGEST}, media_type=media_type)

    return app


@pytest.fixture
def docker(reached: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in reached.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1," + os.environ.get("NO_PROXY", ""))


@pytest.mark.usefixtures("docker")
def test_what_the_registry_tells_is_written_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with live(registry()) as url:
        host = url.removeprefix("http://")
        file = tmp_path / "docker-compose.yml"
        ours = "    image: code-assistant/rag-server:${CODE_ASSISTANT_VERSION:-0.1.0}\n"
        file.write_text(f"    image: {host}/known:1.0\n{ours}    image: {host}/unknown:2.0\n")
        assert pin([file]) == 1
        assert file.read_text() == f"    image: {host}/known:1.0@{DIGEST}\n{ours}    image: {host}/unknown:2.0\n"
        assert f"{host}/unknown:2.0: " in capsys.readouterr().err
        assert pin([file]) == 1  # and a second time
        assert file.read_text().count(DIGEST) == 1


def test_the_project_s_files_name_images_that_it_would_find() -> None:
    found = "".join(file.read_text("utf-8") for file in compose_files())
    assert "image: qdrant/qdrant:v" in found
