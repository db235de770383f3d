"""Wires between the programs and the servers that can be made bad: slow, cut in mid-message, or dead silent.

All wires of a network live in one thread of its own (asyncio); their methods may be called from any thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

Address = tuple[str, int] | str  # (host, port), or the path of a unix socket


class Wire:
    """A TCP port of the loopback interface that leads to `target`."""

    def __init__(self, network: Network, name: str, target: Address) -> None:
        self.name = name
        self.target = target
        self.host = "127.0.0.1"
        self.port = 0
        self.delay = 0.0  # seconds that every piece waits
        self.budget: int | None = None  # bytes after which a connection is cut
        self.cuts = 0
        self._network = network
        self._open = asyncio.Event()
        self._open.set()
        self._pairs: set[_Pair] = set()

    # --- from any thread

    def slow(self, seconds: float) -> None:
        self._network.call(lambda: setattr(self, "delay", seconds))

    def cut(self, after: int) -> None:
        """Every connection, new ones too, breaks when so many more bytes have passed; after 0: at once."""
        self._network.call(lambda: self._cut(after))

    def silence(self) -> None:
        """Nothing passes any more; connections are accepted and stay open."""
        self._network.call(self._open.clear)

    def mend(self) -> None:
        """Works again; what was held back goes on its way."""
        self._network.call(self._mend)

    # --- in the thread of the network

    def _cut(self, after: int) -> None:
        self.budget = after
        for pair in list(self._pairs):
            pair.budget = after
            if after == 0:
                pair.abort()

    def _mend(self) -> None:
        self.delay, self.budget = 0.0, None
        for pair in self._pairs:
            pair.budget = None
        self._open.set()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = _Pair(self, writer)
        self._pairs.add(pair)
        try:
            await self._open.wait()
            far = asyncio.open_unix_connection(self.target) if isinstance(self.target, str) else asyncio.open_connection(*self.target)
            far_reader, pair.far = await far
            pair.far.transport.set_write_buffer_limits(high=0)
            await asyncio.gather(pair.pump(reader, pair.far), pair.pump(far_reader, writer))
        except OSError:
            pass
        finally:
            pair.abort()
            self._pairs.discard(pair)

    async def listen(self) -> None:
        server = await asyncio.start_server(self._accepted, self.host, 0)
        self.port = server.sockets[0].getsockname()[1]


class _Pair:
    """A connection that was accepted, and the one to the target that belongs to it."""

    def __init__(self, wire: Wire, near: asyncio.StreamWriter) -> None:
        self.wire = wire
        self.near = near
        self.far: asyncio.StreamWriter | None = None
        self.budget = wire.budget
        near.transport.set_write_buffer_limits(high=0)  # so that drain() waits until all is sent

    def abort(self) -> None:
        for writer in (self.near, self.far):
            if writer is not None:
                writer.transport.abort()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self.wire._open.wait()
            if self.wire.delay:
                await asyncio.sleep(self.wire.delay)
            if self.budget is not None:
                data = data[: self.budget]
                self.budget -= len(data)
            writer.write(data)
            await writer.drain()
            if self.budget == 0:
                self.wire.cuts += 1
                break
        self.abort()


class Network:
    """The thread and its wires. Use: with Network() as network, or start() and stop()."""

    def __init__(self) -> None:
        self.wires: dict[str, Wire] = {}
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # connections that are cut
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)

    def start(self) -> Network:
        self._thread.start()
        return self

    def wire(self, name: str, target: Address) -> Wire:
        wire = self.wires[name] = Wire(self, name, target)
        asyncio.run_coroutine_threadsafe(wire.listen(), self._loop).result(10)
        return wire

    def call(self, work: Callable[[], Any]) -> None:
        """Runs work in the thread and waits for it."""
        done = threading.Event()

        def run() -> None:
            try:
                work()
            finally:
                done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def __enter__(self) -> Network:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
