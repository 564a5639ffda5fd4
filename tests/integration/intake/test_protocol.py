"""Test the HTTP of the intake ports byte for byte: what it accepts, rejects and limits."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest
import uvicorn
from uvicorn.server import ServerState

from shadowdiff.intake import protocol
from shadowdiff.intake.counters import Disposition
from shadowdiff.intake.exchange import PortMemoryBudget
from shadowdiff.intake.protocol import IntakeProtocol
from tests.fakes.counts import all_counts
from tests.integration.intake.scripted import exchange, get, intake, served, target, until, v2

RECORD = "x-shadowdiff-"
FIELDS = {"id": "7", "id-source": "x-diff-id", "method": "GET", "path": "/p", "host": "svc", "status": "200"}


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


def record(body: bytes, *more: str) -> bytes:
    """Return the bytes of one recorded response on a persistent connection."""
    lines = ["POST /record HTTP/1.1", "host: s", *(f"{RECORD}{name}: {value}" for name, value in FIELDS.items()), *more]
    return "\r\n".join(lines).encode() + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body


LAST = b"GET /none HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n"


async def test_responses_have_the_order_of_the_requests() -> None:
    """Pipelined requests, whole and in parts, get 202, 404, 400, 202 and 405 in order. Then the connection closes."""
    other = b"POST /other HTTP/1.1\r\nhost: s\r\ncontent-length: 3\r\n\r\nabc"
    bad = record(b"x").replace(b"-status: 200", b"-status: 99")
    async with v2(answering) as port, intake(target(port)) as running:
        sent = record(b"one") + other + bad + record(b"two") + LAST
        for cut in (len(sent), 40, len(record(b"one")) + 20):
            running.store.seen.clear()
            answers = await _in_two(running.records_port, sent, cut)
            assert [b"202", b"404", b"400", b"202", b"405"] == re.findall(rb"HTTP/1.1 ([0-9]+) ", answers)
            assert [b"one", b"two"] == [seen.body for seen in running.store.seen]


async def _in_two(port: int, sent: bytes, cut: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent[:cut])
    await writer.drain()
    await asyncio.sleep(0)
    writer.write(sent[cut:])
    answers = await reader.read()
    writer.close()
    return answers


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
        (b"GET / HTTP/1.1\r\nhost: s\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
        (b"GET /\nx: y\r\nhost: s\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\nhost: s\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nx: " + b"v" * 300_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 1_100 + b"\r\n", b"431"),
        (b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\n\r\n", b"431"),
    ],
    ids=[
        "TLS",
        "two lengths",
        "length and chunks",
        "no colon",
        "no version",
        "a later version",
        "long field",
        "many fields",
        "long path",
    ],
)
async def test_an_invalid_request_is_refused_and_the_connection_closes(sent: bytes, status: bytes) -> None:
    """Heads are bounded, and the end of a body is never guessed. An invalid request does not count as received."""
    async with v2(answering) as port, intake(target(port)) as running:
        answer = await exchange(running.mirror_port, sent)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"\r\nconnection: close\r\n" in answer
        assert 0 == sum(row.received for row in all_counts(running.counters))


async def test_an_unneeded_body_is_discarded_and_the_connection_stays_open() -> None:
    """The sender gets the response, and one to its next request."""
    long = b"POST /nowhere HTTP/1.1\r\nhost: s\r\ncontent-length: 3000000\r\n\r\n" + b"z" * 3_000_000
    async with v2(answering) as port, intake(target(port)) as running:
        answers = await exchange(running.records_port, long + record(b"next") + LAST)
        assert [b"404", b"202", b"405"] == re.findall(rb"HTTP/1.1 ([0-9]+) ", answers)


@pytest.mark.parametrize(
    ("sent", "aborted"), [(b"GET / HT", 0), (get(method="POST", body=b"x" * 100)[:-50], 1)], ids=["head", "body"]
)
async def test_a_stalled_connection_is_closed(sent: bytes, aborted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that stalls in the head or the body must not occupy memory."""
    for name in ("HEAD_WITHIN_S", "STALLED_S", "_CHECK_EVERY_S"):
        monkeypatch.setattr(protocol, name, 0.02)
    async with v2(answering) as port, intake(target(port, methods=("POST",))) as running:
        assert b"" == await exchange(running.mirror_port, sent)
        row = running.counters.mirrored["svc"]
        await until(lambda: aborted == row[Disposition.ABORTED] == row.received, "the request in its place")


ONE = b"GET /one HTTP/1.1\r\nhost: s\r\n\r\n"
CHUNKED = b"POST /record HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (record(b"one") + b"\0garbage\r\n\r\n", [b"202", b"400"]),
        (ONE + ONE + b"GET / HTTP/1.1\r\nbad\r\n\r\n", [b"405", b"405", b"400"]),
        (ONE + CHUNKED + b"zz\r\n", [b"405", b"400"]),
        (ONE * 200, [b"405"] * 64),
        (CHUNKED + b"1\r\nx\r\n0\r\nt: " + b"v" * 600_000, []),
        (CHUNKED + b"1;" + b"e" * 600_000, []),
        (b"\r\n" * 300_000, [b"431"]),
    ],
    ids=["after one", "after two", "bad chunk", "too many", "trailers", "extension", "empty lines"],
)
async def test_whole_requests_are_answered_before_the_connection_closes(sent: bytes, statuses: list[bytes]) -> None:
    """Valid requests before an invalid one or an endless head get their responses first."""
    async with v2(answering) as port, intake(target(port)) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.records_port)
        writer.write(sent)
        answers = b""
        async with asyncio.timeout(60):
            try:
                while part := await reader.read(65_536):
                    answers += part
            except ConnectionError:
                pass  # the server closed the connection with unread bytes
        writer.transport.abort()
        found = re.findall(rb"HTTP/1.1 ([0-9]+) ", answers)
        assert statuses == found[: len(statuses)]
        assert len(found) <= max(1, len(statuses))


async def test_a_response_to_head_has_no_body() -> None:
    """The response has a length, and the next response starts where the client expects it."""
    async with v2(answering) as port, intake(target(port)) as running:
        answers = await exchange(running.records_port, b"HEAD / HTTP/1.1\r\nhost: s\r\n\r\n" + record(b"x") + LAST)
        assert re.match(rb"HTTP/1.1 405 [^\0]*?\r\n\r\nHTTP/1.1 202 ", answers)


class _Line(asyncio.Transport):
    """A transport that records whether it is read, and what is written. The kernel does not split its reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = True
        self.written = b""

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data


async def test_reading_resumes_after_a_long_body_in_one_read() -> None:
    """The long body pauses reading and gets a response immediately. The next request must still be read."""
    async with v2(answering) as port, intake(target(port, methods=("POST",))) as running:
        config = uvicorn.Config(running.mirror, lifespan="off", log_config=None, proxy_headers=False)
        config.load()
        line = _Line()
        connection = IntakeProtocol(config, ServerState(), {})
        connection.connection_made(line)
        connection.data_received(
            get(method="POST", body=b"x" * 100_000).replace(b"connection: close", b"connection: keep-alive")
        )
        assert line.written.startswith(b"HTTP/1.1 202 ")
        assert line.reads
        connection.connection_lost(None)
        await running.settled()


HTTP_1_0 = b"POST /record HTTP/1.0\r\nhost: s\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n"


async def test_an_http_1_0_client_gets_no_100_continue() -> None:
    """An HTTP/1.0 client would read it as the final response. Source: RFC 9110, section 10.1.1."""
    async with v2(answering) as port, intake(target(port)) as running:
        for sent, expected in ((HTTP_1_0, [b"400"]), (HTTP_1_0.replace(b"1.0", b"1.1"), [b"100", b"400"])):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.records_port)
            writer.write(sent)
            if b"100" in expected:
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(b"abc")
            writer.write_eof()
            assert expected[-1:] == re.findall(rb"HTTP/1.1 ([0-9]+) ", await reader.read())
            writer.close()


TOGETHER = 8


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /record HTTP/1.1\r\nhost: s\r\nx: " + b"v" * 10_000,
        b"POST /record HTTP/1.1\r\nhost: s\r\nx: " + b"v" * 10_000 + b"\r\ncontent-length: 9\r\n\r\n1",
        CHUNKED + b"1\r\nx\r\n0\r\nt: " + b"v" * 10_000,
    ],
    ids=["head", "body", "trailers"],
)
async def test_the_connections_of_a_port_have_a_common_memory_bound(sent: bytes) -> None:
    """Above the limit, new requests are rejected and complete ones get responses. A closed connection frees memory."""
    bound = PortMemoryBudget(most_bytes=TOGETHER * 10_500)
    async with v2(answering) as port, intake(target(port)) as running, served(running.records, bound) as records_port:
        opened = [await asyncio.open_connection("127.0.0.1", records_port) for _ in range(TOGETHER * 2)]
        for number, (_, writer) in enumerate(opened[:-1], 1):
            writer.write(sent)
            share = 9_000 * min(number, TOGETHER - 2)
            await until(lambda at_least=share: bound.bytes > at_least, "it is counted")
        reader, last = opened[-1]
        last.write(sent)
        assert re.match(rb"HTTP/1.1 431 |$", await asyncio.wait_for(reader.read(), 10))
        assert bound.bytes <= bound.most_bytes
        assert b" 202 " in await exchange(records_port, record(b"x", "connection: close"))
        for _, writer in opened:
            writer.transport.abort()
        await until(lambda: bound.bytes == 0, "nothing is held")


async def test_the_number_of_connections_is_bounded() -> None:
    """A further connection is closed immediately, and each closed one makes room."""
    bound = PortMemoryBudget(most_connections=3)
    async with v2(answering) as port, intake(target(port)) as running, served(running.records, bound) as records_port:
        open_now = [await asyncio.open_connection("127.0.0.1", records_port) for _ in range(3)]
        for _, writer in open_now:
            writer.write(ONE)
        for reader, _ in open_now:
            await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"" == await exchange(records_port, ONE)
        open_now[0][1].transport.abort()
        await until_answered(records_port)
        for _, writer in open_now:
            writer.transport.abort()


async def until_answered(port: int) -> None:
    """Wait until a record is accepted."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(ConnectionError):
                if b" 202 " in await exchange(port, record(b"x", "connection: close")):
                    return


async def test_a_head_of_very_many_fields_is_refused() -> None:
    """A field takes far more memory than bytes on the wire. A thousand fields are accepted."""
    async with v2(answering) as port, intake(target(port)) as running:
        for count, status in ((990, b"202"), (1001, b"431")):
            sent = record(b"x", *["a: b"] * count, "connection: close")
            assert [status] == re.findall(rb"HTTP/1.1 ([0-9]+) ", await exchange(running.records_port, sent))


async def _refuses(port: int) -> None:
    """Wait until a port accepts no more connections."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            except ConnectionError:  # the connection was in the kernel's queue when the port closed
                continue
            writer.transport.abort()


async def _on_its_way(port: int, is_open: asyncio.Event, late: bytes) -> bytes:
    """Send a record, then send `late` on the same connection after its port has closed; return the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(record(b"first"))
    assert b"connection: close" not in await reader.readuntil(b"\r\n\r\n")
    is_open.set()
    await _refuses(port)
    writer.write(late)
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("late", "lingers_s", "expected"),
    [(record(b"late"), 10.0, rb"HTTP/1.1 202 [^\0]*connection: close\r\n[^\0]*"), (b"", 0.2, rb"")],
    ids=["a request", "nothing"],
)
async def test_a_request_on_its_way_while_the_port_closes_is_answered(
    monkeypatch: pytest.MonkeyPatch, late: bytes, lingers_s: float, expected: bytes
) -> None:
    """An idle connection accepts one last request, and is closed if there is no request."""
    monkeypatch.setattr(protocol, "LINGERS_S", lingers_s)
    is_open = asyncio.Event()
    async with v2(answering) as port, intake(target(port)) as running, asyncio.TaskGroup() as group:
        async with served(running.records) as records_port:
            answering_late = group.create_task(_on_its_way(records_port, is_open, late))
            await is_open.wait()
        assert re.fullmatch(expected, await answering_late)
        assert [b"first", b"late"][: 1 + bool(late)] == [seen.body for seen in running.store.seen]


async def test_a_connection_made_while_the_port_closes_is_answered_once() -> None:
    """The response announces that it is the last one."""
    bound = PortMemoryBudget()
    bound.is_closing = True
    async with v2(answering) as port, intake(target(port)) as running, served(running.records, bound) as records_port:
        answer = await exchange(records_port, record(b"one"))
        assert re.fullmatch(rb"HTTP/1.1 202 [^\0]*connection: close\r\n[^\0]*", answer)
        assert b"" == await exchange(records_port, b"")
