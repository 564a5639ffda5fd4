"""Test a v2 behind a real Envoy. A drain loses no gRPC call, and shadowdiff parses unusual heads as Envoy does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadowdiff.demo.envoy import find_envoy, run_envoy
from shadowdiff.demo.process import HOST, free_ports, stop
from shadowdiff.intake.http2 import Http2Client
from shadowdiff.intake.upstream import Destination, MirroredRequest, Upstream
from shadowdiff.model import Candidate, Target
from tests.conftest import needs_tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from pathlib import Path

TYPES = "type.googleapis.com/envoy.extensions"
AT_ONCE = 32


class Envoy(NamedTuple):
    """A running Envoy: its port and its admin page."""

    port: int
    admin: str


@contextlib.asynccontextmanager
async def envoy(folder: Path, manager: dict[str, Any], route: dict[str, Any], **static: Any) -> AsyncGenerator[Envoy]:
    """Run an Envoy with one listener that has the given connection manager and route."""
    program = find_envoy()
    if program is None:
        needs_tool("envoy")
        raise AssertionError("no envoy")
    port, admin = free_ports([0, 0])
    router = {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
    hosts = [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}} | route]}]
    stated = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "v2",
        "http_filters": [*manager.pop("before_router", []), router],
        "route_config": {"virtual_hosts": hosts},
    }
    listener = {
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": stated | manager}]}],
    }
    config = {"admin": {"address": _address(admin)}, "static_resources": {"listeners": [listener]} | static}
    child = await run_envoy(program, json.dumps(config), f"{HOST}:{admin}", folder)
    try:
        yield Envoy(port, f"http://{HOST}:{admin}")
    finally:
        await stop(child)


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}


DELAY = {
    "@type": f"{TYPES}.filters.http.fault.v3.HTTPFault",
    "delay": {"fixed_delay": "0.005s", "percentage": {"numerator": 50}},
}
DRAINS = {
    "before_router": [{"name": "fault", "typed_config": DELAY}],
    "codec_type": "HTTP2",
    "drain_timeout": "0.2s",
    "common_http_protocol_options": {"max_requests_per_connection": 50, "max_connection_duration": "0.5s"},
}
ANSWERS = {
    "direct_response": {"status": 200, "body": {"inline_string": "x"}},
    "response_headers_to_add": [
        {"header": {"key": "content-type", "value": "application/grpc"}},
        {"header": {"key": "grpc-status", "value": "0"}},
    ],
}


@pytest.mark.parametrize("calls", [1_000, pytest.param(10_000, marks=pytest.mark.deep)])
async def test_no_call_fails_while_envoy_drains_and_ages_connections(
    calls: int, tmp_path: Path, record_property: Callable[[str, str], None]
) -> None:
    """Each connection drains after 50 calls or half a second, and its calls in flight finish."""
    outcomes: Counter[str] = Counter()
    client = Http2Client(1 << 20)
    slots = asyncio.Semaphore(AT_ONCE)

    async with envoy(tmp_path, dict(DRAINS), ANSWERS) as v2:

        async def call() -> None:
            async with slots:
                until_s = asyncio.get_running_loop().time() + 60
                fields = [(b"host", b"v2"), (b"content-type", b"application/grpc")]
                answer = await client.send(("http", HOST, v2.port), b"/t.Test/Get", fields, b"\0" * 5, until_s)
                outcomes[str(answer.failure or answer.status)] += 1

        await asyncio.gather(*(call() for _ in range(calls)))
        connections = await _stat(v2.admin, "http.v2.downstream_cx_total")
        client.close()
    assert {"200": calls} == outcomes
    assert connections >= calls / 100
    record_property("figures", f"{calls} calls over {connections} connections: 0 failed")


async def _stat(admin: str, name: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{admin}/stats", params={"filter": f"^{name}$"}) as answer,
    ):
        return int((await answer.text()).rpartition(":")[2])


ODD_HEADS = {
    "folded": b"HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\ncontent-length: 2\r\n\r\nok",
    "folded by a tab": b"HTTP/1.1 200 OK\r\nx-a: b\r\n\tc\r\ncontent-length: 2\r\n\r\nok",
    "folded often": b"HTTP/1.1 200 OK\r\nx-a: b  \r\n   \t c\r\n  d\r\ncontent-length: 2\r\n\r\nok",
    "folded to nothing": b"HTTP/1.1 200 OK\r\nx-a: b\r\n \r\ncontent-length: 2\r\n\r\nok",
    "folded from nothing": b"HTTP/1.1 200 OK\r\nx-a:\r\n b\r\ncontent-length: 2\r\n\r\nok",
    "folded length": b"HTTP/1.1 200 OK\r\ncontent-length:\r\n 2\r\n\r\nok",
    "folded coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "folded last": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n c\r\n\r\nok",
    "folded first": b"HTTP/1.1 200 OK\r\n x-a: b\r\ncontent-length: 2\r\n\r\nok",
    "LF alone": b"HTTP/1.1 200 OK\nx-a: b\ncontent-length: 2\n\nok",
    "LF after the status": b"HTTP/1.1 200 OK\nx-a: b\r\ncontent-length: 2\r\n\r\nok",
    "LF at the end": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\nok",
    "LF after a fold": b"HTTP/1.1 200 OK\r\nx-a: b\n c\ncontent-length: 2\r\n\r\nok",
    "LF in an interim answer": b"HTTP/1.1 103 Hints\nlink: x\n\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "space after a chunk's size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nx-a: b\0c\r\ncontent-length: 2\r\n\r\nok",
    "control": b"HTTP/1.1 200 OK\r\nx-a: b\x01c\r\ncontent-length: 2\r\n\r\nok",
    "delete": b"HTTP/1.1 200 OK\r\nx-a: b\x7fc\r\ncontent-length: 2\r\n\r\nok",
    "no colon": b"HTTP/1.1 200 OK\r\nx-a\r\ncontent-length: 2\r\n\r\nok",
    "blank before the colon": b"HTTP/1.1 200 OK\r\nx-a : b\r\ncontent-length: 2\r\n\r\nok",
    "blank before a length's colon": b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok",
    "blank before a coding's colon": b"HTTP/1.1 200 OK\r\ntransfer-encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked \r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "misspelled coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: cunked\r\n\r\nok",
    "coding folded within": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chun\r\n ked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two codings": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coding twice": b"HTTP/1.1 200 OK\r\n" + b"transfer-encoding: chunked\r\n" * 2 + b"\r\n2\r\nok\r\n0\r\n\r\n",
    "no coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\ncontent-length: 2\r\n\r\nok",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 2\r\n\r\nok",
}
BLANKS = st.sampled_from([b" ", b"\t", b"  ", b" \t "])
ENDS = st.sampled_from([b"\r\n", b"\n"])
WORDS = st.sampled_from([b"a", b"b;c=d", b'"q"', b"\xe9", b"", b"1, 2"])
FIELDS = st.lists(st.tuples(WORDS, ENDS, st.lists(st.tuples(BLANKS, WORDS, ENDS), max_size=3)), min_size=1, max_size=4)


class BothReaders:
    """Sends the same bytes to Envoy as v1 and to shadowdiff as v2."""

    def __init__(self, v1: int, through: int) -> None:
        self._v1 = v1
        self._through = through
        self.raw = b""

    async def origin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Respond to one request with the bytes of the current case."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.raw)
            writer.write_eof()
            await reader.read()
        writer.close()

    async def check(self, raw: bytes) -> None:
        """Check that Envoy and shadowdiff read the same response, or that both reject the response."""
        self.raw = raw
        assert await self._by_envoy() == await self._by_shadowdiff(), raw

    async def _by_envoy(self) -> tuple[int, list[bytes], bytes] | None:
        reader, writer = await asyncio.open_connection(HOST, self._through)
        writer.write(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        status, *lines = head.split(b"\r\n")
        if status.split()[1] in {b"502", b"503"}:
            return None
        fields = (line.partition(b": ") for line in lines)
        return int(status.split()[1]), [value for name, _, value in fields if name.startswith(b"x-a")], body

    async def _by_shadowdiff(self) -> tuple[int, list[bytes], bytes] | None:
        candidate = Candidate(url=f"http://{HOST}:{self._v1}")
        destination = Destination.of(Target(name="svc", hosts=("svc",), candidate=candidate), candidate)
        async with Upstream(lambda: 0) as upstream:
            seen = await upstream.send(destination, MirroredRequest("1", "x-diff-id", "GET", "/", "svc", [], b"", 0))
        if seen.failure is not None:
            return None
        return seen.status, [value for name, value in seen.headers if name.startswith(b"x-a")], seen.body


@contextlib.asynccontextmanager
async def both_readers(folder: Path) -> AsyncGenerator[BothReaders]:
    """Run v1 behind Envoy."""
    (v1,) = free_ports([0])
    cluster = {
        "name": "v1",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "v1",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(v1)}}]}],
        },
    }
    manager = {
        "codec_type": "HTTP1",
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "a"},
    }
    async with envoy(folder, manager, {"route": {"cluster": "v1", "timeout": "10s"}}, clusters=[cluster]) as through:
        made = BothReaders(v1, through.port)
        server = await asyncio.start_server(made.origin, HOST, v1)
        async with server:
            yield made


async def test_odd_heads_are_read_as_envoy_reads_them(tmp_path: Path) -> None:
    """Envoy and shadowdiff read the same values from folded fields and LF line ends, and reject the same responses."""
    async with both_readers(tmp_path) as both:
        for raw in ODD_HEADS.values():
            await both.check(raw)


def test_any_folds_and_line_ends_are_read_as_envoy_reads_them(tmp_path: Path) -> None:
    """Envoy and shadowdiff agree on fields of several lines, with each kind of line ending."""

    async def all_examples() -> None:
        async with both_readers(tmp_path) as both:
            loop = asyncio.get_running_loop()

            def check(fields: list[Any], end: bytes) -> None:
                lines = [
                    b"x-a%d: %b%b%b"
                    % (number, word, ends, b"".join(blank + more + each for blank, more, each in folds))
                    for number, (word, ends, folds) in enumerate(fields)
                ]
                raw = b"HTTP/1.1 200 OK" + end + b"".join(lines) + b"content-length: 2" + end + end + b"ok"
                checking: Coroutine[Any, Any, None] = both.check(raw)
                asyncio.run_coroutine_threadsafe(checking, loop).result(30)

            await asyncio.to_thread(settings(max_examples=80)(given(FIELDS, ENDS)(check)))

    asyncio.run(all_examples())
