"""Fills the index: package after package, until there are chunks enough. What is there already is only looked at."""

from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic, sleep

from benchmarks.search.servers import Stack

# 100,000 chunks take a quarter of an hour of two cores, and several times that beside other work.
INDEX_LIMIT_S = 3 * 3_600

_TELL_EVERY_S = 20


class NotIndexed(Exception):
    """A job failed or took too long, or all sources together have too few chunks; the text says which."""


def fill(
    stack: Stack, sources: Iterable[tuple[str, Path]], wanted: int, say: Callable[[str], None]
) -> tuple[int, list[Path]]:
    """Index sources, in their order, until there are `wanted` chunks; returns how many, and the folders they are of.

    sources: names and folders; no more are asked for than are needed. Fails with NotIndexed.
    """
    known = {one["name"]: one["id"] for one in stack.call("GET", "/v1/repositories")["repositories"]}
    chunks, roots, deadline = 0, [], monotonic() + INDEX_LIMIT_S
    for name, root in sources:
        if name in known:
            identifier = known[name]
            job = stack.call("POST", f"/v1/repositories/{identifier}/sync")["job"]["id"]
        else:
            body = {"source": {"type": "path", "path": str(root)}, "name": name}
            answer = stack.call("POST", "/v1/repositories", body)
            identifier, job = answer["repository"]["id"], answer["job"]["id"]
        _wait(stack, name, job, deadline, say)
        chunks += int(stack.call("GET", f"/v1/repositories/{identifier}")["chunks"])
        roots.append(root)
        say(f"{name}: indexed; {chunks} chunks of {wanted}")
        if chunks >= wanted:
            return chunks, roots
    raise NotIndexed(f"all sources together have {chunks} chunks, not {wanted}; ask for fewer with --chunks")


def _wait(stack: Stack, name: str, job: str, deadline: float, say: Callable[[str], None]) -> None:
    began = told = monotonic()
    pause_s = 0.05
    while True:
        state = stack.call("GET", f"/v1/jobs/{job}")
        if state["state"] == "succeeded":
            return
        if state["state"] in ("failed", "cancelled"):
            raise NotIndexed(f"indexing {name} {state['state']}: {state.get('error')}")
        if monotonic() > deadline:
            raise NotIndexed(f"indexing took over {INDEX_LIMIT_S} s; the next run goes on from here")
        if monotonic() - told > _TELL_EVERY_S:
            told = monotonic()
            # A run that was broken off is taken up by the server itself, before what is asked for now.
            done = "waits" if state["state"] == "queued" else f"{state['progress']['chunks_done']} chunks"
            say(f"  {name}: {done}, {told - began:.0f} s")
        sleep(pause_s)
        pause_s = min(pause_s * 1.5, 1.0)
