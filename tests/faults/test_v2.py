"""For each invalid response of v2, the service uses bounded memory and time, and the ledger has a reason.

One service serves all tests of this file. v2 is a socket that sends raw bytes. The number of bytes that v2 could send
shows where the service closed the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import free_port_number
from tests.integration.service.conftest import JSON, World, settings, target
from tests.integration.service.scripts import always, response, silent, v2
from tests.running import Service, mesh_of, unharmed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from tests.conftest import RedisServer
    from tests.integration.service.scripts import Answer

TIMEOUT_S = 1
IMPATIENT = "impatient"
"""A target that waits no longer for v2; the other waits long, so that a busy machine is not taken for a slow v2."""
GROWS_AT_MOST_MIB = 128
SENT_AT_MOST = 64 << 20
"""What v2 can get rid of before it is cut: the bound, and what both sides' sockets hold."""
PART = b"v" * 65_536
TEN_GB = 10 << 30
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = response(b"{}", "200 OK", f"content-type: {JSON}")
AT_ONCE = 16


@pytest.fixture(scope="module")
def shared(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, int]]:
    """Run one service for all tests of this file, check that its log has no failure, and return the port for v2."""
    port = free_port_number()
    config = settings(
        redis_server.url,
        target(port, candidate={"timeout": "60s", "queue_timeout": "60s"}),
        target(port, IMPATIENT, candidate={"timeout": f"{TIMEOUT_S}s"}),
        store={"prefix": f"broken-v2-{os.getpid()}"},
        pairing={"window": "200s"},
    )
    service = Service(tmp_path_factory.mktemp("service"), config)
    with unharmed(service):
        yield service, port


@pytest.fixture
async def world(shared: tuple[Service, int]) -> AsyncIterator[World]:
    """Return the environment of the shared service."""
    async with mesh_of(shared[0]) as mesh:
        yield World(shared[0], mesh)


@pytest.fixture
async def impatient(shared: tuple[Service, int]) -> AsyncIterator[World]:
    """Return the environment of the target with a short timeout for v2."""
    async with mesh_of(shared[0]) as mesh:
        mesh.host = IMPATIENT
        yield World(shared[0], mesh, IMPATIENT)


class Flood:
    """A v2 that sends `start` and then `part` endlessly, and counts the sent bytes."""

    def __init__(self, start: bytes, part: bytes = PART, most: int = TEN_GB) -> None:
        self._start, self._part, self._most = start, part, most
        self.sent = 0

    async def __call__(self, _head: bytes, writer: asyncio.StreamWriter) -> None:
        """Send until the connection is closed, or until the limit."""
        writer.write(self._start)
        while self.sent < self._most:
            writer.write(self._part)
            await writer.drain()
            self.sent += len(self._part)


def then(raw: bytes, end: Callable[[asyncio.StreamWriter], object]) -> Answer:
    """Return a v2 that sends bytes and then ends the connection with a given function."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        end(writer)
        await writer.wait_closed()

    return answer


def half_close(writer: asyncio.StreamWriter) -> None:
    """Close the sending half of the connection, and continue to read."""
    writer.write_eof()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection with RST."""
    own: socket.socket = writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def trickles(start: bytes, part: bytes) -> Answer:
    """Return a v2 that sends one small part after another, each well within any deadline for one read."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(TIMEOUT_S / 20)

    return answer


async def _what_came_of(world: World, port: int, answers: Mapping[str, Answer | None]) -> dict[str, tuple[str, str]]:
    """Send a pair for each case at once; return each result, and v2's failure or the reason for no comparison."""
    paths = {f"/{number}": answer for number, answer in enumerate(answers.values())}

    async def by_path(head: bytes, writer: asyncio.StreamWriter) -> None:
        answer = paths[head.split(b" ")[1].decode()]
        assert answer is not None
        await answer(head, writer)

    before = (await world.until())["pairs"]
    async with contextlib.AsyncExitStack() as stack:
        if any(paths.values()):
            await stack.enter_async_context(v2(by_path, port))
        async with asyncio.TaskGroup() as group:
            for case, path in zip(answers, paths, strict=True):
                group.create_task(world.both(case, b"{}", path))
        await world.until(pairs__ready=before["ready"] + len(answers))
    found: dict[str, tuple[str, str]] = dict.fromkeys(answers, ("match", ""))
    for result in ("mismatch", "incomparable"):
        for sample in await world.samples(result):
            if sample["request_id"] in found:
                found[sample["request_id"]] = (result, _why(sample))
    return found


def _why(sample: Any) -> str:
    return sample["failure"] or sample["reason"] or sample["differences"][0]["path"]


MALFORMED = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a page without a head": b"<html>hello</html>\r\n",
    "unexpected TLS": b"\x15\x03\x01\x00\x02\x02\x28\r\n",
    "HTTP/2 where HTTP/1.1 was asked": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n\r\n",
    "zeros": b"\0" * 100,
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a status of five digits": b"HTTP/1.1 20000 OK\r\n\r\n",
    "another version": b"HTTP/9.9 200 OK\r\n\r\n",
    "a field without a colon": b"HTTP/1.1 200 OK\r\nfield\r\n\r\n",
    "a blank before the colon": b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\n{}",
    "a NUL in a field": b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
    "a length below zero": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "a length in words": b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n{}",
    "a length past 64 bits": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a length and chunks": CHUNKED[:-2] + b"content-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "a chunk of no size": CHUNKED + b"zz\r\n{}\r\n",
    "a chunk past 64 bits": CHUNKED + b"fffffffffffffffff\r\n{}\r\n",
    "a chunk that is longer than it says": CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
}


async def test_invalid_http_is_malformed(shared: tuple[Service, int], world: World) -> None:
    """If no client can parse v2's response, the pair is a mismatch with the failure `malformed`."""
    said = await _what_came_of(world, shared[1], {case: always(raw) for case, raw in MALFORMED.items()})
    assert dict.fromkeys(MALFORMED, ("mismatch", "malformed")) == said


BREAKS: dict[str, Answer] = {
    "closes at once": then(b"", reset),
    "half-closes without a word": then(b"", half_close),
    "half-closes in the head": then(WHOLE[:20], half_close),
    "half-closes in the body": then(WHOLE[:-1], half_close),
    "half-closes in the chunks": then(CHUNKED + b"2\r\n{}\r\n", half_close),
    "resets in the head": then(WHOLE[:20], reset),
    "resets in the body": then(WHOLE[:-1], reset),
}
HANGS: dict[str, Answer] = {
    "hangs": silent,
    "hangs in the body": always(WHOLE[:-1]),
    "trickles a head": trickles(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "trickles a body": trickles(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b"x"),
    "trickles chunks": trickles(CHUNKED, b"1\r\nx\r\n"),
}


async def test_a_v2_that_breaks_off_is_a_mismatch(shared: tuple[Service, int], world: World) -> None:
    """If the connection ends before the response is complete, the pair is a mismatch with the failure `reset`."""
    assert dict.fromkeys(BREAKS, ("mismatch", "reset")) == await _what_came_of(world, shared[1], BREAKS)


async def test_a_v2_that_hangs_or_trickles_is_a_mismatch(shared: tuple[Service, int], impatient: World) -> None:
    """The deadline applies to the whole exchange, not to each read. The failure is `timeout`."""
    assert dict.fromkeys(HANGS, ("mismatch", "timeout")) == await _what_came_of(impatient, shared[1], HANGS)


async def test_a_v2_that_half_closes_after_its_answer_has_answered(shared: tuple[Service, int], world: World) -> None:
    """A complete response counts, however the connection ends."""
    said = await _what_came_of(world, shared[1], {"whole": then(WHOLE, half_close)})
    assert {"whole": ("match", "")} == said


async def test_a_dead_v2_is_refused(shared: tuple[Service, int], world: World) -> None:
    """If v2 has no listener, the pair is a mismatch with the failure `refused`."""
    assert {"dead": ("mismatch", "refused")} == await _what_came_of(world, shared[1], {"dead": None})


ENDLESS: dict[str, tuple[bytes, bytes, tuple[str, str]]] = {
    "body": (UNTIL_CLOSE, PART, ("mismatch", "bytes")),
    "body of 10 GB": (UNTIL_CLOSE[:-2] + b"content-length: %d\r\n\r\n" % TEN_GB, PART, ("mismatch", "bytes")),
    "chunks": (CHUNKED, b"10000\r\n" + PART + b"\r\n", ("mismatch", "bytes")),
    "status line": (b"HTTP/1.1 200 ", PART, ("mismatch", "malformed")),
    "field": (b"HTTP/1.1 200 OK\r\nx: ", PART, ("mismatch", "malformed")),
    "fields": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 10_000, ("mismatch", "malformed")),
    "interim answers": (b"", b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" * 2_000, ("mismatch", "malformed")),
    "blank lines": (b"", b"\r\n" * 32_768, ("mismatch", "malformed")),
    "trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nx: ", PART, ("mismatch", "malformed")),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"x: y\r\n" * 10_000, ("mismatch", "malformed")),
    "chunk extension": (CHUNKED + b"2;", PART, ("mismatch", "malformed")),
}


@pytest.mark.parametrize("case", ENDLESS)
async def test_endless_responses_are_cut_at_a_bound(
    shared: tuple[Service, int], world: World, case: str, record_property: Callable[[str, object], None]
) -> None:
    """The service limits how much it reads and keeps of an endless response, for any part of the response."""
    start, part, (result, why) = ENDLESS[case]
    flood = Flood(start, part)
    before_mib = shared[0].peak_mib()
    async with v2(flood, shared[1]):
        before: Any = (await world.until())["pairs"]
        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(world.both(f"endless {case} {number}", b"{}"))
        books = await world.until(pairs__ready=before["ready"] + AT_ONCE)
    assert AT_ONCE == books["pairs"][result] - before[result]
    samples = [each for each in await world.samples(result) if each["request_id"].startswith(f"endless {case} ")]
    assert AT_ONCE == len(samples)
    assert {why} == {_why(each) for each in samples}
    assert flood.sent < AT_ONCE * SENT_AT_MOST
    grown_mib = shared[0].peak_mib() - before_mib
    record_property("figures", f"{flood.sent >> 20} MiB sent by v2 in all, {grown_mib} MiB more memory at most")
    assert grown_mib < GROWS_AT_MOST_MIB
