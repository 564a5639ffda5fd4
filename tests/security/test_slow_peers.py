"""Test slow peers (slow loris) that send single bytes in a head or a body, on all ports at once.

The service runs with `hasty`: all its timeouts are a sixtieth of the normal ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from shadowdiff.intake import protocol
from shadowdiff.service import limited_http_protocol
from tests.integration.service.conftest import World, balanced_and_still, settings, target
from tests.running import Service, mesh_of, unharmed
from tests.security.strict_http import ANSWER, StrictV2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RedisServer

FACTOR = 1 / 60
DRIP_S = 0.05
PEERS = 10
"""The number of slow peers of each kind on each port."""
ABOUT = 0.95
"""The clock of the service counts whole milliseconds."""
LATE_S = 8.0
"""How much later than its timeout a connection may close on a busy machine."""
RECORD = "x-shadowdiff-{}: {}\r\n".format
OF_RECORD = "".join(
    RECORD(name, value)
    for name, value in (("id", "slow"), ("id-source", "x-diff-id"), ("method", "GET"), ("path", "/"), ("host", "shop"),
                        ("status", "200"))
)  # fmt: skip
PATHS = {"mirror": "/", "records": "/record", "web": "/api/v1/rules", "metrics": "/metrics"}
INTAKES = ("mirror", "records")


class SlowPeer(NamedTuple):
    """The bytes that a peer sends first, the bytes that it then sends one by one, and the time limit."""

    at_once: bytes
    on: bytes
    within_s: float


def slow(port: str, part: str) -> SlowPeer:
    """Return the behavior of a peer that is slow in a part of its request."""
    head = f"POST {PATHS[port]} HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\n{OF_RECORD}"
    chunked = f"{head}transfer-encoding: chunked\r\n\r\n".encode()
    is_intake = port in INTAKES
    whole_s = (protocol.REQUEST_WITHIN_S if is_intake else limited_http_protocol.REQUEST_WITHIN_S) * FACTOR
    head_s = (protocol.HEAD_WITHIN_S if is_intake else limited_http_protocol.REQUEST_WITHIN_S) * FACTOR
    return {
        "line": SlowPeer(b"", b"GET /" + b"a" * 10_000, head_s),
        "head": SlowPeer(head.encode() + b"x: ", b"v", head_s),
        "body": SlowPeer(f"{head}content-length: 100000\r\n\r\n".encode(), b"b", whole_s),
        "chunks": SlowPeer(chunked, b"1\r\nc\r\n", whole_s),
        "trailers": SlowPeer(chunked + b"0\r\n", b"t: v\r\n", whole_s),
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
    """Run a service with short timeouts; check that it stops cleanly and that its log has no failure."""
    config = settings(redis_server.url, target(v2.port), store={"prefix": f"slow{v2.port}"})
    hasty = Service(tmp_path_factory.mktemp("slow"), config, program=("tests.security.hasty", str(FACTOR)))
    with unharmed(hasty):
        yield hasty


async def _drips(port: int, how: SlowPeer) -> float:
    """Send byte by byte until the other side closes the connection; return how long that took."""
    begun_s = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(how.at_once)
        for byte in itertools.cycle(how.on):
            if await _ends_within(reader, DRIP_S):
                return time.monotonic() - begun_s
            assert time.monotonic() - begun_s < how.within_s + LATE_S, "the connection is still open"
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


async def test_a_peer_that_drips_bytes_is_disconnected(service: Service) -> None:
    """Each port disconnects a slow peer at the timeout, and not earlier. During the attack, pairs and probes work."""
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


async def test_a_slow_peer_within_the_timeout_is_served(service: Service) -> None:
    """The service accepts a record that arrives byte by byte, but fast enough."""
    request = f"POST /record HTTP/1.1\r\nhost: s\r\n{OF_RECORD}content-length: 2\r\n\r\n{{}}".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.ports["records"])
    for byte in request:
        writer.write(bytes((byte,)))
        await writer.drain()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
    writer.close()


async def test_a_peer_that_reads_no_response_is_disconnected(service: Service) -> None:
    """The service does not store unlimited responses for a peer that continues to send and never reads."""
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
