"""The stack that answers: started on free ports with a model gateway, and what it is asked about indexed."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.core.processes import launch
from evals.core.indexing import Index
from evals.core.stack import OTHERS, started
from evals.core.task import Batch
from evals.ragas.chosen import Source

# What tells the gateway where its models are, and is the user's own.
_OF_THE_GATEWAY = ("OPENAI_", "LLM_")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the scoring asks; "" is told by its own options."""

    url: str = ""
    llm_url: str = ""
    embedding_url: str = ""
    judge_model: str = ""
    replay: Path | None = None

    def judged_by(self, model: str) -> "Addresses":
        """The same with another judge, unless none is named."""
        return replace(self, judge_model=model or self.judge_model)

    def options(self) -> list[str]:
        """As evals/ragas/score.py takes them."""
        told = {
            "--url": self.url,
            "--llm-url": self.llm_url,
            "--judge-url": self.llm_url and f"{self.llm_url}/v1",
            "--embedding-url": self.embedding_url and f"{self.embedding_url}/v1",
            "--judge-model": self.judge_model,
            "--replay": "" if self.replay is None else str(self.replay),
        }
        return [word for name, value in told.items() if value for word in (name, value)]


@dataclass(frozen=True, slots=True)
class _Gateway:
    env: dict[str, str]
    name: str = "llm_service"
    command: tuple[str, ...] = (sys.executable, "-m", "llm_service")
    health: str = "/healthz"  # ready it is only with a model, which a user may not have


@contextmanager
def serving(
    cache: Path, logs: Path, sources: Sequence[Source], script: Path | None, say: Callable[[str], None]
) -> Iterator[Addresses]:
    """All services, with the sources indexed; ended when the block ends. The index, under `cache`, is `make eval`'s.

    script: what the gateway answers by, and then the judge is a script, too; without one its models are those that
    the environment names (LLM_*, OPENAI_*). Fails with DidNotStart, NotIndexed and CallFailed.
    """
    env = {"LLM_PORT": "{port}"}
    if script is not None:
        env |= {"LLM_PROVIDER": "scripted", "LLM_SCRIPT": str(script.resolve())}
    not_inherited = OTHERS if script is not None else tuple(set(OTHERS) - set(_OF_THE_GATEWAY))
    gateway = launch(_Gateway(env), logs, not_inherited)
    try:
        rag = {"LLM_URL": f"{gateway.url}/v1"}
        allowed = Path(os.path.commonpath([cache.resolve(), *(source.root.resolve() for source in sources)]))
        with started(cache / "index", logs, allowed, rag) as service:
            index = Index(service, say)
            for source in sources:
                index.bring(Batch(source.repository, source.root, source.state, ()))
            yield Addresses(service.url, gateway.url, service.embedding_url, "scripted" if script else "")
    finally:
        gateway.stop()
