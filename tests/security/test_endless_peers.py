"""Test peers that never finish, on every port: unread responses, endless heads, and too many connections.

One service serves all tests of this file. `test_slow_peers.py` covers the timeouts.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from shadowdiff.service.limited_http_protocol import MOST_CONNECTIONS
from tests.integration.service.conftest import World, settings, target
from tests.running import Service, mesh_of, unharmed
from tests.security.strict_http import ANSWER, StrictV2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RedisServer

PORTS = ("mirror", "records", "web", "metrics")
GROWS_AT_MOST_MIB = 64


@pytest.fixture(scope="module")
def service(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service and a v2 for all tests of this file. The service must stop cleanly and log no failure."""
    v2 = StrictV2()
    config = settings(redis_server.url, target(v2.port), store={"prefix": f"endless-{os.getpid()}"})
    running = Service(tmp_path_factory.mktemp("endless"), config)
    try:
        with unharmed(running):
            yield running
    finally:
        v2.close()


@pytest.mark.parametrize("port", ["mirror", "records"])
def test_a_peer_that_reads_no_responses_is_not_read(service: Service, port: str) -> None:
    """A peer that pipelines and reads no responses fills socket buffers, not the memory of the service."""
    before = service.resident_mib()
    many = b"GET /unread HTTP/1.1\r\nhost: shop\r\n\r\n" * 2_000
    sent, quiet_since_s = 0, time.monotonic()
    with socket.create_connection(("127.0.0.1", service.ports[port])) as peer:
        peer.setblocking(False)
        while time.monotonic() - quiet_since_s < 1.5:
            try:
                sent += peer.send(many)
                quiet_since_s = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
            except ConnectionError:
                break
            assert sent < 128 << 20, "the service keeps reading and buffers its responses"
    assert service.peak_mib() - before < GROWS_AT_MOST_MIB


def _sends_until_cut(port: int, start: bytes, more: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer, suppress(ConnectionError):
        peer.sendall(start)
        for _ in range(2_000):
            peer.sendall(more)
        pytest.fail(f"port {port} took {2_000 * len(more)} bytes of a head")


@pytest.mark.parametrize("port", PORTS)
def test_an_endless_head_hits_a_limit(service: Service, port: str) -> None:
    """Endless fields, trailers, chunk extensions or empty lines stop at a limit."""
    before = service.resident_mib()
    chunked = b"POST /records HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n"
    for start, more in (
        (b"GET / HTTP/1.1\r\nhost: shop\r\nx: ", b"v" * 65_536),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10_000),
        (chunked + b"1\r\nx\r\n0\r\nt: ", b"v" * 65_536),
        (chunked + b"1;", b"e" * 65_536),
        (b"", b"\r\n" * 32_768),
    ):
        _sends_until_cut(service.ports[port], start, more)
    assert service.peak_mib() - before < GROWS_AT_MOST_MIB


Held = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]


async def _hold(port: int, connections: int) -> Held:
    """Open connections that start a head and never finish it."""
    held: Held = []
    for _ in range(connections):
        held.append(await asyncio.open_connection("127.0.0.1", port))
        held[-1][1].write(b"GET / HTTP/1.1\r\nx: ")
    return held


def _let_go(held: Held) -> None:
    for _, writer in held:
        writer.transport.abort()


def _ended(held: Held) -> int:
    """Return how many connections the peer has closed."""
    return sum(reader.at_eof() or reader.exception() is not None for reader, _ in held)


async def test_held_connections_do_not_block_others(service: Service) -> None:
    """A thousand connections to each port never finish their heads, and a valid pair is still compared."""
    held: Held = []
    try:
        for name in PORTS:
            held += await _hold(service.ports[name], 1_000)
        async with mesh_of(service) as mesh:
            world = World(service, mesh)
            await world.both("behind-held-connections", ANSWER)
            await world.until(pairs__match=1)
        assert service.answers("metrics", "/readyz")
        assert service.answers("web", "/")
        assert 0 == _ended(held)
    finally:
        _let_go(held)


@pytest.mark.parametrize(("port", "path"), [("web", "/"), ("metrics", "/healthz")])
async def test_too_many_connections_do_not_block_a_probe(service: Service, port: str, path: str) -> None:
    """A connection above the limit replaces only the one that was idle longest."""
    beyond, probes = 50, 5
    before = service.resident_mib()
    held = await _hold(service.ports[port], MOST_CONNECTIONS + beyond)
    try:
        for _ in range(probes):
            assert await asyncio.to_thread(service.answers, port, path)
        async with asyncio.timeout(60):
            while _ended(held) < beyond:  # noqa: ASYNC110 - tests wait on conditions
                await asyncio.sleep(0.01)
        assert beyond <= _ended(held) <= beyond + probes
        assert _ended(held) == _ended(held[: beyond * 10])  # the event loop's clock has a resolution of milliseconds
        assert service.peak_mib() - before < GROWS_AT_MOST_MIB
    finally:
        _let_go(held)
