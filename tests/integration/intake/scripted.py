"""Run the real intake between a raw client and a v2 that sends raw bytes.

A scripted v2 is a function over a socket's reader and writer, so it can send anything, or nothing.
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

from shadowdiff.intake.counters import IntakeCounters
from shadowdiff.intake.dispatch import Dispatcher
from shadowdiff.intake.exchange import PortMemoryBudget
from shadowdiff.intake.mirror_port import MirrorApp
from shadowdiff.intake.overload import LoadShedder
from shadowdiff.intake.protocol import IntakeProtocol
from shadowdiff.intake.records_port import RecordsApp
from shadowdiff.intake.upstream import Upstream
from shadowdiff.model import Candidate, Control, HostPolicy, Observation, Side, Target
from tests.fakes.counts import all_counts, is_balanced

if TYPE_CHECKING:
    from shadowdiff.intake.exchange import RawHeaders

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

DEADLINE_S = 10.0


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, up to a deadline."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: not within {DEADLINE_S:g} s"
        await asyncio.sleep(0.002)


def identify(headers: RawHeaders) -> tuple[str, str] | None:
    """Return x-diff-id, the first header that the service uses by default."""
    for name, value in headers:
        if name == b"x-diff-id":
            return value.decode(), "x-diff-id"
    return None


@dataclass
class Store:
    """Accepts or rejects observations, as the test configures."""

    seen: list[Observation] = field(default_factory=list[Observation])
    waits: list[float] = field(default_factory=list[float])
    unsettled: list[Callable[[bool], None]] = field(default_factory=list[Callable[[bool], None]])
    has_room: bool = True
    settles: bool | None = True
    breaks: bool = False

    def sink(self, observation: Observation, settled: Callable[[bool], None], control_wait_s: float) -> bool:
        """Accept observations in place of the pairing queue."""
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
        """Return the observations of one side."""
        return [observation for observation in self.seen if observation.side is side]


@dataclass
class Intake:
    """A running intake: its two ports, its counters, and the observations in the store."""

    mirror_port: int
    records_port: int
    mirror: MirrorApp
    records: RecordsApp
    dispatcher: Dispatcher
    counters: IntakeCounters
    store: Store

    async def mirrored(self, *requests: bytes) -> list[Observation]:
        """Send requests to the mirror port, each on its own connection, and wait until all have a disposition."""
        for request in requests:
            assert (await exchange(self.mirror_port, request)).startswith(b"HTTP/1.1 202 ")
        await self.settled()
        return self.store.seen

    async def settled(self) -> None:
        """Wait until nothing is in flight, and check that the counts balance."""
        await self.dispatcher.drained()
        await until(lambda: not any(row.in_flight for row in all_counts(self.counters)), "settled")
        self.check()

    def check(self) -> None:
        """Check that the counts of every row balance."""
        assert all(is_balanced(row) for row in all_counts(self.counters)), self.counters

    async def record(self, headers: dict[str, str], body: bytes = b"", path: str = "/record") -> tuple[int, bytes]:
        """Post to the records port; return status and body."""
        lines = [f"POST {path} HTTP/1.1", "host: shadowdiff", f"content-length: {len(body)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return status_and_body(await exchange(self.records_port, "\r\n".join(lines).encode() + b"\r\n\r\n" + body))


def status_and_body(answer: bytes) -> tuple[int, bytes]:
    """Split a raw response."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def get(path: str = "/", *more: str, method: str = "GET", host: str = "svc-shadow:80", body: bytes = b"") -> bytes:
    """Return the bytes of a mirrored request."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "x-diff-id: 7", "connection: close", *more]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def exchange(port: int, request: bytes) -> bytes:
    """Send bytes, and return the reply until the other side closes the connection."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def served(app: MirrorApp | RecordsApp, budget: PortMemoryBudget | None = None) -> AsyncGenerator[int]:
    """Serve an application as the service does, on a free port."""
    speaks: Any = partial(IntakeProtocol, budget=budget or PortMemoryBudget())
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
    """Run a scripted v2 on a free port, and close its connections at the end."""
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
    bounds: dict[str, Any] | None = None,
    max_body_bytes: int = 1 << 20,
    max_request_bytes: int = 1 << 20,
    is_busy: bool = False,
    fill: float = 0.0,
) -> AsyncGenerator[Intake]:
    """Run both ports with these targets. Sampling includes ids that start with `7` or name the control."""
    counters, store = IntakeCounters(), Store()

    def now_ms() -> int:
        return 1_000

    def in_sample(identity: str, rate: float) -> bool:
        return rate >= 1.0 or identity.startswith("7")

    load_shedder = LoadShedder(lambda _target: fill)
    async with Upstream(now_ms, max_body_bytes) as upstream, asyncio.TaskGroup() as group:
        dispatcher = Dispatcher(
            group=group,
            upstream=upstream,
            counters=counters,
            sink=store.sink,
            in_sample=in_sample,
            was_busy=lambda _within_s: is_busy,
            **(bounds or {}),
        )
        mirror = MirrorApp(
            dispatcher=dispatcher,
            counters=counters,
            identify=identify,
            in_sample=in_sample,
            targets=targets,
            max_request_bytes=max_request_bytes,
            load_shedder=load_shedder,
        )
        records = RecordsApp(
            sink=store.sink,
            counters=counters,
            in_sample=in_sample,
            targets=targets,
            now_ms=now_ms,
            max_record_bytes=1_000,
            max_batch_bytes=20_000,
            max_reading_bytes=15_000,
            load_shedder=load_shedder,
        )
        async with served(mirror) as mirror_port, served(records) as records_port:
            yield Intake(mirror_port, records_port, mirror, records, dispatcher, counters, store)
