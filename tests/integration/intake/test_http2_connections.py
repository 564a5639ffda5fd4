"""Test HTTP/2 connections to v2: shutdown, lost paths, age and count fail no call that v2 would respond to."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadowdiff.intake import http2, http2_connection
from shadowdiff.intake.http2 import Http2Client
from shadowdiff.intake.http2_connection import Http2Connection
from shadowdiff.model import Failure
from tests.fakes.shop_proto import framed
from tests.integration.intake.h2_server import HOST, Peer, Server, h2_server
from tests.integration.intake.scripted import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.intake.connection import Response

LAST_POSSIBLE = 2**31 - 1
FIELDS = [(b"host", b"v2"), (b"content-type", b"application/grpc")]


async def ask(client: Http2Client, server: Server, within_s: float = 10.0) -> Response:
    """Return the result of one call."""
    until_s = asyncio.get_running_loop().time() + within_s
    return await client.send(("http", HOST, server.port), b"/t.Test/Get", FIELDS, framed(b"x"), until_s)


def outcome(answer: Response) -> tuple[int, Failure | None, bool]:
    """Return status, failure, and whether the trailers arrived."""
    return answer.status, answer.failure, answer.trailers == ((b"grpc-status", b"0"),)


ANSWERED = (200, None, True)


@settings(max_examples=60)
@given(
    calls=st.integers(1, 12),
    goes_after=st.integers(1, 12),
    last=st.one_of(st.just(LAST_POSSIBLE), st.integers(0, 12).map(lambda number: 2 * number + 1), st.just(0)),
    closes=st.booleans(),
)
async def test_graceful_shutdown_fails_no_call(calls: int, goes_after: int, last: int, *, closes: bool) -> None:
    """The first connection finishes its calls, the client resends the others, and v2 processes each call once."""
    waiting: list[int] = []
    taken = [LAST_POSSIBLE]

    def on_request(peer: Peer, stream: int) -> None:
        if peer.number:  # later connections work
            peer.answer(stream)
            return
        waiting.append(stream)
        if len(peer.streams) < min(goes_after, calls):
            return
        if len(peer.streams) == min(goes_after, calls):
            taken[0] = last
            peer.go_away(last)
        for each in [each for each in waiting if each <= taken[0]]:
            peer.answer(each)
        waiting.clear()
        if closes:
            taken[0] = min(stream, last)
            peer.go_away(taken[0])
            peer.close()

    client = Http2Client(1 << 20)
    async with h2_server(on_request) as server:
        answers = await asyncio.gather(*(ask(client, server) for _ in range(calls)))
        client.close()
    assert [ANSWERED] * calls == [outcome(answer) for answer in answers]
    assert calls == server.processed


async def test_a_second_goaway_with_a_lower_id_resends_the_difference() -> None:
    """Envoy first announces the shutdown, and finally the last stream that it accepted."""

    def on_request(peer: Peer, stream: int) -> None:
        if peer.number:
            peer.answer(stream)
        elif len(peer.streams) == 3:
            peer.go_away(LAST_POSSIBLE)
            peer.go_away(3)
            peer.answer(1)
            peer.answer(3)
            peer.close()

    client = Http2Client(1 << 20)
    async with h2_server(on_request) as server:
        answers = await asyncio.gather(*(ask(client, server) for _ in range(3)))
        client.close()
    assert [ANSWERED] * 3 == [outcome(answer) for answer in answers]
    assert 3 == server.processed


async def test_a_call_is_sent_at_most_three_times() -> None:
    """If v2 refuses every call, the client uses three connections, and the failure counts against v2."""

    def on_request(peer: Peer, _stream: int) -> None:
        peer.go_away(0)
        peer.close()

    client = Http2Client(1 << 20)
    async with h2_server(on_request) as server:
        answer = await ask(client, server)
        client.close()
    assert (Failure.RESET, http2.TRIES) == (answer.failure, sum(len(peer.streams) for peer in server.peers))


async def test_a_call_that_v2_accepted_is_never_resent() -> None:
    """If the connection breaks, the failure counts against v2, because v2 may have processed the call."""

    def on_request(peer: Peer, stream: int) -> None:
        peer.go_away(stream)
        peer.close()

    client = Http2Client(1 << 20)
    async with h2_server(on_request) as server:
        answer = await ask(client, server)
        client.close()
    assert (Failure.RESET, 1) == (answer.failure, sum(len(peer.streams) for peer in server.peers))


async def test_a_call_with_a_started_response_is_never_resent() -> None:
    """A later GOAWAY of any kind does not resend a call whose response has started."""

    def on_request(peer: Peer, stream: int) -> None:
        from hyperframe import frame

        head = peer.encoder.encode([(":status", "200")])
        peer.send(frame.HeadersFrame(stream, head, flags=["END_HEADERS"]))
        peer.go_away(0)

    client = Http2Client(1 << 20)
    async with h2_server(on_request) as server:
        answer = await ask(client, server)
        client.close()
    assert (200, Failure.RESET, 1) == (answer.status, answer.failure, sum(len(peer.streams) for peer in server.peers))


async def test_a_dead_connection_fails_only_its_own_calls() -> None:
    """If a path becomes silent (a lost node, a dropped NAT entry), the next calls use a new connection."""
    client = Http2Client(1 << 20)
    async with h2_server(Peer.answer) as server:
        assert [ANSWERED] * 3 == [outcome(await ask(client, server)) for _ in range(3)]
        server.peers[0].is_dead = True
        lost = await ask(client, server, within_s=0.3)
        after = [outcome(await ask(client, server)) for _ in range(5)]
        client.close()
    assert (Failure.TIMEOUT, [ANSWERED] * 5, 2) == (lost.failure, after, len(server.peers))


@pytest.fixture
def _frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check connections a hundred times as often."""
    monkeypatch.setattr(http2_connection, "CHECK_EVERY_S", 0.01)
    monkeypatch.setattr(http2_connection, "SILENT_S", 0.01)
    monkeypatch.setattr(http2_connection, "PING_WITHIN_S", 0.02)


@pytest.mark.usefixtures("_frequent_checks")
async def test_a_connection_without_ping_replies_is_closed() -> None:
    """Calls with a long deadline do not wait on a lost path."""
    client = Http2Client(1 << 20)
    async with h2_server(lambda _peer, _stream: None, on_ping=lambda _peer: False) as server:
        answer = await ask(client, server, within_s=600.0)
        client.close()
    assert (Failure.TIMEOUT, 1) == (answer.failure, server.peers[0].pings)


@pytest.mark.usefixtures("_frequent_checks")
async def test_a_slow_v2_that_replies_to_pings_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """v2 gets at most two PINGs, because gRPC servers close a connection with more between two responses."""
    checks = counted_checks(monkeypatch)
    waiting: list[int] = []
    client = Http2Client(1 << 20)
    async with h2_server(lambda _peer, stream: waiting.append(stream)) as server:
        call = asyncio.create_task(ask(client, server))
        await until(lambda: len(checks) > 30, "30 checks at the connection")
        server.peers[0].answer(waiting[0])
        assert (ANSWERED, http2_connection.PINGS_MOST) == (outcome(await call), server.peers[0].pings)
        client.close()


@pytest.mark.usefixtures("_frequent_checks")
async def test_a_paused_process_does_not_blame_v2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline of a PING passes while this process is busy, but v2's reply may still be unread."""
    ping = Http2Connection._ping  # pyright: ignore[reportPrivateUsage]

    def ping_and_work(connection: Http2Connection) -> bool:
        sent = ping(connection)
        time.sleep(0.2)
        return sent

    monkeypatch.setattr(Http2Connection, "_ping", ping_and_work)
    client = Http2Client(1 << 20)
    waiting: list[int] = []
    async with h2_server(lambda _peer, stream: waiting.append(stream)) as server:
        call = asyncio.create_task(ask(client, server))
        await until(lambda: bool(server.peers) and server.peers[0].pings == 2, "two pings")
        server.peers[0].answer(waiting[0])
        assert ANSWERED == outcome(await call)
        client.close()


def counted_checks(monkeypatch: pytest.MonkeyPatch) -> list[Http2Connection]:
    """Return a list that receives each check of a connection."""
    checks: list[Http2Connection] = []
    check = Http2Connection._check_liveness  # pyright: ignore[reportPrivateUsage]

    def counted(connection: Http2Connection) -> None:
        checks.append(connection)
        check(connection)

    monkeypatch.setattr(Http2Connection, "_check_liveness", counted)
    return checks


@pytest.mark.parametrize(
    ("name", "value", "connections"),
    [("CALLS_MOST", 5, 3), ("CONNECTION_AGE_S", 0.0, 12), ("CALLS_MOST", 1 << 20, 1)],
    ids=["count", "age", "neither"],
)
async def test_connections_are_replaced_by_count_and_by_age(
    name: str, value: float, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stream ids never run out, and no connection gets new calls forever. Each closes once its calls end."""
    monkeypatch.setattr(http2_connection, name, value)
    client = Http2Client(1 << 20)
    async with h2_server(Peer.answer) as server:
        assert [ANSWERED] * 12 == [outcome(await ask(client, server)) for _ in range(12)]
        assert connections == len(server.peers)
        await until(lambda: open_connections(server) <= 1, "the replaced connections closed")
        client.close()


async def test_an_idle_connection_closes_at_its_maximum_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection closes even without another call."""
    monkeypatch.setattr(http2_connection, "CHECK_EVERY_S", 0.01)
    client = Http2Client(1 << 20)
    async with h2_server(Peer.answer) as server:
        assert ANSWERED == outcome(await ask(client, server))
        monkeypatch.setattr(http2_connection, "CONNECTION_AGE_S", 0.0)
        await until(lambda: open_connections(server) == 0, "the idle connection closed")
        client.close()


def open_connections(server: Server) -> int:
    """Return the number of open connections of the server."""
    return sum(not peer.writer.is_closing() for peer in server.peers)


@pytest.mark.parametrize(("at_once", "most"), [(100, 1), (250, 3)])
async def test_connections_are_opened_as_calls_need_them(at_once: int, most: int) -> None:
    """The client opens one connection for each hundred concurrent calls."""
    waiting: list[Callable[[], None]] = []

    def on_request(peer: Peer, stream: int) -> None:
        waiting.append(lambda: peer.answer(stream))
        if len(waiting) == at_once:
            for each in waiting:
                each()

    client = Http2Client(1 << 20)
    async with h2_server(on_request) as server:
        answers: list[Any] = await asyncio.gather(*(ask(client, server) for _ in range(at_once)))
        client.close()
    assert ({ANSWERED}, most) == ({outcome(answer) for answer in answers}, len(server.peers))
