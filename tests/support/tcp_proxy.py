"""A TCP proxy between two services, whose wire a test cuts or holds."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Mode = Literal["pass", "hold", "refuse"]


class TcpProxy:
    """Forwards one port to another. "hold": bytes wait, connections stay; "refuse": all connections are closed."""

    def __init__(self, listen: int, target: int):
        self._listen, self._target = listen, target
        self._mode: Mode = "pass"
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_up = threading.Event()

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "refuse":
            self._loop.call_soon_threadsafe(self._hang_up)

    @contextmanager
    def running(self) -> Iterator["TcpProxy"]:
        thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        thread.start()
        assert self._is_up.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._over.set)
            thread.join(10)

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self._listen)
        self._is_up.set()
        await self._over.wait()
        server.close()
        self._mode = "refuse"
        self._hang_up()
        await asyncio.sleep(0.2)  # the connections' tasks end

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "refuse":
            writer.close()
            return
        try:
            onward, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(onward, writer))
        self._writers -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._held()
                writer.write(data)
                await writer.drain()
            await self._held()  # that the other side hung up is held as well
        except OSError:
            pass
        finally:
            writer.close()

    async def _held(self) -> None:
        while self._mode == "hold":  # noqa: ASYNC110 - it is set from another thread
            await asyncio.sleep(0.05)

    def _hang_up(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
