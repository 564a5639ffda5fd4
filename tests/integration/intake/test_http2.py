"""Test calls to v2 over HTTP/2: complete responses with trailers, and a named failure for everything else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.intake.http2 import Http2Client
from shadowdiff.model import Failure
from tests.conftest import free_port_number
from tests.fakes.shop_proto import framed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from shadowdiff.intake.connection import Response

grpc: Any = pytest.importorskip("grpc")

HOST = "127.0.0.1"
FIELDS = [(b"host", b"v2"), (b"content-type", b"application/grpc"), (b"user-agent", b"a"), (b"te", b"trailers")]
MEBIBYTE = 1 << 20


def _echo(message: bytes, context: Any) -> bytes:
    """Return the request in capitals, and its metadata in the trailers."""
    seen = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-agent", seen["user-agent"]),))
    return message.upper()


def _many(message: bytes, _context: Any) -> Iterator[bytes]:
    yield from (message,) * 3


def _fail(_message: bytes, context: Any) -> bytes:
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
    return b""


def _slow(_message: bytes, context: Any) -> Iterator[bytes]:
    yield b"first"
    while context.is_active():
        time.sleep(0.01)


METHODS = {
    "Echo": grpc.unary_unary_rpc_method_handler(_echo),
    "Many": grpc.unary_stream_rpc_method_handler(_many),
    "Fail": grpc.unary_unary_rpc_method_handler(_fail),
    "Slow": grpc.unary_stream_rpc_method_handler(_slow),
}


@pytest.fixture(name="v2", scope="module")
def _v2() -> Generator[int]:
    """Run a real gRPC server, and yield its port."""
    with ThreadPoolExecutor(8) as pool:
        options = [("grpc.max_receive_message_length", 64 * MEBIBYTE), ("grpc.max_concurrent_streams", 4)]
        server = grpc.server(pool, options=options)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Test", METHODS),))
        port = server.add_insecure_port(f"{HOST}:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()


@contextlib.contextmanager
def client(most_bytes: int = MEBIBYTE) -> Generator[Http2Client]:
    """Yield a client, and close it afterwards."""
    made = Http2Client(most_bytes)
    try:
        yield made
    finally:
        made.close()


async def ask(made: Http2Client, port: int, method: str, body: bytes = b"", within_s: float = 10.0) -> Response:
    """Return v2's response to one call."""
    until_s = asyncio.get_running_loop().time() + within_s
    return await made.send(("http", HOST, port), f"/t.Test/{method}".encode(), FIELDS, body, until_s)


async def test_a_response_has_its_body_and_its_trailers(v2: int) -> None:
    """A response of one message and a stream both arrive with body and trailers."""
    with client() as made:
        one = await ask(made, v2, "Echo", framed(b"abc"))
        many = await ask(made, v2, "Many", framed(b"x"))
    assert (200, framed(b"ABC"), len(framed(b"ABC")), None) == (one.status, one.body, one.body_bytes, one.failure)
    assert (b"content-type", b"application/grpc") in one.headers
    assert (b"grpc-status", b"0") in one.trailers
    assert (b"x-agent", b"a") in one.trailers
    assert framed(b"x", b"x", b"x") == many.body


async def test_a_response_without_a_message_has_a_status(v2: int) -> None:
    """The status is in the trailers or in the headers, as the server chooses."""
    with client() as made:
        answer = await ask(made, v2, "Fail", framed(b"abc"))
    assert (b"", None) == (answer.body, answer.failure)
    assert {(b"grpc-status", b"9"), (b"grpc-message", b"not today")} <= {*answer.headers, *answer.trailers}


async def test_a_body_larger_than_every_window_is_sent_and_received(v2: int) -> None:
    """Both sides wait for each other's flow-control windows."""
    message = b"a" * (3 * MEBIBYTE)
    with client(8 * MEBIBYTE) as made:
        answer = await ask(made, v2, "Echo", framed(message))
    assert framed(message.upper()) == answer.body


async def test_a_body_above_the_limit_is_truncated(v2: int) -> None:
    """The body is marked as truncated, and the connection continues with the next call."""
    with client(1000) as made:
        cut = await ask(made, v2, "Echo", framed(b"a" * 100_000))
        after = await ask(made, v2, "Echo", framed(b"b"))
    assert (1000, None) == (len(cut.body), cut.failure)
    assert cut.body_bytes > 1000
    assert framed(b"B") == after.body


async def test_many_calls_at_once_each_get_their_own_response(v2: int) -> None:
    """The test makes more calls than v2 accepts on a single connection."""
    with client() as made:
        answers = await asyncio.gather(*(ask(made, v2, "Echo", framed(b"n%d" % number)) for number in range(40)))
    assert [framed(b"N%d" % number) for number in range(40)] == [answer.body for answer in answers]


async def test_a_call_that_does_not_end_is_a_timeout_with_a_partial_body(v2: int) -> None:
    """The client resets the stream, so v2 stops. The next call succeeds."""
    with client() as made:
        hung = await ask(made, v2, "Slow", framed(b""), within_s=0.5)
        after = await ask(made, v2, "Echo", framed(b"b"))
    assert (Failure.TIMEOUT, framed(b"first")) == (hung.failure, hung.body)
    assert framed(b"B") == after.body


async def _speaking(reply: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> asyncio.Server:
    return await asyncio.start_server(reply, HOST, 0)


async def test_a_failing_v2_has_a_failure_with_its_cause() -> None:
    """The causes are a missing listener, an unknown name, a closed connection, and a server without HTTP/2."""

    async def http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(MEBIBYTE)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    with client() as made:
        assert Failure.REFUSED is (await ask(made, free_port_number(), "Echo")).failure
        until_s = asyncio.get_running_loop().time() + 10
        nowhere = await made.send(("http", "no-such-host.invalid", 1), b"/", FIELDS, b"", until_s)
        assert Failure.UNRESOLVED is nowhere.failure
        for reply, failure in ((http1, Failure.MALFORMED), (gone, Failure.RESET)):
            async with await _speaking(reply) as server:
                port = server.sockets[0].getsockname()[1]
                assert failure is (await ask(made, port, "Echo", framed(b"x"))).failure


async def test_a_v2_that_never_accepts_the_connection_is_a_timeout() -> None:
    """The cause is a full backlog, or a firewall that drops packets."""
    with socket.socket() as held, client() as made:
        held.bind((HOST, 0))
        held.listen(0)
        port = held.getsockname()[1]
        answer = await ask(made, port, "Echo", framed(b"x"), within_s=0.3)
    assert Failure.TIMEOUT is answer.failure
