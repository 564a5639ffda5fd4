"""Slow loris: peers that send one byte now and then, in the head or in the body, on each port at once.

The service is `hasty`: its bounds in time are a sixtieth of what they are else, in the same proportion to each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from shadowdiff.intake import protocol
from shadowdiff.service import bounded
from tests.integration.service.conftest import World, balanced_and_still, settings, target
from tests.running import Service, mesh_of, unharmed
from tests.security.strict_http import ANSWER, StrictV2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RedisServer

FACTOR = 1 / 60
DRIP_S = 0.05
PEERS = 10
"""Of each kind, on each port."""
ABOUT = 0.95
"""The service's clock counts whole milliseconds."""
LATE_S = 8.0
"""How much later than its bound a connection may end, on a machine that has other things to do."""
RECORD = "x-shadowdiff-{}: {}\r\n".format
OF_RECORD = "".join(
    RECORD(name, value)
    for name, value in (("id", "slow"), ("id-source", "x-diff-id"), ("method", "GET"), ("path", "/"), ("host", "shop"),
                        ("status", "200"))
)  # fmt: skip
PATHS = {"mirror": "/", "records": "/record", "web": "/api/v1/rules", "metrics": "/metrics"}
INTAKES = ("mirror", "records")


class Slow(NamedTuple):
    """What a peer sends at once, what it then goes on with byte by byte, and for how long it may."""

    at_once: bytes
    on: bytes
    within_s: float


def slow(port: str, part: str) -> Slow:
    """Return how a peer is slow in a part of its request."""
    head = f"POST {PATHS[port]} HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\n{OF_RECORD}"
    chunked = f"{head}transfer-encoding: chunked\r\n\r\n".encode()
    is_intake = port in INTAKES
    whole_s = (protocol.REQUEST_WITHIN_S if is_intake else bounded.REQUEST_WITHIN_S) * FACTOR
    head_s = (protocol.HEAD_WITHIN_S if is_intake else bounded.REQUEST_WITHIN_S) * FACTOR
    return {
        "line": Slow(b"", b"GET /" + b"a" * 10_000, head_s),
        "head": Slow(head.encode() + b"x: ", b"v", head_s),
        "body": Slow(f"{head}content-length: 100000\r\n\r\n".encode(), b"b", whole_s),
        "chunks": Slow(chunked, b"1\r\nc\r\n", whole_s),
        "trailers": Slow(chunked + b"0\r\n", b"t: v\r\n", whole_s),
    }[part]


UNREAD = b"GET / HTTP/1.1\r\nhost: nobody\r\n\r\n" * 30
PARTS = ("line", "head", "body", "chunks", "trailers")
IN_THE_BODY = 3
"""Of the parts."""


@pytest.fixture(scope="module")
def v2() -> Iterator[StrictV2]:
    """Run a v2."""
    made = StrictV2()
    yield made
    made.close()


@pytest.fixture(scope="module")
def service(v2: StrictV2, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service that has little patience; it ends in peace, and its log holds no failure."""
    config = settings(redis_server.url, target(v2.port), store={"prefix": f"slow{v2.port}"})
    hasty = Service(tmp_path_factory.mktemp("slow"), config, program=("tests.security.hasty", str(FACTOR)))
    with unharmed(hasty):
        yield hasty


async def _drips(port: int, how: Slow) -> float:
    """Send byte by byte until the other side ends the connection; return how long that took."""
    begun_s = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(how.at_once)
        for byte in itertools.cycle(how.on):
            if await _ends_within(reader, DRIP_S):
                return time.monotonic() - begun_s
            assert time.monotonic() - begun_s < how.within_s + LATE_S, "it is still listened to"
            writer.write(bytes((byte,)))
    finally:
        writer.transport.abort()
    raise AssertionError


async def _ends_within(reader: asyncio.StreamReader, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            while await reader.read(65_536):
                pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


async def test_who_sends_a_byte_now_and_then_loses_its_connection(service: Service) -> None:
    """On each port, in each part of a request: at its bound and not before; pairs and probes are served meanwhile."""
    kinds = {(port, part): slow(port, part) for port in PATHS for part in PARTS}
    async with mesh_of(service) as mesh, asyncio.TaskGroup() as group:
        took = {
            kind: [group.create_task(_drips(service.ports[kind[0]], how)) for _ in range(PEERS)]
            for kind, how in kinds.items()
        }
        world = World(service, mesh)
        await world.both("meanwhile", ANSWER)
        await world.service.until(lambda books: books["pairs"]["match"] == 1)
        assert await asyncio.to_thread(service.answers, "metrics", "/healthz")
    for kind, tasks in took.items():
        shortest_s = min(task.result() for task in tasks)
        assert kinds[kind].within_s * ABOUT < shortest_s, (kind, shortest_s)
    books = await service.until(balanced_and_still)
    assert (IN_THE_BODY * PEERS, 1) == (books["mirrored"]["aborted"], books["mirrored"]["forwarded"])
    assert (IN_THE_BODY * PEERS, 1) == (books["recorded"]["refused"], books["recorded"]["accepted"])


async def test_who_is_slow_and_in_time_is_served(service: Service) -> None:
    """A record that comes byte by byte, fast enough, is taken."""
    request = f"POST /record HTTP/1.1\r\nhost: s\r\n{OF_RECORD}content-length: 2\r\n\r\n{{}}".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.ports["records"])
    for byte in request:
        writer.write(bytes((byte,)))
        await writer.drain()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
    writer.close()


async def test_who_reads_no_answer_loses_its_connection(service: Service) -> None:
    """What was answered is not held for as long as a peer likes that asks on and on, and reads nothing."""
    within_s, begun_s = protocol.STALLED_S * FACTOR, time.monotonic()
    _, writer = await asyncio.open_connection("127.0.0.1", service.ports["mirror"], limit=1)
    try:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(within_s + LATE_S):
                while not writer.transport.is_closing():
                    writer.write(UNREAD)
                    await writer.drain()
    finally:
        writer.transport.abort()
    assert within_s * ABOUT < time.monotonic() - begun_s
