"""Hostile HTTP on every port: the service stays up, small and exact, and serves whoever comes after.

One service serves all of these. Read at the end: its log, its memory, its books.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.service.conftest import World, balanced_and_still, target
from tests.integration.service.conftest import settings as config_of
from tests.running import Service, mesh_of
from tests.security.conftest import raw
from tests.security.hostile_http import CHUNKS, CODINGS, LENGTHS, ODD, hostile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RedisServer

PORTS = ("mirror", "records", "web", "metrics")
QUICK, DEEP = 500, 25_000
"""Connections to each port."""
AT_ONCE = 32
ANSWERED_WITHIN_S = 0.05
GROWS_AT_MOST_MIB = 200
STATUS = re.compile(rb"^HTTP/1\.1 ([0-9]{3}) ", re.MULTILINE)


@pytest.fixture(scope="module")
def service(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service for all tests of this file; it ends in peace, and its log holds no failure."""
    config = config_of(redis_server.url, target(), store={"prefix": f"hostile-http-{os.getpid()}"})
    config["pairing"] |= {"window": "2s"}
    running = Service(tmp_path_factory.mktemp("hostile-http"), config)
    running.start()
    yield running
    assert 0 == running.stop()
    assert [] == [line for line in running.log.splitlines() if "Traceback" in line or '"level": "ERROR"' in line]


async def _send(port: int, pieces: list[bytes], *, half_closes: bool) -> bytes:
    """Send the bytes of one connection, a piece at a time, and return what came back within a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    parts: list[bytes] = []
    with suppress(OSError, TimeoutError):
        for piece in pieces:
            if writer.transport.is_closing():
                break
            writer.write(piece)
            await asyncio.sleep(0)
        if half_closes:
            writer.write_eof()
        while part := await asyncio.wait_for(reader.read(65_536), ANSWERED_WITHIN_S):
            parts.append(part)
    writer.transport.abort()
    return b"".join(parts)


def _pieces(draw: random.Random, sent: bytes) -> list[bytes]:
    """Cut what is sent, so that what belongs together comes apart."""
    cuts = sorted(draw.randrange(len(sent) + 1) for _ in range(draw.choice((0, 0, 1, 3, 20))))
    return [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]


async def _attack(service: Service, connections: int, seed: int) -> Counter[tuple[str, int]]:
    """Send so many to each port; return how often each gave which status."""
    seen: Counter[tuple[str, int]] = Counter()
    turns = iter([(name, number) for number in range(connections) for name in PORTS])

    async def one_by_one() -> None:
        for name, number in turns:
            draw = random.Random(f"{seed} {name} {number}")
            pieces = _pieces(draw, hostile(draw))
            answer = await _send(service.ports[name], pieces, half_closes=draw.random() < 0.5)
            assert not answer or answer.startswith(b"HTTP/1.1 "), (name, number, answer[:100])
            seen.update((name, int(status)) for status in STATUS.findall(answer))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_by_one())
    return seen


async def _serves_a_proper_pair(service: Service, request_id: str) -> None:
    """Hold the service to its work: the books are still and balance, and one more pair matches."""
    async with mesh_of(service) as mesh:
        world = World(service, mesh)
        before = (await world.until())["pairs"]["mismatch"]
        await world.both(request_id, b'{"same": 1}')
        await world.service.until(lambda books: balanced_and_still(books) and books["pairs"]["mismatch"] == before + 1)
        await world.service.until(balanced_and_still, target="_unknown")


@pytest.mark.parametrize(
    "connections",
    [QUICK, pytest.param(DEEP, marks=[pytest.mark.deep, pytest.mark.timeout(3600)])],
    ids=["quick", "deep"],
)
async def test_hostile_bytes_break_nothing(service: Service, connections: int) -> None:
    """No answer is of class 5xx, nothing is logged as an error, memory is bounded, and a proper pair is compared.

    The figures are shown by `-rP`.
    """
    before, resident = service.peak_mib(), service.resident_mib()
    seen = await _attack(service, connections, seed=1)
    assert [] == [(name, status) for name, status in seen if status >= 500]
    assert {name for name, _ in seen} == set(PORTS)
    await _serves_a_proper_pair(service, f"proper-{connections}")
    assert service.peak_mib() - before < GROWS_AT_MOST_MIB
    answers = {name: sum(count for (port, _), count in seen.items() if port == name) for name in PORTS}
    memory = f"{resident} MiB resident before, {service.resident_mib()} after, {service.peak_mib()} at most"
    sys.stdout.write(f"{connections} connections to each port; answers: {answers}; {memory}\n")


_VALUES: dict[bytes, tuple[bytes, ...]] = {
    b"content-length": LENGTHS,
    b"transfer-encoding": CODINGS,
    b"x": ODD,
    b"expect": (b"100-continue", b"x"),
    b"connection": (b"close", b"keep-alive", b"upgrade", b"\0"),
    b"upgrade": (b"websocket", b"h2c"),
}
_METHODS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE"]
_TARGETS = [b"/", b"/record", b"/records", b"/api/v1/rules", b"/metrics", b"*", b"http://h/p?q", b"h:1"]
FIELD = st.sampled_from([name + b": " + value for name, values in _VALUES.items() for value in values])


def _request(method: bytes, path: bytes, fields: list[bytes], body: bytes) -> bytes:
    return b"\r\n".join((b" ".join((method, path, b"HTTP/1.1")), b"host: shop", *fields, b"", body))


REQUEST = st.builds(
    _request,
    st.sampled_from(_METHODS),
    st.sampled_from(_TARGETS) | st.binary(max_size=20),
    st.lists(FIELD | st.binary(max_size=30), max_size=5),
    st.sampled_from([b"", b"hello", *CHUNKS]) | st.binary(max_size=50),
)


@pytest.mark.parametrize("port", PORTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(REQUEST, min_size=1, max_size=4))
def test_no_sequence_of_requests_is_a_fault_of_the_server(service: Service, port: str, requests: list[bytes]) -> None:
    """Whatever fields stand together, and whatever comes pipelined behind: each answer says what the client did."""
    with suppress(ConnectionError):
        answer = raw(service.ports[port], b"".join(requests))
        assert [] == [status for status in STATUS.findall(answer) if status >= b"500"]


@pytest.mark.parametrize("port", ["mirror", "records"])
def test_who_does_not_read_is_not_read(service: Service, port: str) -> None:
    """A peer that pipelines and reads no answer is stopped by its own full buffers, not by the service's memory."""
    before = service.peak_mib()
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
            assert sent < 128 << 20, "the service reads on, and keeps what it answers"
    assert service.peak_mib() - before < 64


def _sends_until_cut(port: int, start: bytes, more: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer, suppress(ConnectionError):
        peer.sendall(start)
        for _ in range(2_000):
            peer.sendall(more)
        pytest.fail(f"port {port} took {2_000 * len(more)} bytes of a head")


@pytest.mark.parametrize("port", PORTS)
def test_an_endless_head_ends(service: Service, port: str) -> None:
    """A field, trailers, chunk extensions or empty lines without end are given up at a bound."""
    before = service.peak_mib()
    chunked = b"POST /records HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n"
    for start, more in (
        (b"GET / HTTP/1.1\r\nhost: shop\r\nx: ", b"v" * 65_536),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10_000),
        (chunked + b"1\r\nx\r\n0\r\nt: ", b"v" * 65_536),
        (chunked + b"1;", b"e" * 65_536),
        (b"", b"\r\n" * 32_768),
    ):
        _sends_until_cut(service.ports[port], start, more)
    assert service.peak_mib() - before < 64


async def test_held_connections_keep_nobody_out(service: Service) -> None:
    """A thousand connections to each port that never end their heads: a proper pair is still compared."""
    writers: list[asyncio.StreamWriter] = []
    try:
        for name in PORTS:
            for _ in range(1_000):
                _, writer = await asyncio.open_connection("127.0.0.1", service.ports[name])
                writer.write(b"GET / HTTP/1.1\r\nx: ")
                writers.append(writer)
        await _serves_a_proper_pair(service, "behind-held-connections")
        assert service.answers("metrics", "/readyz")
        assert service.answers("web", "/")
    finally:
        for writer in writers:
            writer.transport.abort()
