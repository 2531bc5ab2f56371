"""Fills in the digests of images that are not ours: `python -m deploy.digests`, where their registries can be asked.

A tag can be moved to another image; with its digest behind it, `docker compose` takes no other. Asks by `docker buildx
imagetools`, and so with the logins that docker has. A digest that no registry told is never written.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# `image: qdrant/qdrant:v1.19.0`, with or without a digest; ours hold a variable.
_IMAGE = re.compile(r"^(\s*image: )([^\s@${}]+:[^\s@${}]+)(@sha256:[0-9a-f]{64})?\s*$", re.M)


def compose_files() -> list[Path]:
    """Every Compose file of the project."""
    return sorted(
        [
            *ROOT.glob("docker-compose*.yml"),
            *ROOT.glob("*/docker-compose.yml"),
            *ROOT.glob("tests/*/docker-compose.yml"),
        ]
    )


def digest_of(image: str) -> str | None:
    """`sha256:…` of an image's manifest list, as its registry holds it; None where it does not tell."""
    command = ["docker", "buildx", "imagetools", "inspect", "--raw", image]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode == 0 and done.stdout:
        return "sha256:" + hashlib.sha256(done.stdout).hexdigest()
    print(f"{image}: {done.stderr.decode(errors='replace').strip()}", file=sys.stderr)
    return None


def pin(files: Iterable[Path]) -> int:
    """Write each image's digest behind its tag; returns how many images no registry told of, whose lines stay."""
    known: dict[str, str | None] = {}

    def pinned(found: re.Match[str]) -> str:
        image = found[2]
        if image not in known:
            known[image] = digest_of(image)
        digest = known[image]
        return found[0] if digest is None else f"{found[1]}{image}@{digest}"

    for file in files:
        before = file.read_text("utf-8")
        after = _IMAGE.sub(pinned, before)
        if after != before:
            file.write_text(after, "utf-8")
    return sum(digest is None for digest in known.values())


if __name__ == "__main__":
    sys.exit(1 if pin(compose_files()) else 0)
