"""What a request says moves neither the candidate's address nor a line of the log.

One service serves all of these. Its v2 notes what it is asked; a canary stands where an attacker would lead it.
"""

from __future__ import annotations

import json
import socketserver
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.integration.service.conftest import settings, target
from tests.running import WITHIN_S, Service
from tests.security.conftest import raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RedisServer

BASE = "/base"


@dataclass
class Listener:
    """A server that notes the head of whatever it is asked; asked for `redirect`, it sends the client elsewhere."""

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
                    status = b"302 Found" if b"redirect" in head.split(b"\r\n")[0] else b"200 OK"
                    location = f"location: {noted.elsewhere}\r\nrefresh: 0; url={noted.elsewhere}\r\n".encode()
                    self.wfile.write(b"HTTP/1.1 " + status + b"\r\n" + location + b"content-length: 2\r\n\r\n{}")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

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
    """The service, its v2, and the canary."""

    service: Service
    candidate: Listener
    canary: Listener
    sent: int = 0

    def until_asked(self, request_id: str) -> None:
        """Wait until v2 was asked this."""
        deadline = time.monotonic() + WITHIN_S
        while not any(f"x-request-id: {request_id}\r\n" in head.lower() for head in list(self.candidate.heads)):
            assert time.monotonic() < deadline, self.service.log[-2000:]
            time.sleep(0.01)

    def mirror(self, request: str) -> bytes:
        """Send a mirrored request as it is written, then a plain one, and return the first answer."""
        self.sent += 1
        answer = raw(self.service.ports["mirror"], request.encode("utf-8", "surrogateescape"))
        last = f"plain-{self.sent}"
        plain = f"GET /plain HTTP/1.1\r\nhost: shop\r\nx-request-id: {last}\r\nx-diff-id: {last}\r\n\r\n"
        assert b" 202 " in raw(self.service.ports["mirror"], plain.encode())
        self.until_asked(last)
        return answer


@pytest.fixture(scope="module")
def ground(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Run the service for all tests of this file."""
    canary = Listener()
    candidate = Listener(elsewhere=f"http://127.0.0.1:{canary.port}/stolen")
    shop = target(candidate.port, candidate={"url": f"http://127.0.0.1:{candidate.port}{BASE}"})
    shop["methods"] = ["GET", "HEAD", "OPTIONS", "POST", "CONNECT"]
    kept = {"store": {"prefix": f"hostile{candidate.port}"}, "log": {"level": "debug", "format": "json"}}
    service = Service(tmp_path_factory.mktemp("hostile"), settings(redis_server.url, shop, **kept))
    service.start()
    try:
        yield Ground(service, candidate, canary)
    finally:
        assert service.stop() == 0
        canary.close()
        candidate.close()


def _cases() -> dict[str, str]:
    """Return requests that try to lead v2's client elsewhere; CANARY is the canary's address."""
    metadata = ("169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "100.100.100.200")
    hosts = (
        "CANARY", "shop@CANARY", "shop:80@CANARY", "shop#@CANARY", "CANARY#shop", "shop\\@CANARY", "shop%00.CANARY",
        "shop, CANARY", "shop CANARY", "CANARY/shop", "shop?@CANARY", "localhost:1", "0", "127.1", "[::]", *metadata,
    )  # fmt: skip
    cases = {f"host {host}": f"GET /a HTTP/1.1\r\nhost: {host}\r\n" for host in hosts}
    targets = (
        "http://CANARY/a", "https://CANARY/a", "http://shop@CANARY/a", "http://CANARY", "//CANARY/a", "///CANARY/a",
        "/\\CANARY/a", "\\\\CANARY\\a", "@CANARY/a", "/@CANARY/", "CANARY", ":80@CANARY/", ".CANARY/", "/..//CANARY/a",
        "/../../a", "/%2e%2e/%2e%2e/a", "/..%2f..%2fa", "/a/..;/b", "/%2f%2fCANARY/a", "/a%0d%0ahost:%20CANARY",
        "/a?url=http://CANARY/", "/a?next=//CANARY", "/a#@CANARY/", "file:///etc/passwd", "gopher://CANARY/a", "*",
        "/redirect", "/redirect/again?to=http://CANARY/", "http:CANARY/a", "/%00@CANARY",
        *(f"http://{address}/latest/meta-data/" for address in metadata),
    )  # fmt: skip
    cases |= {f"target {line}": f"GET {line} HTTP/1.1\r\nhost: shop\r\n" for line in targets}
    headers = (
        "x-forwarded-host: CANARY", "forwarded: host=CANARY", "x-original-url: http://CANARY/a", "x-host: CANARY",
        "x-rewrite-url: //CANARY", "x-envoy-original-dst-host: CANARY", "proxy: http://CANARY", "http-proxy: CANARY",
        "host: CANARY", "referer: http://CANARY/", "x-forwarded-server: CANARY", "x-real-ip: 169.254.169.254",
    )  # fmt: skip
    cases |= {f"header {line}": f"GET /a HTTP/1.1\r\nhost: shop\r\n{line}\r\n" for line in headers}
    return cases | {"connect": "CONNECT CANARY HTTP/1.1\r\nhost: shop\r\n"}


CASES = _cases()


@pytest.mark.parametrize("name", list(CASES))
def test_the_candidate_is_named_by_configuration_alone(ground: Ground, name: str) -> None:
    """No host, no request target, no header and no redirect leads elsewhere, nor above the configured path."""
    asked = len(ground.candidate.heads)
    ids = f"x-diff-id: case-{ground.sent}\r\nx-request-id: case-{ground.sent}\r\n"
    request = CASES[name].replace("CANARY", f"127.0.0.1:{ground.canary.port}") + ids + "\r\n"
    answer = ground.mirror(request)
    assert answer.split(b" ")[1:2] in ([b"202"], [b"400"], []), answer
    assert ground.canary.heads == []
    for head in ground.candidate.heads[asked:]:
        assert head.split(" ")[1].startswith(BASE + "/"), head
        assert f"\r\nhost: 127.0.0.1:{ground.candidate.port}\r\n" in head.lower(), head


def test_there_are_fifty_ways_tried() -> None:
    """So that none is lost without being noticed."""
    assert len(CASES) >= 50


HOSTILE = (
    'a\\r\\nb{"level":"forged"}',
    "%0d%0a%1b[31m%00",
    "\x1b[2J\x1b[31mred\x1b[0m",
    "\x9b31m",
    "\x7f\x08\x08",
    "\u2028\u2029\u202e\ufeff",
    '"}\x0b\x0c{"',
    "\ud800",
)
"""What is no line end to HTTP and may be one to a log, a terminal or a reader of JSON."""


def test_no_field_of_a_request_makes_a_second_line_of_the_log(ground: Ground) -> None:
    """Every line is one JSON object of plain ASCII, whatever came in by whichever port and field."""
    ports = ground.service.ports
    for odd in HOSTILE:
        text = odd.encode("utf-8", "surrogatepass").decode("latin-1")
        wire = "".join(char for char in text if char not in "\r\n\x00")
        quoted = json.dumps(odd + "\r\n\x00\x1b")
        for port, request in (
            ("mirror", f"GET /a{wire} HTTP/1.1\r\nhost: {wire}\r\nx-diff-id: {wire}\r\n\r\n"),
            ("mirror", f"G{wire} / HTTP/1.1\r\nhost: shop\r\nx-diff-id: {wire}\r\n\r\n"),
            ("mirror", f"GET / HTTP/1.1\r\nhost: shop\r\nx-request-id: {wire}\r\nx-shadowdiff: {wire}\r\n\r\n"),
            *(("records", _record(one, wire)) for one in ("id", "id-source", "method", "path", "host", "side")),
            *(("records", _record(one, wire)) for one in ("status", "size", "attempt", "duration-ms", "h-x")),
            *(("records", _line(one, quoted)) for one in ("id", "id_source", "method", "path", "host", "side")),
            *(("records", _line(one, f"[[{quoted},{quoted}]]")) for one in ("headers", "trailers", "request_headers")),
            *(("records", _line(one, quoted)) for one in ("size", "attempt", "duration_ms", "body_base64")),
            ("records", f"POST /records HTTP/1.1\r\nhost: a\r\ncontent-length: {len(wire)}\r\n\r\n{wire}"),
            ("web", f"GET /api/v1/targets/{wire} HTTP/1.1\r\nhost: localhost\r\nreferer: {wire}\r\n\r\n"),
            ("web", f"GET /{wire} HTTP/1.1\r\nhost: {wire}\r\nauthorization: Bearer {wire}\r\n\r\n"),
            ("web", _json_post("/api/v1/rules", f'{{"target":{quoted},"author":{quoted},"rule":{{}},"reason":"a"}}')),
            ("web", _json_post("/api/v1/epochs?target=shop", f'{{"author":{quoted},"reason":{quoted}}}')),
            (
                "web",
                _json_post("/api/v1/noise?target=shop", f'{{"action":"forget","author":{quoted},"reason":{quoted}}}'),
            ),
            ("web", _json_post("/api/v1/fingerprints/0/note", f'{{"text":{quoted},"author":{quoted}}}')),
            (
                "web",
                _json_post(
                    f"/api/v1/rules/preview?target={quote(odd, errors='surrogatepass')}", f'{{"rules":[{quoted}]}}'
                ),
            ),
            ("web", f"GET /api/v1/samples/{quote(odd, errors='surrogatepass')} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
            ("web", _json_post("/api/v1/gates/flagger/event", f'{{"name":{quoted},"namespace":{quoted}}}')),
            ("metrics", f"GET /{wire} HTTP/1.1\r\nhost: {wire}\r\n\r\n"),
        ):
            raw(ports[port], request.encode("latin-1"))
    ground.mirror("GET /last HTTP/1.1\r\nhost: shop\r\n\r\n")
    written = (ground.service.folder / "service.log").read_bytes()
    lines = written.split(b"\n")[:-1]
    assert any(b"an epoch was opened by hand" in line for line in lines)
    for line in lines:
        assert all(0x20 <= byte < 0x7F for byte in line), line
        said = json.loads(line)
        assert {"time", "level", "message"} <= set(said)
        assert said["level"] != "forged"


def _record(name: str, value: str) -> str:
    given = {"id": "a", "id-source": "x-diff-id", "method": "GET", "path": "/", "host": "shop", "status": "200"}
    fields = "".join(f"x-shadowdiff-{key}: {text}\r\n" for key, text in (given | {name: value}).items())
    return f"POST /record HTTP/1.1\r\nhost: a\r\n{fields}content-length: 2\r\n\r\n{{}}"


def _line(field: str, quoted: str) -> str:
    given = {"id": '"a"', "id_source": '"x-diff-id"', "method": '"GET"', "path": '"/"', "host": '"shop"'}
    body = ",".join(f'"{name}":{text}' for name, text in (given | {"status": "200", field: quoted}).items())
    return f"POST /records HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body) + 2}\r\n\r\n{{{body}}}"


def _json_post(path: str, body: str) -> str:
    return (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    )
