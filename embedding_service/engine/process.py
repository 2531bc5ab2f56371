"""An engine in a process of its own: what kills it (memory, a library's crash) leaves the service alive."""

import asyncio
import contextlib
import itertools
import logging
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable

from embedding_service.backends.base import BackendFailed, Batch, ModelError, Task
from embedding_service.core.settings import EmbeddingSettings
from embedding_service.engine import wire
from embedding_service.engine.base import Done, EngineEnded, Lane, Ready

_log = logging.getLogger("embedding_service.process")

# A worker whose service hangs up ends at once; one that hangs in a library does not.
_STOP_S = 5.0

# A batch takes 60 ms of a core, behind at most one other of its lane. A worker that needs longer than this hangs, on a
# dead disk or GPU: it is ended, and another one started.
_HUNG_S = 120.0


class WorkerProcess:
    """One worker process, from its start to its end."""

    def __init__(self, settings: EmbeddingSettings):
        """settings: the worker gets them whole; it reads no environment for the model."""
        self._settings = settings
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Done]] = {}
        self._is_stopped = False
        self._process: Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._ended: asyncio.Task[str] | None = None

    @property
    def pid(self) -> int:
        """The process's number; 0 where none runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def start(self, progress: Callable[[str], None] = lambda doing: None) -> Ready:
        """Start the process and wait until it has loaded the model; see Engine.start."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *(["-P"] if sys.flags.safe_path else []),
                "-m",
                "embedding_service.engine.worker",
                str(theirs.fileno()),
                self._settings.log_level,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
            )
        if self._is_stopped:  # while the process was being made
            self.kill()
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._writer.write(wire.pack_once(self._settings))
        try:
            while isinstance(said := wire.unpack_once(await _frame(reader)), str):
                progress(said)
        except (EOFError, ConnectionError):
            raise EngineEnded(f"the worker {await self._wait()} while it loaded the model") from None
        if isinstance(said, ModelError):
            await self.stop()
            raise said
        ready: Ready = said
        self._ended = asyncio.create_task(self._read(reader), name="worker's answers")
        return ready

    async def run(self, lane: Lane, task: Task, batch: Batch) -> Done:
        """See Engine.run."""
        if self._writer is None or self._ended is None or self._ended.done():
            raise EngineEnded("the worker has ended")
        number = next(self._numbers) & 0xFFFFFFFF
        answered: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        self._writer.write(wire.pack_request(number, lane, task, batch))
        try:
            async with asyncio.timeout(_HUNG_S):
                return await answered
        except TimeoutError:
            self.kill()
            raise EngineEnded(f"the worker did not answer for {_HUNG_S:g} s and was ended") from None

    async def ended(self) -> str:
        """Wait for its end, and say how it was."""
        assert self._ended is not None, "ended() comes after start()"
        return await asyncio.shield(self._ended)

    async def stop(self) -> None:
        """Hang up and wait for its end; kill it where it does not end."""
        self._is_stopped = True
        if self._writer is not None:
            self._writer.close()
        if self._process is not None and self._process.returncode is None:
            if self._ended is None:  # it loads, and hears nothing until it has loaded
                self.kill()
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_S)
            except TimeoutError:
                self.kill()
                await self._process.wait()
        if self._ended is not None:
            await self._ended

    def kill(self) -> None:
        """End it at once, whatever it does."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _read(self, reader: asyncio.StreamReader) -> str:
        try:
            while True:
                self._settle(*wire.unpack_answer(await _frame(reader)))
        except (EOFError, ConnectionError):
            pass
        except Exception:  # no memory, or an answer that is none: nothing that comes after it can be trusted
            _log.exception("the worker's answers cannot be read")
            self.kill()
        how = f"the worker {await self._wait()}"
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(EngineEnded(how))
        self._waiting.clear()
        return how

    def _settle(self, number: int, outcome: Done | BackendFailed) -> None:
        answered = self._waiting.pop(number)
        if answered.done():
            return
        if isinstance(outcome, BackendFailed):
            answered.set_exception(outcome)
        else:
            answered.set_result(outcome)

    async def _wait(self) -> str:
        assert self._process is not None
        code = await self._process.wait()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame's payload. Fails with EOFError where the worker has hung up (IncompleteReadError is one)."""
    (size,) = wire.LENGTH.unpack(await reader.readexactly(wire.LENGTH.size))
    return await reader.readexactly(size)
