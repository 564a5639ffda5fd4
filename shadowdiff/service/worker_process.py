"""One worker process as its supervisor sees it, and as it is within.

In: listening sockets, the store of all.  Out: whether it is ready, what it counted, that it ended.
Holds: a worker whose supervisor has died stops by itself, after a drain.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import time
from typing import TYPE_CHECKING

from shadowdiff.service.control import ASK, HELLO, TOLD, Ask, Counted, Hello, Link, Ready
from shadowdiff.telemetry.together import Figures, figures_of

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence

    from shadowdiff.config.values import StoreConfig
    from shadowdiff.service.control import Embedded
    from shadowdiff.service.service import Service

log = logging.getLogger(__name__)

LAST_WORD_S = 2.0


class WorkerProcess:
    """A child: its process, and the link to it."""

    def __init__(self, process: asyncio.subprocess.Process, link: Link) -> None:
        self._process = process
        self._link = link
        self._numbers = itertools.count(1)
        self._answered = 0
        self._news = asyncio.Event()
        self._begun_s = self._heard_s = time.monotonic()
        self.pid = process.pid
        self.is_ready = False
        self.ended = asyncio.Event()
        self.figures = Figures()

    def __repr__(self) -> str:
        """State what it does."""
        return (
            f"<WorkerProcess {self.pid} {'ended' if self.ended.is_set() else 'ready' if self.is_ready else 'starts'}>"
        )

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        sockets: Mapping[str, socket.socket],
        store: StoreConfig,
        embedded: Embedded | None,
        processes: int,
    ) -> WorkerProcess:
        """Start a process that inherits `sockets`, in a session of its own: a terminal's keys are the supervisor's."""
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
        link = await Link.over(ours)
        link.say(Hello(fds, store, embedded, processes))
        return cls(process, link)

    @property
    def lived_s(self) -> float:
        """For how long it has run."""
        return time.monotonic() - self._begun_s

    @property
    def silent_s(self) -> float:
        """For how long nothing was heard of it."""
        return time.monotonic() - self._heard_s

    async def attend(self) -> int:
        """Hear it until it ends; return its exit code, negative for a signal."""
        while (message := await self._link.hear(TOLD)) is not None:
            self._heard_s = time.monotonic()
            if isinstance(message, Ready):
                self.is_ready = True
            else:
                self.figures = message.figures
                self._answered = message.number
            self._news.set()
        code = await self._process.wait()
        self._link.close()
        self.ended.set()
        self._news.set()
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    def ask(self) -> int:
        """Ask what it has counted; return the question's number."""
        number = next(self._numbers)
        self._link.say(Ask(number))
        return number

    async def answers_within(self, seconds: float) -> None:
        """Ask what it has counted and wait for the answer; where none comes, the last one stands."""
        number = self.ask()
        try:
            async with asyncio.timeout(seconds):
                while self._answered < number and not self.ended.is_set():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            log.warning("a worker does not say what it counts", extra={"pid": self.pid, "silent_s": self.silent_s})

    async def ready_within(self, seconds: float, stop: asyncio.Event) -> bool:
        """Wait until it takes requests; False where it ends, or the time does, or everything stops."""
        deadline_s = time.monotonic() + seconds
        while not self.is_ready:
            if self.ended.is_set() or stop.is_set() or time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(0.02)
        return not self.ended.is_set()

    async def ends_within(self, seconds: float) -> bool:
        """Wait until it has ended."""
        try:
            async with asyncio.timeout(seconds):
                return await self.ended.wait()
        except TimeoutError:
            return False


class Supervised:
    """The worker's own side: what it was given, and what it is asked."""

    def __init__(self, link: Link, hello: Hello) -> None:
        self._link = link
        self.hello = hello

    @classmethod
    async def under(cls, control: int) -> Supervised:
        """Hear what to serve; `control` is the inherited end of the link."""
        os.set_inheritable(control, False)  # noqa: FBT003 - the system's own signature
        link = await Link.over(socket.socket(fileno=control))
        hello = await link.hear(HELLO)
        if hello is None:
            raise SystemExit(1)
        return cls(link, hello)

    def sockets(self) -> dict[str, socket.socket]:
        """Return the listening sockets, which its own children do not inherit."""
        found = {name: socket.socket(fileno=fd) for name, fd in self.hello.sockets.items()}
        for each in found.values():
            each.set_inheritable(False)
        return found

    async def answer(self, service: Service, stop: asyncio.Event) -> None:
        """Say when the service is ready, and answer what is asked; stop it when the supervisor is gone."""
        await service.is_ready.wait()
        self._link.say(Ready())
        while (asked := await self._link.hear(ASK)) is not None:
            self._link.say(Counted(asked.number, figures_of(service.figures())))
        if not stop.is_set():
            log.error("the supervisor is gone, and this worker stops")
            stop.set()

    async def leave(self, service: Service) -> None:
        """Say the last word."""
        self._link.say(Counted(0, figures_of(service.figures())))
        try:
            async with asyncio.timeout(LAST_WORD_S):
                await self._link.closed()
        except (OSError, TimeoutError):
            log.debug("nobody hears the last figures")
