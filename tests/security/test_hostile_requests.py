"""No request and no response of v2 can change the address of the candidate.

One service serves all tests of this file. A shim logs every connection of the service and its processes. v2 records
each request. A canary listens at the address to which an attacker would redirect requests. The test reads the outcome
of each request from v2 and the ledger.
"""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.conftest import needs_tool
from tests.integration.service.conftest import settings, target
from tests.running import WITHIN_S, Service
from tests.security.conftest import raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RedisServer

SOURCE = Path(__file__).parent / "connects.c"
BASE = "/base"
METADATA = ("169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "100.100.100.200")
REDIRECTS = ("300", "301", "302", "303", "305", "307", "308")


@dataclass
class Listener:
    """A server that records the head of each request; `/redirect-30x` returns a redirect."""

    elsewhere: str = ""
    heads: list[str] = field(default_factory=list[str])
    server: socketserver.ThreadingTCPServer = field(init=False)

    def __post_init__(self) -> None:
        noted = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(WITHIN_S)
                while line := self.rfile.readline(65_536):
                    head = line
                    while (line := self.rfile.readline(65_536)) not in (b"\r\n", b""):
                        head += line
                    noted.heads.append(head.decode("latin-1"))
                    self.wfile.write(noted.response(head.split(b" ")[1].decode("latin-1")))

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def response(self, path: str) -> bytes:
        """Return a response in which every field that can contain an address contains the canary's address."""
        _, redirects, status = path.partition("/redirect-")
        to = self.elsewhere
        fields = (f"location: {to}", f"content-location: {to}", f"refresh: 0; url={to}", f"link: <{to}>; rel=preload",
                  f'alt-svc: h2="{to.partition("://")[2].partition("/")[0]}"', "content-length: 2")  # fmt: skip
        return "\r\n".join((f"HTTP/1.1 {status[:3] if redirects else '200'} Reply", *fields, "", "{}")).encode()

    @property
    def port(self) -> int:
        """The port of the server."""
        return int(self.server.server_address[1])

    def close(self) -> None:
        """Close the server."""
        self.server.shutdown()
        self.server.server_close()


@dataclass
class WatchedService:
    """The service, its v2, the canary, and the file that lists the connections of the service."""

    service: Service
    candidate: Listener
    canary: Listener
    store: str
    noted: Path
    sent: int = 0

    def heads_of(self, request_id: str) -> list[str]:
        """Return the request heads that v2 received under an id."""
        return [head for head in list(self.candidate.heads) if f"x-request-id: {request_id}\r\n" in head.lower()]

    def ledger(self) -> dict[str, int]:
        """Return the outcomes of all requests so far, when no request is in flight."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            rows = {name: self.service.ledger(name)["mirrored"] for name in ("shop", "_unknown")}
            if not any(row["in_flight"] for row in rows.values()):
                return {f"{name} {what}": count for name, row in rows.items() for what, count in row.items()}
            assert time.monotonic() < deadline, rows
            time.sleep(0.01)

    def connections(self) -> set[str]:
        """Return the addresses that the service connected to or sent to, and the names that it looked up."""
        return set(self.noted.read_text().splitlines())

    def configured(self) -> set[str]:
        """Return the connections that the configuration requires."""
        return {f"connect 127.0.0.1:{self.candidate.port}", f"connect {self.store}"}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the shim that logs connections."""
    built = tmp_path_factory.mktemp("shim") / "connects.so"
    subprocess.run([needs_tool("cc"), "-shared", "-fPIC", "-O1", "-o", built, SOURCE, "-ldl"], check=True)
    return built


@pytest.fixture(scope="module")
def watched_service(
    redis_server: RedisServer, shim: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedService]:
    """Run the service for all tests of this file."""
    canary = Listener()
    candidate = Listener(elsewhere=f"http://127.0.0.1:{canary.port}/stolen")
    shop = target(candidate.port, candidate={"url": f"http://127.0.0.1:{candidate.port}{BASE}"})
    shop["methods"] = ["GET", "HEAD", "OPTIONS", "POST", "CONNECT"]
    folder = tmp_path_factory.mktemp("hostile")
    config = settings(redis_server.url, shop, store={"prefix": f"hostile{candidate.port}"})
    noted = folder / "connections"
    service = Service(folder, config, {"LD_PRELOAD": str(shim), "CONNECTS": str(noted)})
    service.start()
    try:
        yield WatchedService(service, candidate, canary, f"127.0.0.1:{redis_server.port}", noted)
        assert service.stop() == 0
    finally:
        canary.close()
        candidate.close()


class Case(NamedTuple):
    """A request in which CANARY stands for the canary's address, and its allowed destination.

    becomes: its name in the ledger, or `refused` if it is not a request and not in the ledger. path: the path that v2
    gets, below its own.
    """

    request: str
    becomes: str
    path: str = ""


_WITH_PATHS = {
    "http://CANARY/a": "/a", "https://CANARY/a": "/a", "http://shop@CANARY/a": "/a", "http://CANARY": "/",
    "gopher://CANARY/a": "/a", "file:///etc/passwd": "/etc/passwd",
    **{f"http://{address}/latest/meta-data/": "/latest/meta-data/" for address in METADATA},
}  # fmt: skip
_PATHS = (
    "//CANARY/a", "///CANARY/a", "/\\CANARY/a", "/@CANARY/", "/..//CANARY/a", "/../../a", "/%2e%2e/%2e%2e/a",
    "/..%2f..%2fa", "/a/..;/b", "/%2f%2fCANARY/a", "/a%0d%0ahost:%20CANARY", "/a?url=http://CANARY/",
    "/a?next=//CANARY", "/a#@CANARY/", "/%00@CANARY", "/redirect-302?to=http://CANARY/",
    *(f"/redirect-{status}" for status in REDIRECTS),
)  # fmt: skip
_NO_TARGETS = ("\\\\CANARY\\a", "@CANARY/a", "CANARY", ":80@CANARY/", ".CANARY/", "http:CANARY/a")
_HOSTS = (
    "CANARY", "shop@CANARY", "shop:80@CANARY", "shop#@CANARY", "CANARY#shop", "shop\\@CANARY", "shop%00.CANARY",
    "shop, CANARY", "shop CANARY", "CANARY/shop", "shop?@CANARY", "localhost:1", "0", "127.1", "[::]", *METADATA,
)  # fmt: skip
_FIELDS = (
    "x-forwarded-host: CANARY", "forwarded: host=CANARY", "x-original-url: http://CANARY/a", "x-host: CANARY",
    "x-rewrite-url: //CANARY", "x-envoy-original-dst-host: CANARY", "proxy: http://CANARY", "http-proxy: CANARY",
    "referer: http://CANARY/", "x-forwarded-server: CANARY", "x-real-ip: 169.254.169.254", "via: 1.1 CANARY",
    "x-shadowdiff-host: CANARY", "x-shadowdiff-target: http://CANARY/", "alt-used: CANARY",
)  # fmt: skip


def _cases() -> dict[str, Case]:
    """Return requests that try to redirect the client of v2."""
    cases = {f"host {host}": Case(f"GET /a HTTP/1.1\r\nhost: {host}\r\n", "_unknown blocked") for host in _HOSTS}
    for line, path in (_WITH_PATHS | {path: path for path in _PATHS}).items():
        cases[f"target {line}"] = Case(f"GET {line} HTTP/1.1\r\nhost: shop\r\n", "shop forwarded", path)
    for line in _NO_TARGETS:
        cases[f"target {line}"] = Case(f"GET {line} HTTP/1.1\r\nhost: shop\r\n", "refused")
    for line in _FIELDS:
        cases[f"field {line}"] = Case(f"GET /a HTTP/1.1\r\nhost: shop\r\n{line}\r\n", "shop forwarded", "/a")
    return cases | {
        "a second host": Case("GET /a HTTP/1.1\r\nhost: shop\r\nhost: CANARY\r\n", "_unknown blocked"),
        "no path": Case("OPTIONS * HTTP/1.1\r\nhost: shop\r\n", "shop blocked"),
        "a tunnel": Case("CONNECT CANARY HTTP/1.1\r\nhost: shop\r\n", "shop blocked"),
    }


CASES = _cases()


@pytest.mark.parametrize("name", list(CASES))
def test_only_configuration_sets_the_candidate(watched_service: WatchedService, name: str) -> None:
    """Requests go to v2 below the configured path, or nowhere, for any host, target, field or redirect."""
    case, canary = CASES[name], f"127.0.0.1:{watched_service.canary.port}"
    watched_service.sent += 1
    known = f"case-{watched_service.sent}"
    before = watched_service.ledger()
    sent = f"{case.request.replace('CANARY', canary)}x-diff-id: {known}\r\nx-request-id: {known}\r\n\r\n"
    response = raw(watched_service.service.ports["mirror"], sent.encode())
    after = watched_service.ledger()
    became = {what for what in after if after[what] > before[what] and not what.endswith(" received")}
    assert (set() if case.becomes == "refused" else {case.becomes}) == became
    head, _, body = response.partition(b"\r\n\r\n")
    assert (b"400" if case.becomes == "refused" else b"202", b"") == (head.split(b" ")[1], body)
    asked = [f"{head.split(' ')[1]} of {host_of(head)}" for head in watched_service.heads_of(known)]
    wanted = f"{BASE}{case.path.replace('CANARY', canary)} of 127.0.0.1:{watched_service.candidate.port}"
    assert ([wanted] if case.path else []) == asked
    assert watched_service.canary.heads == []
    assert watched_service.configured() >= watched_service.connections()


def host_of(head: str) -> str:
    """Return the host of a head, and check that it occurs at most once."""
    hosts = [line.partition(":")[2].strip() for line in head.split("\r\n") if line.lower().startswith("host:")]
    return ", ".join(hosts)


def test_addresses_in_a_record_are_never_called(watched_service: WatchedService) -> None:
    """The host and the response in a record do not make the service call v1's address."""
    canary = f"127.0.0.1:{watched_service.canary.port}"
    for host in ("shop", canary, *METADATA):
        fields = {
            "id": "named", "id-source": "x-diff-id", "method": "GET", "path": f"//{canary}/a", "host": host,
            "status": "302", "h-location": f"http://{canary}/", "h-refresh": f"0; url=http://{canary}/",
            "q-traceparent": f"http://{canary}/",
        }  # fmt: skip
        lines = "".join(f"x-shadowdiff-{name}: {value}\r\n" for name, value in fields.items())
        record = f"POST /record HTTP/1.1\r\nhost: {canary}\r\n{lines}content-length: 0\r\n\r\n"
        assert b" 202 " in raw(watched_service.service.ports["records"], record.encode())
    watched_service.ledger()
    assert watched_service.canary.heads == []
    assert watched_service.configured() >= watched_service.connections()


def test_every_connection_is_watched(watched_service: WatchedService, shim: Path, tmp_path: Path) -> None:
    """The shim logs the service's connections, and its test logs a name, an address and a datagram on loopback."""
    assert b" 202 " in raw(
        watched_service.service.ports["mirror"], b"GET / HTTP/1.1\r\nhost: shop\r\nx-diff-id: 1\r\n\r\n"
    )
    watched_service.ledger()
    assert watched_service.configured() == watched_service.connections()
    noted = tmp_path / "connections"
    ran = subprocess.run(
        [sys.executable, "-c", CONNECTING], env={**os.environ, "LD_PRELOAD": str(shim), "CONNECTS": str(noted)},
        capture_output=True, text=True, timeout=WITHIN_S, check=False,
    )  # fmt: skip
    assert 0 == ran.returncode, ran.stderr
    calls = set(noted.read_text().splitlines())
    assert {"connect 127.0.0.1:1", "name localhost", "send 127.0.0.1:3"} <= calls


CONNECTING = """
import asyncio, contextlib, socket, uvloop

async def connects():
    for host, port in (("127.0.0.1", 1), ("localhost", 2)):
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)

uvloop.run(connects())
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 3))
"""


def test_fifty_cases_are_tried() -> None:
    """The list of cases has the expected length."""
    assert len(CASES) >= 50
