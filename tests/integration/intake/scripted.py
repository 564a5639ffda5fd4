"""The intake as it runs, between a raw client and a v2 of raw bytes.

A scripted v2 is a function over a socket's reader and writer, so that it can answer anything, or nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from shadowdiff.intake.books import Books
from shadowdiff.intake.dispatch import Bounds, Dispatcher
from shadowdiff.intake.held import Held
from shadowdiff.intake.mirror import MirrorApp
from shadowdiff.intake.protocol import IntakeProtocol
from shadowdiff.intake.records import RecordsApp
from shadowdiff.intake.thinning import Thinning
from shadowdiff.intake.upstream import Upstream
from shadowdiff.model import Candidate, Control, HostPolicy, Observation, Side, Target

if TYPE_CHECKING:
    from shadowdiff.intake.headers import RawHeaders

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

DEADLINE_S = 10.0


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait on a condition with a deadline."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: not within {DEADLINE_S:g} s"
        await asyncio.sleep(0.002)


def identify(headers: RawHeaders) -> tuple[str, str] | None:
    """Give x-diff-id, as the service's own does first."""
    for name, value in headers:
        if name == b"x-diff-id":
            return value.decode(), "x-diff-id"
    return None


@dataclass
class Store:
    """Takes observations, or does not, as the test says."""

    seen: list[Observation] = field(default_factory=list[Observation])
    waits: list[float] = field(default_factory=list[float])
    unsettled: list[Callable[[bool], None]] = field(default_factory=list[Callable[[bool], None]])
    has_room: bool = True
    settles: bool | None = True
    breaks: bool = False

    def sink(self, observation: Observation, settled: Callable[[bool], None], control_wait_s: float) -> bool:
        """Stand where the pairing's queue stands."""
        if self.breaks:
            raise RuntimeError("a fault in the store's queue")
        if not self.has_room:
            return False
        self.seen.append(observation)
        self.waits.append(control_wait_s)
        if self.settles is None:
            self.unsettled.append(settled)
        else:
            settled(self.settles)
        return True

    def of(self, side: Side) -> list[Observation]:
        """Return what one side said."""
        return [observation for observation in self.seen if observation.side is side]


@dataclass
class Intake:
    """A running intake: its two ports, its books, and what reached the store."""

    mirror_port: int
    records_port: int
    mirror: MirrorApp
    records: RecordsApp
    dispatcher: Dispatcher
    books: Books
    store: Store

    async def mirrored(self, *requests: bytes) -> list[Observation]:
        """Send requests to the mirror port, each on a connection of its own, and wait until all have settled."""
        for request in requests:
            assert (await exchange(self.mirror_port, request)).startswith(b"HTTP/1.1 202 ")
        await self.settled()
        return self.store.seen

    async def settled(self) -> None:
        """Wait until nothing is in flight, and see that the books balance."""
        await self.dispatcher.drained()
        await until(lambda: not any(row.in_flight for row in self.books.rows()), "settled")
        self.check()

    def check(self) -> None:
        """Hold the identity of every row."""
        assert all(row.balanced for row in self.books.rows()), self.books

    async def record(self, headers: dict[str, str], body: bytes = b"", path: str = "/record") -> tuple[int, bytes]:
        """Post to the records port; return status and body."""
        lines = [f"POST {path} HTTP/1.1", "host: shadowdiff", f"content-length: {len(body)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return status_and_body(await exchange(self.records_port, "\r\n".join(lines).encode() + b"\r\n\r\n" + body))


def status_and_body(answer: bytes) -> tuple[int, bytes]:
    """Split a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def get(path: str = "/", *more: str, method: str = "GET", host: str = "svc-shadow:80", body: bytes = b"") -> bytes:
    """Return the bytes of a mirrored request."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "x-diff-id: 7", "connection: close", *more]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def exchange(port: int, request: bytes) -> bytes:
    """Send bytes, and return what comes until the other side closes."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def served(app: MirrorApp | RecordsApp, held: Held | None = None) -> AsyncGenerator[int]:
    """Serve an application as the service does, on a free port."""
    speaks: Any = partial(IntakeProtocol, held=held or Held())
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        http=speaks,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server._serve())  # pyright: ignore[reportPrivateUsage] - takes no signals
        await until(lambda: server.started, "uvicorn")
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            await serving


@contextlib.asynccontextmanager
async def v2(script: Script) -> AsyncGenerator[int]:
    """Run a scripted v2 on a free port; what it leaves open is closed."""
    open_now: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(reader, writer)
        open_now.discard(writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_now:
            writer.transport.abort()


def target(
    port: int,
    *,
    prefix: str = "",
    timeout_s: float = 5.0,
    queue_timeout_s: float = 5.0,
    concurrency: int = 8,
    queue: int = 8,
    host: HostPolicy = HostPolicy.CANDIDATE,
    control: Control | None = None,
    sample: float = 1.0,
    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS"),
) -> Target:
    """Return the target `svc`, whose candidate listens on a local port."""
    return Target(
        name="svc",
        hosts=("svc",),
        candidate=Candidate(
            url=f"http://127.0.0.1:{port}{prefix}",
            timeout_s=timeout_s,
            queue_timeout_s=queue_timeout_s,
            concurrency=concurrency,
            queue=queue,
            host=host,
        ),
        control=control,
        sample=sample,
        methods=methods,
    )


@contextlib.asynccontextmanager
async def intake(
    *targets: Target,
    bounds: Bounds | None = None,
    max_body_bytes: int = 1 << 20,
    max_request_bytes: int = 1 << 20,
    is_busy: bool = False,
    fill: float = 0.0,
) -> AsyncGenerator[Intake]:
    """Run both ports over these targets; the sample keeps ids that begin with `7` or name the control."""
    books, store = Books(), Store()

    def now_ms() -> int:
        return 1_000

    def keeps(identity: str, rate: float) -> bool:
        return rate >= 1.0 or identity.startswith("7")

    thinning = Thinning(lambda _target: fill)
    async with Upstream(now_ms, max_body_bytes) as upstream, asyncio.TaskGroup() as group:
        dispatcher = Dispatcher(
            group=group,
            upstream=upstream,
            books=books,
            sink=store.sink,
            keeps=keeps,
            bounds=bounds,
            was_busy=lambda _within_s: is_busy,
        )
        mirror = MirrorApp(
            dispatcher=dispatcher,
            books=books,
            identify=identify,
            keeps=keeps,
            targets=targets,
            max_request_bytes=max_request_bytes,
            thinning=thinning,
        )
        records = RecordsApp(
            sink=store.sink,
            books=books,
            keeps=keeps,
            targets=targets,
            now_ms=now_ms,
            max_record_bytes=1_000,
            max_batch_bytes=20_000,
            max_reading_bytes=15_000,
            thinning=thinning,
        )
        async with served(mirror) as mirror_port, served(records) as records_port:
            yield Intake(mirror_port, records_port, mirror, records, dispatcher, books, store)
