"""Send hundreds of secrets through a whole service in every position. No secret is stored or shown in plain text.

The test searches every Redis key and value, decrypted with the service's own key; the files on disk, the dump and the
append-only file; the log; the metrics; every API operation with samples; every page and exported file; the output of
the commands; webhooks and spans. The test also checks the search: without redaction it finds the secrets.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.error import HTTPError
from urllib.parse import quote, urlencode

import pytest
from click.testing import CliRunner

from shadowdiff.cli import main
from shadowdiff.store import Store, connect
from tests.fakes.collector import attributes, collecting
from tests.fakes.webhook_receiver import WebhookReceiver, serving_receiver
from tests.integration.service.conftest import serving, settings, target
from tests.integration.service.scripts import response, v2
from tests.integration.service.test_notifications import earlier_process

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.fakes.collector import Collector
    from tests.integration.service.scripts import Answer
    from tests.running import Service

KEY: Final = b"0123456789abcdef0123456789abcdef"
NO_PATCH: Final = 422
"""The status of an export if the sample is not JSON."""
_WORDS: Final = ("Qzv", "Wkx", "Jhg", "Ypt", "Bnm", "Fdr", "Lcs", "Gtk")
PLAIN: Final = {"ordinary": "Kettle-of-copper"}
"""Words that are not secret and must be found, so the search is known to read the right data."""


def _secret(number: int) -> str:
    """Return a unique secret without a recognizable pattern."""
    return f"{_WORDS[number % 8]}{number:03d}{_WORDS[(number // 8) % 8].lower()}pw{_WORDS[number * 5 % 8]}"


def _card(number: int) -> str:
    """Return a card number with the right check digit."""
    body = f"4539{number:011d}"
    doubled = sum(sum(divmod(2 * int(one), 10)) for one in body[::-2])
    return body + str(-(doubled + sum(int(one) for one in body[-2::-2])) % 10)


def _iban(number: int) -> str:
    account = f"{37040044:08d}{532013000 + number:010d}"
    return f"DE{98 - int(account + '131400') % 97:02d}{account}"


def _by_pattern(number: int) -> str:
    """Return a secret with a recognizable pattern."""
    tail = f"{number:04d}" + "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1z"
    made = (
        _card(number), _iban(number), f"jo.{number}.doe@mail{number}.example.com", f"AKIA{number:04d}QWERTYUIOPAS",
        f"ghp_{tail}9", f"sk_live_{tail}", f"xoxb-{tail}", f"AIza{tail}", f"glpat-{tail}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx{number:04d}fQ.c2lnbmF0dXJl{number:04d}", f"SG.{tail}.{tail}",
        f"npm_{tail}x",
    )  # fmt: skip
    return made[number % len(made)]


class Planted:
    """Bodies, headers and paths full of recorded secrets."""

    def __init__(self) -> None:
        self.secrets: list[str] = []
        self.named_ones: list[str] = []
        self.requests: list[tuple[str, dict[str, str], str, str]] = []

    def named(self) -> str:
        """Return a new secret that its name identifies."""
        self.secrets.append(_secret(len(self.secrets)))
        self.named_ones.append(self.secrets[-1])
        return self.secrets[-1]

    def seen(self) -> str:
        """Return a new secret that its pattern identifies."""
        self.secrets.append(_by_pattern(len(self.secrets)))
        return self.secrets[-1]

    def add(self, kind: str, body: str, path: str = "/", **headers: str) -> None:
        """Plant a request with `body` of this content type as its response."""
        self.requests.append((path, headers, body, kind))


def planted() -> Planted:
    """Return more than two hundred secrets in every position."""
    made = Planted()
    named, seen = made.named, made.seen
    for name in ("authorization", "x-api-key", "x-auth-token", "x-csrf-token", "x-secret", "cookie"):
        value = f"Bearer {named()}" if name == "authorization" else f"sid={named()}" if name == "cookie" else named()
        made.add("application/json", '{"a": 1}', **{name: value})
    for name in ("api_key", "token", "access_token", "code", "sig", "password"):
        made.add("application/json", '{"a": 2}', f"/search?q=1&{name}={named()}&z=1")
    for _ in range(12):
        made.add("application/json", '{"a": 3}', f"/users/{quote(seen(), safe='')}/orders")
    for _ in range(12):
        deep = {"list": [{"note": seen()}], "deep": {"in": {"text": f"see {seen()}."}}}
        made.add("application/json", json.dumps(deep))
        made.add("application/json", json.dumps({seen(): 1, "a": {seen(): [2]}}))
    for name in ("password", "clientSecret", "refresh_token", "apiKey", "otp", "credentials"):
        made.add("application/json", json.dumps({"user": {name: named()}, "z": 1}, indent=1))
        made.add("application/json", json.dumps({"payload": json.dumps({name: named()}), "z": 1}))
        made.add("application/json", f'{{"user": {{"{name}": "{named()}", "b": [1, 2')
        made.add("application/json", f'{{"user": {{"{name}": "{named()}"')
        made.add("application/x-www-form-urlencoded", f"a=1&{name}={named()}&b=2")
        made.add(
            "multipart/form-data; boundary=x",
            f'--x\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{named()}\r\n--x--\r\n',
        )
        made.add("application/xml", f"<r><{name}>{named()}</{name}><b {name}='{named()}'/></r>")
        made.add("text/event-stream", f'data: {{"{name}": "{named()}"}}\n\n')
        made.add("application/x-ndjson", f'{{"a": 1}}\n{{"{name}": "{named()}"}}\n')
        made.add("text/plain", f"2026-03-01 could not connect: {name}={named()} refused\n")
    for _ in range(12):
        made.add("text/plain", f"Error: mail to {seen()} failed with {seen()}\n")
        made.add("text/csv", f"id,holder,number\n1,jo,{seen()}\n2,al,{seen()}\n")
        made.add("application/xml", f"<r><who>{seen()}</who></r>")
        made.add("application/x-ndjson", f'{{"v": "{seen()}"}}\n{{"v": "{seen()}"}}\n')
        made.add("text/event-stream", f"event: x\ndata: {seen()}\n\n")
    key = "".join(named() for _ in range(3))
    made.add("text/plain", f"-----BEGIN RSA PRIVATE KEY-----\n{key}\n-----END RSA PRIVATE KEY-----\n")
    made.secrets.append("CUST-77120091")
    made.add("text/plain", "customer CUST-77120091 was not found\n")
    made.secrets += ["Insured-Person-Nine", "Clinic-Header-Seven"]
    insured = '{"patient": {"insurance": "Insured-Person-Nine"}}'
    made.add("application/json", insured, **{"x-clinic": "Clinic-Header-Seven"})
    made.add("application/json", json.dumps(PLAIN))
    return made


async def everything_in_redis(url: str, prefix: str) -> list[tuple[str, bytes]]:
    """Return every key with every value, decrypted and decompressed."""
    store = Store(connect(url), key=KEY)
    found: list[tuple[str, bytes]] = []
    for raw in await store.command("KEYS", f"{prefix}:*"):
        name, kind = raw.decode("latin-1"), (await store.command("TYPE", raw)).decode()
        read = {"string": ("GET", raw), "list": ("LRANGE", raw, 0, -1), "hash": ("HGETALL", raw),
                "zset": ("ZRANGE", raw, 0, -1), "set": ("SMEMBERS", raw),
                "stream": ("XRANGE", raw, "-", "+")}[kind]  # fmt: skip
        held: Any = await store.command(*read)
        if kind == "hash" and ":samples:" in name:
            part = "line" if name.endswith(":lines") else "sample"
            for field, value in cast("dict[bytes, bytes]", held).items():
                whole = store.decode_value(value, f"{part} {field[-16:].decode()}".encode())
                assert whole is not None, name
                found.append((name, whole))
        found += [(name, raw), (name, repr(held).encode())]
    await store.close()
    return found


def _changed_responses(made: Planted) -> Answer:
    """Return a v2 with another status and other secrets under the same names."""
    raw: list[bytes] = []
    for _, _, body, kind in made.requests:
        other = body
        for secret in made.named_ones:
            other = other.replace(secret, f"{secret}V2") if secret in body else other
        raw.append(response(other.encode(), "201 Created", f"content-type: {kind}"))

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        found = re.search(rb"planted-(\d+)", head)
        writer.write(raw[int(found[1]) if found else 0])

    return answer


@contextlib.asynccontextmanager
async def _written_to(redis_server: RedisServer, folder: Path) -> AsyncGenerator[None]:
    """Make Redis write everything to files in a folder, without compression and without a dump."""
    client: Any = connect(redis_server.url)
    plain = {"dir": str(folder), "rdbcompression": "no", "aof-use-rdb-preamble": "no", "appendonly": "yes"}
    before: Any = {name: (await client.config_get(name))[name] for name in plain}
    try:
        for name, value in plain.items():
            await client.config_set(name, value)
        yield
    finally:
        for name in ("appendonly", "dir", "rdbcompression", "aof-use-rdb-preamble"):
            await client.config_set(name, before[name])
        await client.aclose()


async def _files(redis_server: RedisServer, folder: Path) -> list[tuple[str, bytes]]:
    """Return Redis's data on disk: a current dump, and the append-only file before and after a rewrite."""
    client: Any = connect(redis_server.url)
    await client.save()
    as_it_came = [(f"as it came: {name}", value) for name, value in _read(folder)]
    await client.bgrewriteaof()
    async with asyncio.timeout(60):
        while True:
            persistence: Any = await client.info("persistence")
            if not (persistence["aof_rewrite_in_progress"] or persistence["aof_rewrite_scheduled"]):
                break
            await asyncio.sleep(0.05)
    await client.aclose()
    return as_it_came + _read(folder)


def _read(folder: Path) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in folder.rglob("*") if path.is_file()]


def fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return cast("bytes", answer.read())
    except HTTPError as refusal:
        if refusal.code != NO_PATCH:
            raise
        return refusal.read()


def _addresses(samples: list[Any], groups: list[Any]) -> list[tuple[str, str]]:
    """Return every operation and page with observed data, each with its port."""
    api = ["targets", "targets/shop", "samples?target=shop&limit=1000", "fingerprints?target=shop&limit=200",
           "samples?target=shop&result=incomparable", "history?target=shop", "verdict?target=shop", "doctor", "audit",
           "ledger?target=shop", "suggestions?target=shop", "latency?target=shop", "noise?target=shop",
           "funnel?target=shop", "runs?target=shop"]  # fmt: skip
    for one in samples:
        api += [f"samples/{one['id']}", *(f"samples/{one['id']}/export?form={form}" for form in ("patch", "deepdiff"))]
    api += [f"fingerprints/{one['id']}" for one in groups]
    pages = ["/", "/targets/shop", "/targets/shop?result=incomparable", "/ledger", "/doctor", "/audit"]
    for one in samples[:: max(1, len(samples) // 12)]:
        pages += [f"/samples/{one['id']}?view={view}" for view in ("split", "unified", "patch")]
        pages.append(f"/samples/{one['id']}?download=1")
        for found in one["differences"][:1]:
            pages.append("/rules?" + urlencode({"target": "shop", "sample": one["id"], "path": found["path"]}))
    pages += [f"/fingerprints/{one['id']}" for one in groups[:25]]
    pages += [f"/fingerprints/{one['id']}?download=1" for one in groups[:5]]
    return [("metrics", "/metrics"), *(("web", f"/api/v1/{one}") for one in api), *(("web", one) for one in pages)]


async def _shown(service: Service, samples: list[Any], groups: list[Any]) -> list[tuple[str, bytes]]:
    """Return the output of the API, the pages and the metrics."""

    def fetched() -> list[tuple[str, bytes]]:
        return [(path, fetch(service.url(port, path))) for port, path in _addresses(samples, groups)]

    return await asyncio.to_thread(fetched)


async def _printed(service: Service, samples: list[Any], groups: list[Any]) -> list[tuple[str, bytes]]:
    """Return the output of the commands."""
    one, group = samples[0]["id"], groups[0]["id"]
    commands = (
        ["targets"], ["targets", "shop"], ["fingerprints", "--limit", "200"], ["fingerprint", group],
        ["samples", "--limit", "1000"], ["samples", "--json"], ["sample", one, "--all"], ["verdict"], ["doctor"],
        ["rules", "suggest"], ["noise", "show"], ["run", "show"],
    )  # fmt: skip

    def run() -> list[tuple[str, bytes]]:
        environment = {"SHADOWDIFF_URL": service.url("web", ""), "COLUMNS": "4000"}
        results = [(" ".join(command), CliRunner().invoke(main, command, env=environment)) for command in commands]
        return [(name, f"{result.output}{result.exception or ''}".encode()) for name, result in results]

    return await asyncio.to_thread(run)


def _post(service: Service, path: str, said: dict[str, Any]) -> None:
    """Post a form or document of a user."""
    asked = urllib.request.Request(service.url("web", f"/api/v1/{path}"), json.dumps(said).encode())
    asked.add_header("content-type", "application/json")
    with urllib.request.urlopen(asked, timeout=20) as answer:
        assert answer.status == 200


AT_REST_IN: Final = ("planted:", "audit", ".aof")
AT_REST: Final = ("dump.rdb", "log", "webhook", "span", "metric", "/metrics")
WRITTEN: Final = ("jo.note.doe@mail.example.com", "ghp_4242aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1z9")
"""Text that users write in notes, and text that their rules quote, which the rules page shows unchanged."""


async def _write_secrets(service: Service, groups: list[Any]) -> None:
    """Add a note with a secret, and a rule that quotes one and has another in its reason."""
    noted, quoted = WRITTEN
    rule = {"ignore": f"$['{quoted}']"}
    for path, said in (
        (f"fingerprints/{groups[0]['id']}/note", {"text": f"asked by {noted}", "author": "ada"}),
        (
            "rules",
            {"target": "shop", "rule": rule, "author": "ada", "reason": f"asked by {noted}", "confirm": True},
        ),
    ):
        await asyncio.to_thread(_post, service, path, said)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Yield a receiver of spans and metrics."""
    with collecting() as made:
        yield made


async def test_no_planted_secret_is_stored_or_shown(
    redis_server: RedisServer, collector: Collector, tmp_path: Path
) -> None:
    """No planted secret is in Redis, on its disk, in the log, or in any output."""
    made, receiver = planted(), WebhookReceiver()
    assert len(set(made.secrets)) > 200
    disk = tmp_path / "disk"
    disk.mkdir()
    await earlier_process(redis_server, "planted")
    async with (
        v2(_changed_responses(made)) as port,
        serving_receiver(receiver) as hook,
        _written_to(redis_server, disk),
    ):
        config = settings(
            redis_server.url,
            target(port),
            store={"prefix": "planted", "key": "STORE_KEY"},
            redaction={"patterns": ["CUST-[0-9]{8}"], "paths": ["$.patient.insurance"], "headers": ["x-clinic"]},
            log={"format": "json", "level": "debug"},
            telemetry={"otlp": collector.url, "sample": 1.0, "interval": "1s"},
        )
        config["webhooks"] = [{"url": hook}]
        async with serving(tmp_path, config, STORE_KEY=base64.b64encode(KEY).decode()) as world:
            for number, (path, headers, body, kind) in enumerate(made.requests):
                name = f"planted-{number}"
                assert 202 == await world.mesh.record(name, body.encode(), path, h_content_type=kind)
                assert 202 == await world.mesh.mirror(name, path, headers=headers)
            await world.until(pairs__ready=len(made.requests))
            samples = await world.samples()
            groups = world.service.get("fingerprints?target=shop&limit=200")["fingerprints"]
            await _write_secrets(world.service, groups)
            places = await everything_in_redis(redis_server.url, "planted")
            places += await _files(redis_server, disk)
            places += await _shown(world.service, samples, groups)
            places += await _printed(world.service, samples, groups)
            await receiver.until_received("fingerprint.new")
        places += [("log", world.service.log.encode())]
        places += [("webhook", body) for _, body in receiver.posts]
        places += [("span", repr([attributes(one), str(one)]).encode()) for one in collector.spans]
        places += [("metric", str(one).encode()) for one in collector.metrics.values()]
    shown = {(where, secret) for where, value in places for secret in made.secrets if secret.encode() in value}
    assert set[tuple[str, str]]() == shown
    noted, quoted = (secret.encode() for secret in WRITTEN)
    assert [] == [where for where, value in places if noted in value]
    quoting = [where for where, value in places if quoted in value]
    assert "/api/v1/targets" in quoting  # users see their rules as they wrote them
    assert [] == [
        where for where in quoting if "planted:" in where or where in AT_REST or "audit" in where or ".aof" in where
    ]
    assert len(samples) > 100
    assert any(PLAIN["ordinary"].encode() in value for where, value in places if ":samples:" in where)
    for where in ("dump.rdb", "as it came", ".aof", "webhook", "span", "metric", "samples --json", "log"):
        assert any(where in name and value for name, value in places), where


async def test_the_search_finds_unredacted_secrets(redis_server: RedisServer, tmp_path: Path) -> None:
    """Without the patterns, the search finds secrets that only a pattern identifies."""
    made = Planted()
    made.add("text/plain", f"id,holder,number\n1,jo,{made.seen()}\n")
    async with v2(_changed_responses(made)) as port:
        config = settings(
            redis_server.url,
            target(port),
            store={"prefix": "unplanted", "key": "STORE_KEY"},
            redaction={"builtin": False},
        )
        async with serving(tmp_path, config, STORE_KEY=base64.b64encode(KEY).decode()) as world:
            assert 202 == await world.mesh.record(
                "planted-0", made.requests[0][2].encode(), h_content_type="text/plain"
            )
            assert 202 == await world.mesh.mirror("planted-0")
            await world.until(pairs__ready=1)
            places = await everything_in_redis(redis_server.url, "unplanted")
            places += await _shown(world.service, await world.samples(), [])
    assert {True} == {any(made.secrets[0].encode() in value for where, value in places if part in where)
                      for part in (":samples:", "/api/v1/samples/", "/samples/")}  # fmt: skip
