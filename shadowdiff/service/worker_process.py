"""One worker process: the supervisor's side, the worker's side, and the messages between them.

Messages go over a socket pair; each begins with its length. The peer is always the parent or a child process.
A closed connection means that the other process has ended. A worker whose supervisor has died drains and stops.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from shadowdiff.config import Secret, StoreConfig
from shadowdiff.service.open_store import EmbeddedAddress
from shadowdiff.telemetry.multiprocess import ProcessMetrics, process_metrics

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence

    from shadowdiff.service.service import Service

log = logging.getLogger(__name__)

LAST_REPORT_S = 2.0
_LENGTH_BYTES = 4

Message = TypeVar("Message")


class Hello(msgspec.Struct, frozen=True):
    """The first message to a worker: its sockets by port, and the store that all `processes` share."""

    sockets: dict[str, int]
    store: StoreConfig
    embedded: EmbeddedAddress | None
    processes: int


class Report(msgspec.Struct, frozen=True):
    """A worker's counters. The first report means that the worker accepts requests.

    number: the number of the request, which is the whole request message; 0 for the first and the last report.
    """

    number: int
    figures: ProcessMetrics


def _encode(value: object) -> object:
    """Convert the store's settings, secrets and paths to values that msgspec can encode."""
    if isinstance(value, StoreConfig):
        return dict(value)
    return value.reveal() if isinstance(value, Secret) else str(value)


def _decode(_kind: type[object], settings: dict[str, Any]) -> StoreConfig:
    secrets = {name: Secret(each) for name, each in settings.items() if isinstance(each, bytes)}
    return StoreConfig.model_validate(settings | secrets, by_name=True)


class _Link:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> _Link:
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: msgspec.Struct | int) -> None:
        """Send a message unless the connection is closed."""
        if not self.writer.is_closing():
            encoded = msgspec.msgpack.encode(message, enc_hook=_encode)
            self.writer.write(len(encoded).to_bytes(_LENGTH_BYTES) + encoded)

    async def receive(self, kind: type[Message]) -> Message | None:
        """Return the next message; None if the peer has closed the connection."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES))
            encoded = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return None
        return msgspec.msgpack.decode(encoded, type=kind, dec_hook=_decode)


class WorkerProcess:
    """The supervisor's side of a worker: a child process and the link to this process."""

    def __init__(self, process: asyncio.subprocess.Process, link: _Link) -> None:
        self._process = process
        self._link = link
        self._numbers = itertools.count(1)
        self._reported = 0
        self._changed = asyncio.Event()
        self.started_s = self.reported_s = time.monotonic()
        self.pid = process.pid
        self.is_ready = False
        self.ended = asyncio.Event()
        self.figures = ProcessMetrics()

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        sockets: Mapping[str, socket.socket],
        store: StoreConfig,
        embedded: EmbeddedAddress | None,
        processes: int,
    ) -> WorkerProcess:
        """Start a process with `sockets` in its own session, so that terminal signals reach only the supervisor."""
        ours, theirs = socket.socketpair()
        fds = {name: each.fileno() for name, each in sockets.items()}
        try:
            process = await asyncio.create_subprocess_exec(
                *command, "--control", str(theirs.fileno()),
                pass_fds=[theirs.fileno(), *fds.values()], start_new_session=True,
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        link = await _Link.over(ours)
        link.send(Hello(fds, store, embedded, processes))
        return cls(process, link)

    async def read_reports(self) -> int:
        """Read the worker's reports until it exits; return its exit code, negative for a signal."""
        while (report := await self._link.receive(Report)) is not None:
            self.reported_s = time.monotonic()
            self.is_ready = True
            self.figures = report.figures
            self._reported = report.number
            self._changed.set()
        code = await self._process.wait()
        self._link.writer.close()
        self.ended.set()
        self._changed.set()
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the worker unless it has exited."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    def request_report(self) -> int:
        """Request the worker's counters; return the number of the request."""
        number = next(self._numbers)
        self._link.send(number)
        return number

    async def report_within(self, seconds: float) -> None:
        """Request the worker's counters and wait for the reply; after a timeout, keep the previous counters."""
        number = self.request_report()
        try:
            async with asyncio.timeout(seconds):
                while self._reported < number and not self.ended.is_set():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            extra = {"pid": self.pid, "silent_s": time.monotonic() - self.reported_s}
            log.warning("worker did not report; using its last counters", extra=extra)

    async def ready_within(self, seconds: float, stop: asyncio.Event) -> bool:
        """Wait until the worker is ready; return False if it exits, the time is over, or the service stops."""
        deadline_s = time.monotonic() + seconds
        while not self.is_ready:
            if self.ended.is_set() or stop.is_set() or time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(0.02)
        return not self.ended.is_set()


class Supervised:
    """The worker's own side of the link."""

    def __init__(self, link: _Link, hello: Hello) -> None:
        self._link = link
        self.hello = hello
        self.sockets = {name: socket.socket(fileno=fd) for name, fd in hello.sockets.items()}
        for each in self.sockets.values():
            each.set_inheritable(False)  # child processes do not need it

    @classmethod
    async def under(cls, control: int) -> Supervised:
        """Receive the first message; `control` is the inherited end of the link."""
        os.set_inheritable(control, False)  # noqa: FBT003 - the system's own signature
        link = await _Link.over(socket.socket(fileno=control))
        hello = await link.receive(Hello)
        if hello is None:
            raise SystemExit(1)
        return cls(link, hello)

    async def report(self, service: Service, stop: asyncio.Event) -> None:
        """Report that the service is ready, then its counters on request; stop the service if the supervisor exits."""
        await service.is_ready.wait()
        number: int | None = 0
        while number is not None:
            self._link.send(Report(number, process_metrics(service.figures())))
            number = await self._link.receive(int)
        if not stop.is_set():
            log.error("supervisor exited; stopping")
            stop.set()

    async def leave(self, service: Service) -> None:
        """Send the last report, and close the link."""
        self._link.send(Report(0, process_metrics(service.figures())))
        self._link.writer.close()
        try:
            async with asyncio.timeout(LAST_REPORT_S):
                await self._link.writer.wait_closed()
        except (OSError, TimeoutError):
            log.debug("supervisor exited; last report not delivered")
