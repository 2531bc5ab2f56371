"""Each alert's fault: made for real in a running stack, and mended. Faults that bear each other are made together."""

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.monitoring.shortened import RULES, shorter
from tests.monitoring.watchers import Notice, Watchers, watching
from tests.support.live import free_port, live
from tests.support.scripted_llm import ScriptedLlm
from tests.support.stack import Stack, environment
from tests.support.tcp_proxy import TcpProxy

# Alert -> its fault, as docs/operations.md tells it.
FAULTS = {
    "ServiceDown": "embedding_service is killed with SIGKILL, and started again",
    "ServiceNotReady": "connections from rag_app to vector_db are refused",
    "HighErrorRate": "bytes to embedding_service are held: searches by meaning alone are answered 503",
    "SearchSlow": "bytes to embedding_service are held: each search waits out its 5 s, then goes by words",
    "FirstTokenSlow": "the model server is silent for 11 s before its first word",
    "QueueFull": "the model server is silent, with three places and a queue of two in llm_service, and fourteen askers",
    "BreakerOpen": "the model server answers 500",
    "IndexJobFailed": "the folder of a repository is renamed, and a sync asked for",
    "IndexJobStuck": "bytes to embedding_service are held while a changed file is indexed",
    "IndexStale": "the last sync of a repository is dated two days back in the manifest",
    "DiskNearlyFull": "DATA_DIR is a tmpfs of 256 MB, filled but for 8 MB",
    "BackupTooOld": "last_backup.json is of three days ago",
    "AnswersDegraded": "bytes to embedding_service are held while searches are asked for",
}

# Machines are slow: nothing here takes more than two minutes where it was measured.
LIMIT_S = 200

DAY_S = 86_400
CODE = {
    "lock.py": "class FileLock:\n    def acquire(self):\n        '''Lock the file.'''\n        return self._take()\n",
    "cache.py": "def evict_oldest(cache):\n    '''Drop the least recently used entry.'''\n    cache.popitem()\n",
}
QUESTION = {"question": "where is the file lock acquired? FileLock.acquire"}


@dataclass
class Seen:
    """One alert's two notices, each with the seconds since its fault was made, or mended."""

    firing: Notice
    fired_after_s: float
    resolved: Notice
    resolved_after_s: float


@dataclass
class Drill:
    """The stack, those who watch it, and the wires that a fault cuts. `seen`: what came of each fault."""

    stack: Stack
    watchers: Watchers
    model: ScriptedLlm
    to_vectors: TcpProxy
    to_embedding: TcpProxy
    http: httpx.Client
    projects: list[Path]
    repositories: list[str]
    begun: dict[str, float] = field(default_factory=dict)
    mended: dict[str, float] = field(default_factory=dict)
    told_in_health: list[Notice] = field(default_factory=list)

    def fault(self, *alerts: str) -> None:
        self.begun.update(dict.fromkeys(alerts, time.time()))

    def mend(self, *alerts: str) -> None:
        self.mended.update(dict.fromkeys(alerts, time.time()))

    def seen(self, alert: str) -> Seen:
        """What the webhook was told; fails where it was not told both."""
        fired = self.watchers.webhook.of(alert, "firing", self.begun[alert])
        resolved = self.watchers.webhook.of(alert, "resolved", self.begun[alert])
        assert fired, f"{alert} never fired"
        assert self.watchers.webhook.is_over(alert), f"{alert} never resolved"
        return Seen(fired[0], fired[0].at - self.begun[alert], resolved[-1], resolved[-1].at - self.mended[alert])

    def wait_for(self, status: str, *alerts: str) -> None:
        """Wait until the webhook was told of all; on time-out say what Prometheus thinks."""
        hook = self.watchers.webhook

        def is_told(alert: str) -> bool:
            return hook.is_over(alert) if status == "resolved" else bool(hook.of(alert, status, self.begun[alert]))

        deadline = time.monotonic() + LIMIT_S
        with hook.arrived:
            while missing := [alert for alert in alerts if not is_told(alert)]:
                left = deadline - time.monotonic()
                assert left > 0, f"not {status}: {missing}; Prometheus has {self.watchers.alerts()}"
                hook.arrived.wait(min(left, 1.0))

    @contextmanager
    def traffic(self, callers: int, ask: Callable[[], object]) -> Iterator[None]:
        """So many callers, each asking again and again until the block ends."""
        is_over = threading.Event()

        def work() -> None:
            while not is_over.is_set():
                with suppress(httpx.HTTPError):
                    ask()
                is_over.wait(0.05)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            is_over.set()
            for thread in threads:
                thread.join(60)

    # What a user does.

    def search(self, mode: str = "hybrid") -> int:
        body = {"query": "evict_oldest", "mode": mode}
        return self.http.post(f"{self.stack.url}/v1/search", json=body).status_code

    def ask(self) -> None:
        with self.http.stream("POST", f"{self.stack.url}/v1/ask", json={**QUESTION, "stream": True}) as answer:
            answer.read()

    def chat(self) -> int:
        body = {"model": self.model.model, "messages": [{"role": "user", "content": "hello"}]}
        url = f"http://127.0.0.1:{self.stack.env['LLM_PORT']}/v1/chat/completions"
        return self.http.post(url, json=body).status_code

    def sync(self, repository: str) -> str:
        """Ask for a sync; the job's id."""
        answer = self.http.post(f"{self.stack.url}/v1/repositories/{repository}/sync")
        return str(answer.json()["job"]["id"])

    def finished(self, job: str) -> str:
        """Wait for a job; how it ended."""
        deadline = time.monotonic() + LIMIT_S
        while (state := self.http.get(f"{self.stack.url}/v1/jobs/{job}").json()["state"]) in ("queued", "running"):
            assert time.monotonic() < deadline, f"job {job} is {state}"
            time.sleep(0.1)
        return str(state)

    # What is under DATA_DIR.

    @property
    def data(self) -> Path:
        return Path(self.stack.env["DATA_DIR"])

    def backed_up(self, days_ago: float) -> None:
        """What `code-assistant backup` leaves behind."""
        note = {"finished_at": time.time() - days_ago * DAY_S, "folder": "/backups", "chunks": 3}
        draft = self.data / "last_backup.tmp"
        draft.write_text(json.dumps(note))
        draft.rename(self.data / "last_backup.json")

    def synced(self, repository: str, days_ago: float) -> None:
        with sqlite3.connect(self.data / "manifest.sqlite", timeout=30) as manifest:
            manifest.execute(
                "UPDATE refs SET indexed_at = ? WHERE repository = ?", (time.time() - days_ago * DAY_S, repository)
            )
        manifest.close()

    def fill_disk(self, left: int = 8 << 20) -> Path:
        usage = os.statvfs(self.data)
        filler = self.data / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, usage.f_bavail * usage.f_frsize - left))
        return filler


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A tmpfs of 256 MB. Its memory is taken only as far as it is filled. Needs root, as containers of CI have it."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", folder], capture_output=True, text=True)
    assert done.returncode == 0, (
        f"the alert of a full disk is fired on a tmpfs, and it cannot be mounted: {done.stderr}"
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def drilled(folder: Path) -> Iterator[Drill]:
    """Four services with proxies between them, a scripted model, two small repositories indexed, and the watchers."""
    model = ScriptedLlm()
    vectors, embedding = free_port(), free_port()
    with ExitStack() as stack:
        data = stack.enter_context(small_disk(folder / "data"))
        upstream = stack.enter_context(live(model.app()))
        env = environment(
            folder,
            {
                "LLM_BASE_URL": f"{upstream}/v1",
                "LLM_MAX_CONCURRENT_REQUESTS": "3",
                "LLM_MAX_QUEUED_REQUESTS": "2",
                "LLM_QUEUE_TIMEOUT_S": "60",
                "EMBEDDING_TIMEOUT_S": "280",  # as patient as a job that is stuck: with 60 s it would fail before
                "VECTOR_DB_DIR": str(folder / "vectors"),
                "DATA_DIR": str(data),
            },
        )
        to_vectors = stack.enter_context(TcpProxy(vectors, int(env["QDRANT_PORT"])).running())
        to_embedding = stack.enter_context(TcpProxy(embedding, int(env["EMBEDDING_PORT"])).running())
        services = Stack(folder, env)
        stack.callback(lambda: [services.stop(name) for name in list(services.processes)])
        for name in ("vector_db", "embedding_service", "llm_service"):
            services.start(name)
        for port in ("QDRANT_PORT", "EMBEDDING_PORT"):
            services.wait_for(port)
        services.wait_for("LLM_PORT", "/healthz")
        # rag_app alone sees the proxies.
        seen = {"QDRANT_PORT": str(vectors), "EMBEDDING_URL": f"http://127.0.0.1:{embedding}"}
        services.env = {**env, **seen}
        services.start("rag_app")
        services.env = env
        services.wait_for("RAG_PORT")
        http = stack.enter_context(httpx.Client(timeout=120, trust_env=False))
        jobs = {"rag-server": "RAG_PORT", "embedding-server": "EMBEDDING_PORT", "llm-server": "LLM_PORT"}
        jobs["vector-db"] = "QDRANT_PORT"
        watchers = stack.enter_context(watching(folder, {job: int(env[port]) for job, port in jobs.items()}))
        drill = Drill(services, watchers, model, to_vectors, to_embedding, http, [], [])
        for name in ("first", "second"):
            project = folder / name
            project.mkdir()
            for file, text in CODE.items():
                (project / file).write_text(text)
            body = {"source": {"type": "path", "path": str(project)}}
            answer = http.post(f"{services.url}/v1/repositories", json=body).json()
            assert drill.finished(answer["job"]["id"]) == "succeeded"
            drill.projects.append(project)
            drill.repositories.append(answer["repository"]["id"])
        drill.backed_up(0)
        yield drill


def settle(drill: Drill) -> None:
    """Healthy for long enough that any alert without a fault would have fired; its counters have been counted from."""
    drill.ask()
    drill.chat()
    assert drill.search() == 200
    longest_s = float(shorter("10m").removesuffix("ms")) / 1000  # the longest `for` of the rules
    time.sleep(longest_s + 3)


def old_files_and_a_slow_embedding(drill: Drill) -> None:
    """Ten alerts at once: what lies in files, what hangs, and what is slow."""
    first, second = drill.repositories
    drill.fault("DiskNearlyFull", "BackupTooOld", "IndexStale", "IndexJobFailed")
    hidden = drill.projects[1].rename(drill.projects[1].with_name("hidden"))
    assert drill.finished(drill.sync(second)) == "failed"
    drill.synced(first, days_ago=2)
    drill.backed_up(days_ago=3)
    filler = drill.fill_disk()

    drill.fault("IndexJobStuck", "AnswersDegraded", "SearchSlow", "HighErrorRate", "QueueFull")
    (drill.projects[0] / "lock.py").write_text(CODE["lock.py"].replace("acquire", "acquire_now"))
    drill.to_embedding.mode = "hold"
    drill.model.delay_s = 15
    stuck = drill.sync(first)

    def search_by_meaning() -> int:
        return drill.search("dense")

    with drill.traffic(4, drill.search), drill.traffic(2, search_by_meaning), drill.traffic(14, drill.ask):
        drill.wait_for(
            "firing",
            *("DiskNearlyFull", "BackupTooOld", "IndexStale", "IndexJobFailed"),
            *("IndexJobStuck", "AnswersDegraded", "SearchSlow", "HighErrorRate", "QueueFull"),
        )
        # Within: what comes of callers alone resolves as soon as they leave.
        drill.model.delay_s = 0
        drill.to_embedding.mode = "pass"
        drill.mend("AnswersDegraded", "SearchSlow", "HighErrorRate", "QueueFull", "IndexJobStuck")
        drill.mend("IndexStale")  # the job that was held may be the sync that it lacked
    filler.unlink()
    drill.backed_up(days_ago=0)
    drill.mend("DiskNearlyFull", "BackupTooOld")
    drill.finished(stuck)  # it may fail: its connection was silent for longer than a server bears
    assert drill.finished(drill.sync(first)) == "succeeded"
    hidden.rename(drill.projects[1])
    drill.mend("IndexJobFailed")
    assert drill.finished(drill.sync(second)) == "succeeded"
    # Before the next faults: an alert that ends while another one hides it is not told to have ended.
    drill.wait_for("resolved", *drill.begun)


def what_is_slow(drill: Drill) -> None:
    """A model server that is slow for all: as many questions as have a place, since who is refused is answered at once.

    Its silence is shorter than the window over which the rule looks, which would else be empty now and then.
    """
    drill.fault("FirstTokenSlow")
    drill.model.delay_s = 11
    with drill.traffic(3, drill.ask):
        drill.wait_for("firing", "FirstTokenSlow")
        drill.model.delay_s = 0
        drill.mend("FirstTokenSlow")
        drill.wait_for("resolved", "FirstTokenSlow")


def what_is_gone(drill: Drill) -> None:
    """Three alerts at once: a service killed, a wire cut, a model server that fails."""
    drill.fault("ServiceDown", "ServiceNotReady", "BreakerOpen")
    drill.stack.stop("embedding_service", signal.SIGKILL)
    drill.to_vectors.mode = "refuse"
    drill.model.failures = [(500, {"error": {"message": "out of memory"}})] * 100_000
    with drill.traffic(1, drill.chat):
        drill.wait_for("firing", "ServiceDown", "ServiceNotReady", "BreakerOpen")
    drill.model.failures = []
    drill.to_vectors.mode = "pass"
    drill.stack.start("embedding_service")
    drill.mend("ServiceDown", "ServiceNotReady", "BreakerOpen")
    with drill.traffic(1, drill.chat):  # a breaker closes when somebody asks
        drill.wait_for("resolved", "BreakerOpen")


def table(drill: Drill) -> str:
    """What the runbook shows."""
    lines = ["| alert | fault | fired after | resolved after |", "|---|---|---|---|"]
    for alert, fault in FAULTS.items():
        seen = drill.seen(alert)
        lines.append(f"| {alert} | {fault} | {seen.fired_after_s:.0f} s | {max(0.0, seen.resolved_after_s):.0f} s |")
    return "\n".join(lines)


def alerts_of_rules() -> list[str]:
    """The names of all alerts of the rules."""
    lines = (RULES / "alerts.yml").read_text().splitlines()
    return [line.split(":")[1].strip() for line in lines if line.lstrip().startswith("- alert:")]
