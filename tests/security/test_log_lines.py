"""What anybody sends makes no line of the log of its own, and no sequence for a terminal, in either form of the log.

Each text that is sent bears a mark of its own. Of each it is said beforehand where in the log it belongs, in which line
and field, or that it belongs nowhere: so a field that begins to be logged, or ends to be, is noticed.
"""

from __future__ import annotations

import asyncio
import base64
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
TOLD_WITHIN_S = 90.0
FORGED = '{"level": "FORGED"}'
ANY = f"\r\n{FORGED}\x00\x1b[31m\x07\x7f\x85\x9b31m\u2028\u2029\u202e\ufeff"
"""For what comes as JSON or YAML, where a text may hold any character."""
ON_THE_WIRE = f"\t{FORGED} \x9b31m \x85 \u2028\u2029\u202e\ufeff"
"""For a field of HTTP: llhttp takes CR, LF, NUL and ESC in none."""
IN_A_TARGET = "%0d%0a%7b%22level%22:%22FORGED%22%7d%1b[31m%00%c2%9b31m%e2%80%a8"
TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) +[\w.]+: \S")


@dataclass(frozen=True)
class Planted:
    """A text that was sent somewhere, and the field of the line in which it belongs; an empty line: nowhere."""

    where: str
    mark: str
    line: str = ""
    field: str = ""


@dataclass
class Garden:
    """A service, and what was planted in it."""

    world: World
    redis: Redis
    prefix: str
    planted: list[Planted] = field(default_factory=list[Planted])

    def plant(self, where: str, line: str = "", told_in: str = "", *, of: str = ANY) -> str:
        """Return a text to send there."""
        mark = f"mark-{len(self.planted):03d}-"
        self.planted.append(Planted(where, mark, line, told_in))
        return mark + of

    async def send(self, port: str, head: str, body: str = "") -> bytes:
        """Send a request as it is written; return the answer."""
        sent = f"{head}content-length: {len(body.encode())}\r\nconnection: close\r\n\r\n{body}"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.world.service.ports[port])
        writer.write(sent.encode())
        try:
            async with asyncio.timeout(WITHIN_S):
                return await reader.read()
        finally:
            writer.close()

    async def line(self, **fields: Any) -> bytes:
        """Record an answer as a line of JSON."""
        told: dict[str, Any] = {"id_source": "x-diff-id", "method": "GET", "path": "/", "host": "shop", "status": 200}
        return await self.send("records", "POST /records HTTP/1.1\r\nhost: s\r\n", json.dumps(told | fields))

    async def api(self, path: str, body: dict[str, Any], *fields: str, method: str = "POST") -> bytes:
        """Ask the API."""
        told = "".join(f"{one}\r\n" for one in ("host: localhost", "content-type: application/json", *fields))
        return await self.send("web", f"{method} /api/v1/{path} HTTP/1.1\r\n{told}", json.dumps(body))


@pytest.fixture(params=["json", "text"])
async def garden(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Garden]:
    """Run a service that logs all it can, whose v2 and whose receiver of news say odd things."""
    port, form = free_port_number(), str(request.param)
    prefix, revisions = f"lines{port}", itertools.count()

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(_odd_answer(head.split(b" ")[1], next(revisions)))

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
    redis.set(f"{prefix}:{{0}}:notify:since:shop", 1)  # else what is new in the first second is no news
    async with v2(answer, port), serving(tmp_path, config, TOKEN=TOKEN, HOOKS=HOOKS) as world:
        world.service.token = TOKEN
        yield Garden(world, redis, prefix)
    redis.close()


def _large(number: bytes) -> bytes:
    """Return a body that takes many times as long to compare as it may, on any machine."""
    return b'{"a": [%b]}' % b",".join([number] * 100_000)


def _odd_answer(path: bytes, revision: int) -> bytes:
    """Return what v2 says, each time as another revision, and what the receiver of news does."""
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
    told = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-version: %b\r\ncontent-length: %d\r\n\r\n%b"
    return told % (b"mark-v2-%d-" % revision + ON_THE_WIRE.encode(), len(body), body)


BY_PROXY = (
    "origin: http://localhost",
    "cookie: shadowdiff_csrf=of-this-test-alone",
    "x-csrf-token: of-this-test-alone",
)


async def _misfits(garden: Garden) -> None:
    """Repeat a record, and mirror a request whose pair is made."""
    line = "an observation of shop fits no pair: duplicate"
    record = {
        "id": garden.plant("a record's id", line, "id"),
        "path": "/" + garden.plant("a record's path", line, "path"),
    }
    for _ in range(2):
        assert b" 202 " in await garden.line(**record)
    line = "an observation of shop fits no pair: late"
    request_id = garden.plant("a request's id", line, "id", of=ON_THE_WIRE)
    path = "/" + garden.plant("a request's path", line, "path", of=IN_A_TARGET)
    assert b" 202 " in await garden.line(id=request_id)
    mirrored = f"GET {path}?a HTTP/1.1\r\nhost: shop\r\nx-diff-id: {request_id}\r\n"
    assert b" 202 " in await garden.send("mirror", mirrored)
    await garden.world.service.until(lambda books: books["pairs"]["ready"] == 1)
    assert b" 202 " in await garden.send("mirror", mirrored)


async def _pairs(garden: Garden) -> None:
    """Have a pair compared that takes too long, and v2 answer by odd revisions and odd bytes."""
    path = "/large/" + garden.plant("a path that becomes a route", of=IN_A_TARGET)
    body = base64.b64encode(_large(b"1")).decode()
    kind = [["content-type", "application/json"]]
    assert b" 202 " in await garden.line(id="large", body_base64=body, headers=kind)
    for request_id, asked in (("large", path), ("garbage", "/garbage"), ("status", "/status"), ("field", "/field")):
        assert b" 202 " in await garden.send(
            "mirror", f"GET {asked} HTTP/1.1\r\nhost: shop\r\nx-diff-id: {request_id}\r\n"
        )
    for said in ("garbage", "status", "name", "value", "reason", "field"):
        garden.planted.append(Planted(f"v2's {said}", f"mark-{said}-"))
    garden.planted.append(Planted("v2's revision", "mark-v2-", "an epoch is open", "revision"))


async def _callers(garden: Garden) -> None:
    """Change something as whoever the proxy names, and bring wrong tokens."""
    line, body = "audit: an epoch was opened by hand", dict[str, str]()
    who = f"x-user: {garden.plant('a user', line, 'who', of=ON_THE_WIRE)}"
    source = f"x-forwarded-for: 10.0.0.1, {garden.plant('an address', line, 'from', of=FORGED)}"
    body = {"author": garden.plant("an author", line, "author"), "reason": garden.plant("a reason", line, "why")}
    assert b" 200 " in await garden.api("epochs?target=shop", body, who, source, *BY_PROXY)
    line = "a wrong token was brought"
    source = f"x-forwarded-for: {garden.plant('an address of a wrong token', line, 'from', of=FORGED)}"
    asked = garden.plant("a path asked with a wrong token", line, "path", of=IN_A_TARGET)
    wrong = f"authorization: Bearer {garden.plant('a wrong token', of=ON_THE_WIRE)}"
    assert b" 401 " in await garden.send(
        "web", f"GET /api/v1/{asked} HTTP/1.1\r\nhost: localhost\r\n{wrong}\r\n{source}\r\n"
    )
    line = "a hook brought a wrong token"
    source = f"x-forwarded-for: {garden.plant('an address of a hook', line, 'from', of=FORGED)}"
    hook: dict[str, Any] = {
        "name": garden.plant("a canary", line, "canary"),
        "namespace": garden.plant("a namespace", line, "canary"),
    }
    hook["metadata"] = {"target": garden.plant("a hook's target"), "token": garden.plant("a hook's token")}
    assert b" 403 " in await garden.api("gates/flagger/check", hook, source)
    source = f"x-forwarded-for: {garden.plant('an address of a login', 'a login failed', 'from', of=FORGED)}"
    form = f"csrf=of-this-test-alone&token={quote(garden.plant('a token of a login'))}"
    fields = "".join(
        f"{one}\r\n"
        for one in ("host: localhost", *BY_PROXY, source, "content-type: application/x-www-form-urlencoded")
    )
    assert b" 401 " in await garden.send("web", f"POST /login HTTP/1.1\r\n{fields}", form)


async def _operators(garden: Garden) -> None:
    """Reload a configuration that is wrong, and leave a rule in the store that is none."""
    line = "the new configuration is wrong, the old one stays"
    service = garden.world.service
    (shop,) = service.config["targets"]
    service.config["targets"] = [shop | {"rules": [{"ignore": garden.plant("a rule's path", line, "message")}]}]
    service.write()
    service.send(signal.SIGHUP)
    service.config["targets"] = [shop]
    field = garden.plant("a name in the store", "a rule in the store cannot be read", "rule")
    garden.redis.hset(f"{garden.prefix}:{{0}}:rules:made", field, garden.plant("a value in the store"))
    for _ in range(3):
        assert b" 200 " in await garden.api("targets", {}, f"authorization: Bearer {TOKEN}", method="GET")


async def _unheard(garden: Garden) -> None:
    """Say odd things in every field that is never logged."""
    for name in ("id", "id-source", "method", "path", "host", "side", "status", "size", "attempt", "duration-ms", "h-x",
                 "q-traceparent", "trailer-x"):  # fmt: skip
        given = {"id": "a", "id-source": "x-diff-id", "method": "GET", "path": "/", "host": "shop", "status": "200"}
        given |= {name: garden.plant(f"a record's {name}", of=ON_THE_WIRE)}
        fields = "".join(f"x-shadowdiff-{key}: {text}\r\n" for key, text in given.items())
        await garden.send("records", f"POST /record HTTP/1.1\r\nhost: a\r\n{fields}", "{}")
    for name in ("id_source", "method", "host", "side", "size", "attempt", "duration_ms", "body_base64", "status"):
        await garden.line(**({"id": f"unheard-{name}"} | {name: garden.plant(f"a line's {name}")}))
    for name in ("headers", "trailers", "request_headers"):
        told = garden.plant(f"a line's {name}")
        await garden.line(**{"id": f"unheard-{name}", name: [[told, told]]})
    for name in ("x-odd", "host", "x-request-id", "traceparent", "baggage", "user-agent", "x-shadowdiff"):
        told = f"{name}: " + garden.plant(f"{name} of a request", of=ON_THE_WIRE)
        await garden.send("mirror", f"GET /a HTTP/1.1\r\nhost: shop\r\n{told}\r\n")
    await garden.send("mirror", f"GET /a HTTP/1.1\r\nhost: shop\r\n{garden.plant('the name of a field', of='')}: 1\r\n")
    for port in ("mirror", "records", "web", "metrics"):
        await asyncio.to_thread(raw, garden.world.service.ports[port], garden.plant(f"no HTTP to {port}").encode())
        asked = garden.plant(f"a path of {port}", of=IN_A_TARGET)
        told = garden.plant(f"a referer of {port}", of=ON_THE_WIRE)
        head = f"GET /{asked} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\nreferer: {told}\r\n"
        await garden.send(port, head)
    bearer = f"authorization: Bearer {TOKEN}"
    for path, names in (("rules", ("target", "author", "reason")), ("rules/preview", ("target",)),
                        ("noise?target=shop", ("action",)), ("fingerprints/0/note", ("text", "author"))):  # fmt: skip
        body = {name: garden.plant(f"{name} of {path}, refused") for name in names}
        assert re.match(rb"HTTP/1.1 4", await garden.api(path, body | {"rule": {}, "rules": []}, bearer))


async def _until_told(garden: Garden) -> None:
    """Wait for every line that is to come: equal ones are said once in ten seconds, so revisions go on to come."""
    wanted = {one.line for one in garden.planted if one.line} | {"mark-v2-"}
    wanted |= {"a receiver was not told: it is given up", "a comparison took too long"}
    async with asyncio.timeout(TOLD_WITHIN_S):
        for number in itertools.count():
            if all(line in garden.world.service.log for line in wanted):
                return
            assert b" 202 " in await garden.line(id=f"pair-{number}")
            await garden.send("mirror", f"GET / HTTP/1.1\r\nhost: shop\r\nx-diff-id: pair-{number}\r\n")
            await asyncio.sleep(0.2)


@dataclass(frozen=True)
class Line:
    """A line of the log: as it is written, and its fields, where these are told apart."""

    whole: str
    fields: dict[str, Any]


def _json_line(line: bytes) -> Line:
    """Read a line of JSON, which must be plain ASCII."""
    assert all(0x20 <= byte < 0x7F for byte in line), line
    fields = json.loads(line)
    assert {"time", "level", "logger", "message"} <= set(fields), line
    assert fields["level"] in {"DEBUG", "INFO", "WARNING", "ERROR"}, line
    return Line(json.dumps(fields, ensure_ascii=False), fields)


def _text_line(line: bytes) -> Line:
    """Read a line of text, in which nothing moves, hides or reorders anything."""
    text = line.decode()
    assert TEXT_LINE.match(text), line
    assert not {unicodedata.category(char) for char in text} & {"Cc", "Cf", "Cs", "Zl", "Zp"}, line
    return Line(text, {})


def _where(one: Planted, lines: list[Line]) -> list[str]:
    """Return the lines in which a text is found; those of JSON have it in the field where it belongs."""
    found = [line for line in lines if one.mark in line.whole]
    assert all(one.mark in str(line.fields.get(one.field)) for line in found if line.fields), (one, found)
    return [one.line if one.line and one.line in line.whole else line.whole for line in found]


async def test_whatever_is_sent_stays_in_its_line(garden: Garden) -> None:
    """Each text is in the one line where it belongs, with all that it holds, or in none."""
    for sends in (_misfits, _pairs, _callers, _operators, _unheard, _until_told):
        await sends(garden)
    written = (garden.world.service.folder / "service.log").read_bytes()
    is_json = garden.world.service.config["log"]["format"] == "json"
    lines = [_json_line(line) if is_json else _text_line(line) for line in written.split(b"\n")[:-1]]
    told = {one.where: _where(one, lines) for one in garden.planted}
    assert {one.where: [one.line] if one.line else [] for one in garden.planted} == told


async def test_every_change_has_a_line_of_its_own(garden: Garden) -> None:
    """However many alike come at once: none is made unseen in the shade of another."""
    for number in range(30):
        body = {"author": "ada", "reason": f"reason-{number:02d}"}
        assert b" 200 " in await garden.api("epochs?target=shop", body, f"authorization: Bearer {TOKEN}")
    changes = [line for line in garden.world.service.log.splitlines() if "audit: an epoch was opened by hand" in line]
    assert [f"reason-{number:02d}" for number in range(30)] == [re.findall(r"reason-\d\d", line)[0] for line in changes]
