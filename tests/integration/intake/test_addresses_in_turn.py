"""Test a v2 with several addresses: HTTP/1.1 and HTTP/2 use all of them, and follow DNS under steady traffic."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.intake import connect, connection
from shadowdiff.intake.http2 import Http2Client
from shadowdiff.intake.upstream import Destination, MirroredRequest, Upstream
from shadowdiff.model import Candidate, Failure, Target
from tests.integration.intake.h2_server import Peer, Server
from tests.integration.intake.scripted import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    Ask = Callable[[int], Awaitable[Failure | None]]

NAME = "v2.example"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LOCAL = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


class V2:
    """A v2 on several loopback addresses at one port that counts requests and connections by address."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: dict[str, int] = {}
        self.connections: dict[str, int] = {}
        self.resolved: list[str] = []

    async def http1(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to every request on one connection."""
        self.connections[address] = self.connections.get(address, 0) + 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests[address] = self.requests.get(address, 0) + 1
                writer.write(OK)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def http2(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to every call on one connection."""
        self.connections[address] = self.connections.get(address, 0) + 1

        def count(peer: Peer, stream: int) -> None:
            self.requests[address] = self.requests.get(address, 0) + 1
            peer.answer(stream)

        await Server(count).serve(reader, writer)


@contextlib.asynccontextmanager
async def v2_at(
    monkeypatch: pytest.MonkeyPatch, protocol: str, listening: list[str], resolved: list[str]
) -> AsyncGenerator[V2]:
    """Run v2 on several addresses; DNS returns `resolved`."""
    made = V2()
    made.resolved = resolved
    loop = asyncio.get_running_loop()

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        assert host == NAME
        if not made.resolved:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in made.resolved]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task[None]] = set()

    def accept(address: str) -> Any:
        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = loop.create_task(getattr(made, protocol)(address, reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return accepted

    try:
        for address in listening:
            servers.append(await asyncio.start_server(accept(address), address, made.port))
            made.port = servers[0].sockets[0].getsockname()[1]
        yield made
    finally:
        for server in servers:
            server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def calling(protocol: str, within_s: float = 10.0) -> AsyncGenerator[Ask]:
    """Yield a function that calls v2 at a port and returns the failure."""
    if protocol == "http2":
        client = Http2Client(1 << 20)

        async def call(port: int) -> Failure | None:
            until_s = asyncio.get_running_loop().time() + within_s
            answer = await client.send(("http", NAME, port), b"/t.Test/Get", [(b"host", b"v2")], b"\0" * 5, until_s)
            return answer.failure

        try:
            yield call
        finally:
            client.close()
        return
    async with Upstream(lambda: 0) as upstream:

        async def ask(port: int) -> Failure | None:
            url = f"http://{NAME}:{port}"
            target = Target(name="svc", hosts=("svc",), candidate=Candidate(url=url, timeout_s=within_s))
            request = MirroredRequest("1", "x-diff-id", "POST", "/", "svc", [], b"x", 0)
            return (await upstream.send(Destination.of(target, target.candidate), request)).failure

        yield ask


@pytest.mark.parametrize("protocol", ["http1", "http2"])
async def test_steady_traffic_uses_all_addresses(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic is spread equally over reused connections."""
    async with v2_at(monkeypatch, protocol, LOCAL, LOCAL) as v2, calling(protocol) as ask:
        assert [None] * 120 == [await ask(v2.port) for _ in range(120)]
    assert dict.fromkeys(LOCAL, 40) == v2.requests
    assert dict.fromkeys(LOCAL, 1) == v2.connections


@pytest.mark.parametrize("protocol", ["http1", "http2"])
async def test_steady_traffic_follows_dns(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses that the name no longer has get no more requests, although their connections are open."""
    monkeypatch.setattr(connect, "REFRESH_S", 0.0)
    async with v2_at(monkeypatch, protocol, LOCAL, LOCAL[:1]) as v2, calling(protocol) as ask:
        assert [None] * 10 == [await ask(v2.port) for _ in range(10)]
        v2.resolved = LOCAL[1:]
        for _ in range(4):  # the first requests start a lookup
            assert await ask(v2.port) is None
        before = dict(v2.requests)
        assert [None] * 20 == [await ask(v2.port) for _ in range(20)]
    assert before[LOCAL[0]] == v2.requests[LOCAL[0]]
    assert {LOCAL[1]: 10, LOCAL[2]: 10} == {name: v2.requests[name] - before.get(name, 0) for name in LOCAL[1:]}


@pytest.mark.parametrize("protocol", ["http1", "http2"])
async def test_requests_skip_an_address_that_refuses(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address makes no request fail, and the others share the traffic."""
    async with v2_at(monkeypatch, protocol, LOCAL[:2], LOCAL) as v2, calling(protocol) as ask:
        assert [None] * 60 == [await ask(v2.port) for _ in range(60)]
    assert set(LOCAL[:2]) == set(v2.requests)
    assert 60 == sum(v2.requests.values())
    assert min(v2.requests.values()) >= 25


@pytest.mark.parametrize("protocol", ["http1", "http2"])
async def test_requests_skip_an_address_that_swallows(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost node never replies, so the client uses another address before the deadline."""
    monkeypatch.setattr(connect, "CONNECT_WITHIN_S", 0.05)
    async with v2_at(monkeypatch, protocol, LOCAL[:1], LOCAL[:2]) as v2, calling(protocol) as ask:
        with socket.socket() as swallowing, contextlib.ExitStack() as backlog:
            swallowing.bind((LOCAL[1], v2.port))
            swallowing.listen(0)
            fill_backlog((LOCAL[1], v2.port), backlog)
            assert [None] * 20 == [await ask(v2.port) for _ in range(20)]
    assert {LOCAL[0]: 20} == v2.requests


def fill_backlog(address: tuple[str, int], stack: contextlib.ExitStack) -> None:
    """Connect until the kernel accepts no more connections."""
    for _ in range(16):
        one = stack.enter_context(socket.socket())
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            one.connect(address)


@pytest.mark.parametrize("protocol", ["http1", "http2"])
async def test_an_unavailable_v2_has_a_failure_with_its_cause(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If all addresses refuse, the failure is `refused`. If the name is also gone, it is `unresolved`."""
    monkeypatch.setattr(connect, "REFRESH_S", 0.0)
    async with v2_at(monkeypatch, protocol, LOCAL[:1], LOCAL[1:]) as v2, calling(protocol) as ask:
        assert Failure.REFUSED is await ask(v2.port)
        v2.resolved = []
        failures = [await ask(v2.port) for _ in range(3)]
        assert Failure.UNRESOLVED is failures[-1]


async def test_http1_connections_have_a_maximum_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pods behind one virtual address get their share under steady traffic."""
    async with v2_at(monkeypatch, "http1", LOCAL[:1], LOCAL[:1]) as v2, calling("http1") as ask:
        assert [None] * 5 == [await ask(v2.port) for _ in range(5)]
        assert {LOCAL[0]: 1} == v2.connections
        monkeypatch.setattr(connection, "CONNECTION_AGE_S", -1.0)
        assert [None] * 5 == [await ask(v2.port) for _ in range(5)]
    assert {LOCAL[0]: 6} == v2.connections


async def test_idle_connections_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection above the limit is closed after its response."""
    monkeypatch.setattr(connection, "MOST_IDLE", 2)
    async with v2_at(monkeypatch, "http1", LOCAL, LOCAL) as v2, Upstream(lambda: 0) as upstream:
        target = Target(name="svc", hosts=("svc",), candidate=Candidate(url=f"http://{NAME}:{v2.port}"))
        destination = Destination.of(target, target.candidate)
        request = MirroredRequest("1", "x-diff-id", "GET", "/", "svc", [], b"", 0)
        await asyncio.gather(*(upstream.send(destination, request) for _ in range(20)))
        (made,) = upstream._pools.values()  # pyright: ignore[reportPrivateUsage]
        await until(lambda: made.idle_count == 2, "all but two closed")
