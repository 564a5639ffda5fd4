"""What a request says does not move the candidate's address, nor does what v2 answers.

One service serves all of these, and every connection that it, or a process of its own, opens is noted by a shim. Its v2
notes what it is asked; a canary stands where an attacker would lead it. What became of each request is told by v2 and
the books.
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
    """A server that notes the head of whatever it is asked; asked for `/redirect-30x`, it sends one elsewhere."""

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
                    self.wfile.write(noted.answer(head.split(b" ")[1].decode("latin-1")))

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, path: str) -> bytes:
        """Return an answer whose every field that names a place names another one."""
        _, redirects, status = path.partition("/redirect-")
        to = self.elsewhere
        fields = (f"location: {to}", f"content-location: {to}", f"refresh: 0; url={to}", f"link: <{to}>; rel=preload",
                  f'alt-svc: h2="{to.partition("://")[2].partition("/")[0]}"', "content-length: 2")  # fmt: skip
        return "\r\n".join((f"HTTP/1.1 {status[:3] if redirects else '200'} Told", *fields, "", "{}")).encode()

    @property
    def port(self) -> int:
        """The port."""
        return int(self.server.server_address[1])

    def close(self) -> None:
        """End it."""
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Ground:
    """The service, its v2, the canary, and the file that notes where the service connects to."""

    service: Service
    candidate: Listener
    canary: Listener
    store: str
    noted: Path
    sent: int = 0

    def heads_of(self, request_id: str) -> list[str]:
        """Return what v2 was asked under an id."""
        return [head for head in list(self.candidate.heads) if f"x-request-id: {request_id}\r\n" in head.lower()]

    def books(self) -> dict[str, int]:
        """Return what became of all requests so far, once nothing is on its way."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            rows = {name: self.service.ledger(name)["mirrored"] for name in ("shop", "_unknown")}
            if not any(row["in_flight"] for row in rows.values()):
                return {f"{name} {what}": count for name, row in rows.items() for what, count in row.items()}
            assert time.monotonic() < deadline, rows
            time.sleep(0.01)

    def connections(self) -> set[str]:
        """Return where the service has connected to, what it has sent to, and which names it has looked up."""
        return set(self.noted.read_text().splitlines())

    def where_it_should(self) -> set[str]:
        """Return the connections that the configuration asks for."""
        return {f"connect 127.0.0.1:{self.candidate.port}", f"connect {self.store}"}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the shim that notes connections."""
    built = tmp_path_factory.mktemp("shim") / "connects.so"
    subprocess.run([needs_tool("cc"), "-shared", "-fPIC", "-O1", "-o", built, SOURCE, "-ldl"], check=True)
    return built


@pytest.fixture(scope="module")
def ground(redis_server: RedisServer, shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
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
        yield Ground(service, candidate, canary, f"127.0.0.1:{redis_server.port}", noted)
        assert service.stop() == 0
    finally:
        canary.close()
        candidate.close()


class Case(NamedTuple):
    """A request as it is written, where CANARY is the canary's address, and where it may lead.

    becomes: what the books call it; `refused`: it is no request, and in no book.  path: what v2 is asked, behind its
    own.
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
    """Return requests that try to lead v2's client elsewhere."""
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
def test_the_candidate_is_named_by_configuration_alone(ground: Ground, name: str) -> None:
    """No host, no target, no field and no redirect leads elsewhere: it asks v2, below the path given, or nobody."""
    case, canary = CASES[name], f"127.0.0.1:{ground.canary.port}"
    ground.sent += 1
    known = f"case-{ground.sent}"
    before = ground.books()
    sent = f"{case.request.replace('CANARY', canary)}x-diff-id: {known}\r\nx-request-id: {known}\r\n\r\n"
    answer = raw(ground.service.ports["mirror"], sent.encode())
    after = ground.books()
    became = {what for what in after if after[what] > before[what] and not what.endswith(" received")}
    assert (set() if case.becomes == "refused" else {case.becomes}) == became
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (b"400" if case.becomes == "refused" else b"202", b"") == (head.split(b" ")[1], body)
    asked = [f"{head.split(' ')[1]} of {host_of(head)}" for head in ground.heads_of(known)]
    wanted = f"{BASE}{case.path.replace('CANARY', canary)} of 127.0.0.1:{ground.candidate.port}"
    assert ([wanted] if case.path else []) == asked
    assert ground.canary.heads == []
    assert ground.where_it_should() >= ground.connections()


def host_of(head: str) -> str:
    """Return what a head names as its host, once or not at all."""
    hosts = [line.partition(":")[2].strip() for line in head.split("\r\n") if line.lower().startswith("host:")]
    return ", ".join(hosts)


def test_a_record_that_names_places_leads_nowhere(ground: Ground) -> None:
    """Neither its host nor the answer that it tells of: nobody asks what v1 was asked."""
    canary = f"127.0.0.1:{ground.canary.port}"
    for host in ("shop", canary, *METADATA):
        fields = {
            "id": "named", "id-source": "x-diff-id", "method": "GET", "path": f"//{canary}/a", "host": host,
            "status": "302", "h-location": f"http://{canary}/", "h-refresh": f"0; url=http://{canary}/",
            "q-traceparent": f"http://{canary}/",
        }  # fmt: skip
        told = "".join(f"x-shadowdiff-{name}: {value}\r\n" for name, value in fields.items())
        record = f"POST /record HTTP/1.1\r\nhost: {canary}\r\n{told}content-length: 0\r\n\r\n"
        assert b" 202 " in raw(ground.service.ports["records"], record.encode())
    ground.books()
    assert ground.canary.heads == []
    assert ground.where_it_should() >= ground.connections()


def test_every_connection_is_watched(ground: Ground, shim: Path, tmp_path: Path) -> None:
    """The watch notes what the service must connect to; and a name, an address or a datagram of the same loop, too."""
    assert b" 202 " in raw(ground.service.ports["mirror"], b"GET / HTTP/1.1\r\nhost: shop\r\nx-diff-id: 1\r\n\r\n")
    ground.books()
    assert ground.where_it_should() == ground.connections()
    noted = tmp_path / "connections"
    ran = subprocess.run(
        [sys.executable, "-c", CONNECTING], env={**os.environ, "LD_PRELOAD": str(shim), "CONNECTS": str(noted)},
        capture_output=True, text=True, timeout=WITHIN_S, check=False,
    )  # fmt: skip
    assert 0 == ran.returncode, ran.stderr
    told = set(noted.read_text().splitlines())
    assert {"connect 127.0.0.1:1", "name localhost", "send 127.0.0.1:3"} <= told


CONNECTING = """
import asyncio, contextlib, socket, uvloop

async def connects():
    for host, port in (("127.0.0.1", 1), ("localhost", 2)):
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)

uvloop.run(connects())
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 3))
"""


def test_there_are_fifty_ways_tried() -> None:
    """So that none is lost without being noticed."""
    assert len(CASES) >= 50
