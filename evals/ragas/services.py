"""The stack that answers: started on free ports with a model gateway, and what it is asked about indexed."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.core.processes import launch
from evals.core.indexing import Index
from evals.core.stack import OTHERS, Service
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
class _Server:
    name: str
    env: Mapping[str, str]
    health: str = "/readyz"

    @property
    def command(self) -> tuple[str, ...]:
        return (sys.executable, "-m", self.name)


@contextmanager
def serving(
    cache: Path, logs: Path, sources: Sequence[Source], script: Path | None, say: Callable[[str], None]
) -> Iterator[Addresses]:
    """All services, with the sources indexed; ended when the block ends. The index, under `cache`, is `make eval`'s.

    script: what the gateway answers by, and then the judge is a script, too; without one its models are those that
    the environment names (LLM_*, OPENAI_*). Fails with DidNotStart, NotIndexed and CallFailed.
    """
    data = cache / "index"
    data.mkdir(parents=True, exist_ok=True)
    allowed = Path(os.path.commonpath([cache.resolve(), *(source.root.resolve() for source in sources)]))
    scripted = {"LLM_PROVIDER": "scripted", "LLM_SCRIPT": str(script.resolve())} if script else {}
    with ExitStack() as ended:

        def start(server: _Server, not_inherited: Sequence[str] = OTHERS) -> str:
            running = launch(server, logs, tuple(not_inherited))
            ended.callback(running.stop)
            return running.url

        index = start(_Server("vector_db", {"QDRANT_PORT": "{port}", "VECTOR_DB_DIR": str(data / "vector_db")}))
        embedding = start(_Server("embedding_service", {"EMBEDDING_PORT": "{port}", "DATA_DIR": str(data)}))
        # Healthy, not ready: a user may have no model, and gets extracts.
        gateway = _Server("llm_service", {"LLM_PORT": "{port}", **scripted}, "/healthz")
        llm = start(gateway, OTHERS if script else sorted(set(OTHERS) - set(_OF_THE_GATEWAY)))
        rag = {
            "RAG_PORT": "{port}",
            "DATA_DIR": str(data),
            "QDRANT_PORT": index.rpartition(":")[2],
            "EMBEDDING_URL": embedding,
            "LLM_URL": f"{llm}/v1",
            "ALLOWED_ROOTS": str(allowed),
        }
        url = start(_Server("rag_app", rag))
        asked = Index(Service(url, embedding), say)
        for source in sources:
            asked.bring(source.batch)
        yield Addresses(url, llm, embedding, "scripted" if script else "")
