"""Input from outside never adds a log line or a terminal sequence, in both log formats.

Each input contains a unique mark. For each mark, the test declares the log line and field, or that the mark is never
logged. The test fails if a field is newly logged or no longer logged.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
import signal
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from redis import Redis

from tests.conftest import free_port_number
from tests.integration.service.conftest import World, serving, settings, target
from tests.integration.service.scripts import v2
from tests.running import WITHIN_S
from tests.security.conftest import raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import RedisServer

TOKEN, HOOKS = "a-token-of-the-release", "a-token-of-the-hooks"
LOGGED_WITHIN_S = 90.0
FORGED = '{"level": "FORGED"}'
ANY = f"\r\n{FORGED}\x00\x1b[31m\x07\x7f\x85\x9b31m\u2028\u2029\u202e\ufeff"
"""For JSON or YAML, where a text may contain any character."""
ON_THE_WIRE = f"\t{FORGED} \x9b31m \x85 \u2028\u2029\u202e\ufeff"
"""For an HTTP field: llhttp rejects CR, LF, NUL and ESC."""
IN_A_TARGET = "%0d%0a%7b%22level%22:%22FORGED%22%7d%1b[31m%00%c2%9b31m%e2%80%a8"
TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) +[\w.]+: \S")


@dataclass(frozen=True)
class MarkedText:
    """A sent text, and its log line and field. An empty line means that the text is never logged."""

    where: str
    mark: str
    line: str = ""
    field: str = ""


@dataclass
class LoggingService:
    """A service, and the marked texts that it received."""

    world: World
    redis: Redis
    prefix: str
    planted: list[MarkedText] = field(default_factory=list[MarkedText])

    def plant(self, where: str, line: str = "", in_field: str = "", *, of: str = ANY) -> str:
        """Return a text that contains a unique mark."""
        mark = f"mark-{len(self.planted):03d}-"
        self.planted.append(MarkedText(where, mark, line, in_field))
        return mark + of

    async def send(self, port: str, head: str, body: str = "") -> bytes:
        """Send a request unchanged; return the response."""
        sent = f"{head}content-length: {len(body.encode())}\r\nconnection: close\r\n\r\n{body}"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.world.service.ports[port])
        writer.write(sent.encode())
        try:
            async with asyncio.timeout(WITHIN_S):
                return await reader.read()
        finally:
            writer.close()

    async def line(self, **fields: Any) -> bytes:
        """Record a response as a line of JSON."""
        record: dict[str, Any] = {"id_source": "x-diff-id", "method": "GET", "path": "/", "host": "shop", "status": 200}
        return await self.send("records", "POST /records HTTP/1.1\r\nhost: s\r\n", json.dumps(record | fields))

    async def api(self, path: str, body: dict[str, Any], *fields: str, method: str = "POST") -> bytes:
        """Call the API."""
        head = "".join(f"{one}\r\n" for one in ("host: localhost", "content-type: application/json", *fields))
        return await self.send("web", f"{method} /api/v1/{path} HTTP/1.1\r\n{head}", json.dumps(body))


@pytest.fixture(params=["json", "text"])
async def logging_service(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path
) -> AsyncIterator[LoggingService]:
    """Run a service that logs everything it can, with a v2 and a webhook receiver that return unusual texts."""
    port, form = free_port_number(), str(request.param)
    prefix, revisions = f"lines{port}", itertools.count()

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(_odd_response(head.split(b" ")[1], next(revisions)))

    shop = target(port, candidate={"revision_header": "x-version"})
    config = settings(
        redis_server.url, shop, store={"prefix": prefix}, log={"format": form, "level": "debug"},
        limits={"compare_ms": 1}, pairing={"window": "2s"},
    )  # fmt: skip
    config["access"] = {
        "tokens": [{"name": "release", "role": "write", "secret": "TOKEN"}], "hooks": "HOOKS",
        "proxy": {"peers": ["127.0.0.0/8"], "user_header": "x-user", "write": ["*"]},
    }  # fmt: skip
    config["webhooks"] = [{"url": f"http://127.0.0.1:{port}/hook", "events": ["fingerprint.new"]}]
    redis = Redis(port=redis_server.port)
    redis.set(f"{prefix}:{{0}}:notify:since:shop", 1)  # without this key, an event in the first second is not sent
    async with v2(answer, port), serving(tmp_path, config, TOKEN=TOKEN, HOOKS=HOOKS) as world:
        world.service.token = TOKEN
        yield LoggingService(world, redis, prefix)
    redis.close()


def _large(number: bytes) -> bytes:
    """Return a body whose comparison takes far longer than allowed on any machine."""
    return b'{"a": [%b]}' % b",".join([number] * 100_000)


def _odd_response(path: bytes, revision: int) -> bytes:
    """Return v2's response with a new revision each time, or the response of the webhook receiver."""
    if path == b"/hook":
        return (
            b"HTTP/1.1 404 mark-reason-" + ON_THE_WIRE.encode() + b"\r\nx: mark-field-\x9b\r\ncontent-length: 0\r\n\r\n"
        )
    if path == b"/garbage":
        return b'mark-garbage-\x00\x1b[31m\r\n{"level": "FORGED"}\r\n\r\n'
    if path == b"/status":
        return b"HTTP/1.1 2xx mark-status-\x1b[31m\r\n\r\n"
    if path == b"/field":
        return b"HTTP/1.1 200 OK\r\nmark-name-\x1b[31m: mark-value-\x9b31m\x00\r\n\r\n"
    body = b'{"a": 2}' if not path.startswith(b"/large/") else _large(b"2")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-version: %b\r\ncontent-length: %d\r\n\r\n%b"
    return head % (b"mark-v2-%d-" % revision + ON_THE_WIRE.encode(), len(body), body)


BY_PROXY = (
    "origin: http://localhost",
    "cookie: shadowdiff_csrf=of-this-test-alone",
    "x-csrf-token: of-this-test-alone",
)


async def _rejected(logging_service: LoggingService) -> None:
    """Repeat a record, and mirror a request whose pair is complete."""
    line = "observation of shop does not fit a pair: duplicate"
    record = {
        "id": logging_service.plant("a record's id", line, "id"),
        "path": "/" + logging_service.plant("a record's path", line, "path"),
    }
    for _ in range(2):
        assert b" 202 " in await logging_service.line(**record)
    line = "observation of shop does not fit a pair: late"
    request_id = logging_service.plant("a request's id", line, "id", of=ON_THE_WIRE)
    path = "/" + logging_service.plant("a request's path", line, "path", of=IN_A_TARGET)
    assert b" 202 " in await logging_service.line(id=request_id)
    mirrored = f"GET {path}?a HTTP/1.1\r\nhost: shop\r\nx-diff-id: {request_id}\r\n"
    assert b" 202 " in await logging_service.send("mirror", mirrored)
    await logging_service.world.service.until(lambda books: books["pairs"]["ready"] == 1)
    assert b" 202 " in await logging_service.send("mirror", mirrored)


async def _large_pair(logging_service: LoggingService, request_id: str, path: str) -> None:
    """Send a pair whose comparison exceeds `compare_ms` or the work budget."""
    body = base64.b64encode(_large(b"1")).decode()
    kind = [["content-type", "application/json"]]
    assert b" 202 " in await logging_service.line(id=request_id, body_base64=body, headers=kind)
    mirrored = f"GET {path} HTTP/1.1\r\nhost: shop\r\nx-diff-id: {request_id}\r\n"
    assert b" 202 " in await logging_service.send("mirror", mirrored)


async def _pairs(logging_service: LoggingService) -> None:
    """Compare a pair that takes too long, and let v2 respond with unusual revisions and bytes."""
    path = "/large/" + logging_service.plant("a path that becomes a route", of=IN_A_TARGET)
    await _large_pair(logging_service, "large", path)
    for request_id, asked in (("garbage", "/garbage"), ("status", "/status"), ("field", "/field")):
        assert b" 202 " in await logging_service.send(
            "mirror", f"GET {asked} HTTP/1.1\r\nhost: shop\r\nx-diff-id: {request_id}\r\n"
        )
    for said in ("garbage", "status", "name", "value", "reason", "field"):
        logging_service.planted.append(MarkedText(f"v2's {said}", f"mark-{said}-"))
    logging_service.planted.append(MarkedText("v2's revision", "mark-v2-", "run started", "revision"))


async def _callers(logging_service: LoggingService) -> None:
    """Change data as the user that the proxy names, and send wrong tokens."""
    line, body = "audit: run started", dict[str, str]()
    who = f"x-user: {logging_service.plant('a user', line, 'user', of=ON_THE_WIRE)}"
    source = f"x-forwarded-for: 10.0.0.1, {logging_service.plant('an address', line, 'source', of=FORGED)}"
    body = {
        "author": logging_service.plant("an author", line, "author"),
        "reason": logging_service.plant("a reason", line, "reason"),
    }
    assert b" 200 " in await logging_service.api("runs?target=shop", body, who, source, *BY_PROXY)
    line = "rejected a wrong token"
    source = f"x-forwarded-for: {logging_service.plant('an address of a wrong token', line, 'from', of=FORGED)}"
    asked = logging_service.plant("a path asked with a wrong token", line, "path", of=IN_A_TARGET)
    wrong = f"authorization: Bearer {logging_service.plant('a wrong token', of=ON_THE_WIRE)}"
    assert b" 401 " in await logging_service.send(
        "web", f"GET /api/v1/{asked} HTTP/1.1\r\nhost: localhost\r\n{wrong}\r\n{source}\r\n"
    )
    line = "hook rejected: wrong token"
    source = f"x-forwarded-for: {logging_service.plant('an address of a hook', line, 'from', of=FORGED)}"
    hook: dict[str, Any] = {
        "name": logging_service.plant("a canary", line, "canary"),
        "namespace": logging_service.plant("a namespace", line, "canary"),
    }
    hook["metadata"] = {
        "target": logging_service.plant("a hook's target"),
        "token": logging_service.plant("a hook's token"),
    }
    assert b" 403 " in await logging_service.api("gates/flagger/check", hook, source)
    source = f"x-forwarded-for: {logging_service.plant('an address of a login', 'login failed', 'from', of=FORGED)}"
    form = f"csrf=of-this-test-alone&token={quote(logging_service.plant('a token of a login'))}"
    fields = "".join(
        f"{one}\r\n"
        for one in ("host: localhost", *BY_PROXY, source, "content-type: application/x-www-form-urlencoded")
    )
    assert b" 401 " in await logging_service.send("web", f"POST /login HTTP/1.1\r\n{fields}", form)


async def _operators(logging_service: LoggingService) -> None:
    """Reload an invalid configuration, and put an invalid rule into the store."""
    line = "config reload failed; keeping previous"
    service = logging_service.world.service
    (shop,) = service.config["targets"]
    service.config["targets"] = [
        shop | {"rules": [{"ignore": logging_service.plant("a rule's path", line, "message")}]}
    ]
    service.write()
    service.send(signal.SIGHUP)
    service.config["targets"] = [shop]
    field = logging_service.plant("a name in the store", "unreadable rule in the store; skipping", "rule")
    logging_service.redis.hset(
        f"{logging_service.prefix}:{{0}}:rules:made", field, logging_service.plant("a value in the store")
    )
    for _ in range(3):
        assert b" 200 " in await logging_service.api("targets", {}, f"authorization: Bearer {TOKEN}", method="GET")


async def _never_logged(logging_service: LoggingService) -> None:
    """Send unusual texts in every field that is never logged."""
    for name in ("id", "id-source", "method", "path", "host", "side", "status", "size", "attempt", "duration-ms", "h-x",
                 "q-traceparent", "trailer-x"):  # fmt: skip
        given = {"id": "a", "id-source": "x-diff-id", "method": "GET", "path": "/", "host": "shop", "status": "200"}
        given |= {name: logging_service.plant(f"a record's {name}", of=ON_THE_WIRE)}
        fields = "".join(f"x-shadowdiff-{key}: {text}\r\n" for key, text in given.items())
        await logging_service.send("records", f"POST /record HTTP/1.1\r\nhost: a\r\n{fields}", "{}")
    for name in ("id_source", "method", "host", "side", "size", "attempt", "duration_ms", "body_base64", "status"):
        await logging_service.line(**({"id": f"unheard-{name}"} | {name: logging_service.plant(f"a line's {name}")}))
    for name in ("headers", "trailers", "request_headers"):
        value = logging_service.plant(f"a line's {name}")
        await logging_service.line(**{"id": f"unheard-{name}", name: [[value, value]]})
    for name in ("x-odd", "host", "x-request-id", "traceparent", "baggage", "user-agent", "x-shadowdiff"):
        header = f"{name}: " + logging_service.plant(f"{name} of a request", of=ON_THE_WIRE)
        await logging_service.send("mirror", f"GET /a HTTP/1.1\r\nhost: shop\r\n{header}\r\n")
    await logging_service.send(
        "mirror", f"GET /a HTTP/1.1\r\nhost: shop\r\n{logging_service.plant('the name of a field', of='')}: 1\r\n"
    )
    for port in ("mirror", "records", "web", "metrics"):
        await asyncio.to_thread(
            raw, logging_service.world.service.ports[port], logging_service.plant(f"no HTTP to {port}").encode()
        )
        asked = logging_service.plant(f"a path of {port}", of=IN_A_TARGET)
        referer = logging_service.plant(f"a referer of {port}", of=ON_THE_WIRE)
        head = f"GET /{asked} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\nreferer: {referer}\r\n"
        await logging_service.send(port, head)
    bearer = f"authorization: Bearer {TOKEN}"
    for path, names in (("rules", ("target", "author", "reason")), ("rules/preview", ("target",)),
                        ("noise?target=shop", ("action",)), ("fingerprints/0/note", ("text", "author"))):  # fmt: skip
        body = {name: logging_service.plant(f"{name} of {path}, refused") for name in names}
        assert re.match(rb"HTTP/1.1 4", await logging_service.api(path, body | {"rule": {}, "rules": []}, bearer))


async def _until_logged(logging_service: LoggingService) -> None:
    """Wait for every expected line. Equal lines are logged once in ten seconds, so send new revisions meanwhile."""
    wanted = {one.line for one in logging_service.planted if one.line} | {"mark-v2-"}
    timed_out = "comparison timed out"
    wanted |= {"webhook delivery failed; giving up", timed_out}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOGGED_WITHIN_S):
            for number in itertools.count():
                wanted = {line for line in wanted if line not in logging_service.world.service.log}
                if not wanted:
                    return
                if timed_out in wanted:
                    await _large_pair(logging_service, f"large-{number}", "/large/again")
                assert b" 202 " in await logging_service.line(id=f"pair-{number}")
                await logging_service.send("mirror", f"GET / HTTP/1.1\r\nhost: shop\r\nx-diff-id: pair-{number}\r\n")
                await asyncio.sleep(0.2)
    assert not wanted, f"not logged within {LOGGED_WITHIN_S} s"


@dataclass(frozen=True)
class Line:
    """A log line: its text, and its fields if the format has them."""

    whole: str
    fields: dict[str, Any]


def _json_line(line: bytes) -> Line:
    """Parse a line of JSON, which must be plain ASCII."""
    assert all(0x20 <= byte < 0x7F for byte in line), line
    fields = json.loads(line)
    assert {"time", "level", "logger", "message"} <= set(fields), line
    assert fields["level"] in {"DEBUG", "INFO", "WARNING", "ERROR"}, line
    return Line(json.dumps(fields, ensure_ascii=False), fields)


def _text_line(line: bytes) -> Line:
    """Parse a line of text that must not contain characters that move, hide or reorder text."""
    text = line.decode()
    assert TEXT_LINE.match(text), line
    assert not {unicodedata.category(char) for char in text} & {"Cc", "Cf", "Cs", "Zl", "Zp"}, line
    return Line(text, {})


def _lines_with(one: MarkedText, lines: list[Line]) -> list[str]:
    """Return the lines that contain a text. JSON lines must have the text in the expected field."""
    found = [line for line in lines if one.mark in line.whole]
    assert all(one.mark in str(line.fields.get(one.field)) for line in found if line.fields), (one, found)
    return [one.line if one.line and one.line in line.whole else line.whole for line in found]


async def test_sent_text_stays_in_its_line(logging_service: LoggingService) -> None:
    """Each text is complete in its one expected line, or in no line."""
    for sends in (_rejected, _pairs, _callers, _operators, _never_logged, _until_logged):
        await sends(logging_service)
    written = (logging_service.world.service.folder / "service.log").read_bytes()
    is_json = logging_service.world.service.config["log"]["format"] == "json"
    lines = [_json_line(line) if is_json else _text_line(line) for line in written.split(b"\n")[:-1]]
    logged = {one.where: _lines_with(one, lines) for one in logging_service.planted}
    assert {one.where: [one.line] if one.line else [] for one in logging_service.planted} == logged


async def test_every_change_has_a_line_of_its_own(logging_service: LoggingService) -> None:
    """Similar changes at the same time do not hide each other."""
    for number in range(30):
        body = {"author": "ada", "reason": f"reason-{number:02d}"}
        assert b" 200 " in await logging_service.api("runs?target=shop", body, f"authorization: Bearer {TOKEN}")
    changes = [line for line in logging_service.world.service.log.splitlines() if "audit: run started" in line]
    assert [f"reason-{number:02d}" for number in range(30)] == [re.findall(r"reason-\d\d", line)[0] for line in changes]
