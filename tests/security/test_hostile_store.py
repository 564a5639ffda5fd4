"""Put corrupt data into Redis. The service continues to run, reports the data, and never executes the data.

Each key gets values that the service never writes: pickled Python objects, truncated texts and frames, numbers out of
range, and another type. Meanwhile, pairs continue to arrive, and the test reads every page and API operation. Then the
test empties Redis, and the service works as before.
"""

from __future__ import annotations

import asyncio
import pickle
import re
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.error import HTTPError

import pytest
from redis import Redis

from shadowdiff.pairing.request_id import key_of
from shadowdiff.web.api import openapi_document
from tests.conftest import free_port_number
from tests.integration.service.conftest import World, lines_of
from tests.integration.service.scripts import always, response, v2
from tests.running import Service, mesh_of
from tests.security.everything import ask_for_everything, everything

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.conftest import RedisServer

ROOT = Path(__file__).parents[2]
ANSWER = b'{"price": 9}'
REACHES = {"quick": 0.15, "deep": 1.2}
"""How long a key stays corrupt, in s: background tasks read every second or so."""
ANSWERED = {200, 404, 422, 503}
ASKED_WITHIN_S = 60.0
GONE_BY_NOW = {
    "o:": b"string", "ready:shop": b"stream", "rules:made": b"hash",
    **{f"due:shop:{side}": b"zset" for side in "pcx"},
}  # fmt: skip
"""Keys that exist for a moment, or until they are removed."""
EXAMPLES = 320
"""Records for training a dictionary."""
TABLE = re.findall(r"^\| (`[^|]*) \| .* \|$", (ROOT / "ARCHITECTURE.md").read_text().split("## Redis")[1], re.MULTILINE)


class OpensFile:
    """An object whose unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._path,)


def poisons(canary: Path) -> dict[str, bytes | None]:
    """Return values that are invalid for every key, keyed by description. None means a value of another type."""
    return {
        "another type": None,
        "a pickle": pickle.dumps(OpensFile(canary)),
        "YAML that makes objects": b'!!python/object/apply:os.system ["touch %b"]' % str(canary).encode(),
        "nothing": b"",
        "no text": b"\xff\xfe" * 20,
        "NUL": b"\0" * 40,
        "deep JSON": b"[" * 100_000,
        "an object": b'{"a": 1}',
        "an array": b"[1, 2, 3]",
        "null": b"null",
        "a huge number": b"9" * 400,
        "a number for no date": b"%d" % (1 << 62),
        "a great number": b"%d" % 10**14,
        "less than nothing": b"-1",
        "no number": b"nan",
        "an infinite number": b"1e999",
        "a waiting frame cut short": b"Wp" + b"\0" * 10,
        "a waiting frame of endless payload": b"Wp" + b"\xff" * 25 + b"9" * 23 + b"x",
        "msgpack of endless maps": b"\xdf\xff\xff\xff\xff",
        "a sealed form cut short": b"\x02" + b"\0" * 5,
        "zstd cut short": b"\x01\x28\xb5\x2f\xfd" + b"\xff" * 20,
        "a form of an unknown dictionary": b"\x04abcdefgh",
    }


@dataclass
class FilledService:
    """A service, its keys by kind with their types and contents, and the objects that its pages show."""

    service: Service
    redis: Any
    prefix: bytes
    canary: Path
    sample: str = ""
    fingerprint: str = ""
    cause: str = ""
    kinds: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])
    held: dict[bytes, tuple[bytes, bytes | None]] = field(default_factory=dict[bytes, tuple[bytes, bytes | None]])
    sent: int = 0

    async def fill(self) -> None:
        """Make the service write every kind of key."""
        async with mesh_of(self.service) as mesh:
            world = World(self.service, mesh)
            await ask_for_everything(world)
            self.sample = (await world.samples())[0]["id"]
            found = await asyncio.to_thread(self.service.get, "fingerprints?target=shop")
            self.fingerprint = found["fingerprints"][0]["id"]
            found = await asyncio.to_thread(self.service.get, "causes?target=shop&run=all")
            self.cause = found["causes"][0]["id"]
            await world.both("incomparable", b"{}", status="500")
            for number in range(EXAMPLES):
                await mesh.record(f"example-{number}", b'{"a": [1, 2, 3], "number": %d}' % number, "/examples")
            async with asyncio.timeout(60):
                while not self.redis.exists(self.prefix + b"dictionary"):  # noqa: ASYNC110 - tests wait on conditions
                    await asyncio.sleep(0.1)
        for key in self.redis.scan_iter(self.prefix + b"*"):
            self._keep(key, self.redis.type(key), self.redis.dump(key))
        for name, kind in GONE_BY_NOW.items():
            self._keep(self.prefix + name.encode(), kind, None)

    def _keep(self, key: bytes, kind: bytes, content: bytes | None) -> None:
        if key not in self.held:
            self.held[key] = kind, content
            self.kinds.setdefault(kind_of(key.removeprefix(self.prefix)), []).append(key)

    def waiting(self) -> bytes:
        """Return the key under which the halves of the next request will wait."""
        return self.prefix + b"o:" + key_of("shop", f"poisoned-{self.sent}", "x-diff-id", "GET", "/items/7")

    async def exercise(self, hold_s: float) -> dict[str, str]:
        """Send a pair and read everything for this long; return the responses that are not allowed."""
        async with mesh_of(self.service) as mesh:
            await World(self.service, mesh).both(f"poisoned-{self.sent}", ANSWER, "/items/7")
        self.sent += 1
        until_s, wrong = time.monotonic() + hold_s, dict[str, str]()
        while True:
            for url in self._urls():
                if said := await asyncio.to_thread(_problem, url):
                    wrong[url.partition("/")[2].partition("/")[2]] = said
            if time.monotonic() > until_s or wrong:
                return wrong

    def _urls(self) -> Iterator[str]:
        yield self.service.url("metrics", "/healthz")
        for path in (
            "/",
            "/targets/shop",
            "/ledger",
            "/audit",
            "/doctor",
            "/rules",
            "/fingerprints/{id}",
            "/samples/{id}",
        ):
            yield self._url(path)
        for path, methods in openapi_document("0")["paths"].items():
            if "get" in methods:
                yield self._url(path)

    def _url(self, path: str) -> str:
        of = self.fingerprint if "fingerprints" in path else self.cause if "causes" in path else self.sample
        return self.service.url("web", f"{path.replace('{target}', 'shop').replace('{id}', of)}?target=shop")

    def restore(self, key: bytes) -> None:
        """Restore the old content of a key."""
        self.redis.delete(key)
        content = self.held[key][1] if key in self.held else None
        if content is not None:
            self.redis.restore(key, 0, content, replace=True)


def kind_of(name: bytes) -> str:
    """Return a key name without its variable parts."""
    text = name.decode("latin-1")
    text = re.sub(r"^(o|flush|entry|dictionary|notify:sent):.*", r"\1:", text, flags=re.DOTALL)
    return re.sub(r":(minute|hour):\d+", r":\1", text)


def _problem(url: str) -> str:
    """Send a request, and return the error in the response."""
    try:
        with urllib.request.urlopen(url, timeout=ASKED_WITHIN_S) as answer:
            answer.read()
            return "" if answer.status in ANSWERED else f"status {answer.status}"
    except HTTPError as error:
        return "" if error.code in ANSWERED else f"status {error.code}"
    except OSError as error:
        return repr(error)


def poison(redis: Any, key: bytes, kind: bytes, text: bytes | None) -> None:
    """Write this value to a key of this type; None writes a value of another type."""
    if text is None:
        redis.delete(key)
        redis.lpush(key, b"x") if kind == b"string" else redis.set(key, b"x")
    elif kind == b"string":
        redis.set(key, text)
    elif kind == b"hash":
        redis.hset(key, mapping=dict.fromkeys((*redis.hkeys(key), text, b"x"), text))
    elif kind == b"list":
        for place in range(redis.llen(key)):
            redis.lset(key, place, text)
        redis.lpush(key, text)
    elif kind == b"zset":
        redis.zadd(key, {text: -1e308, text + b"x": 1e308, b"y" + text[:20]: 0})
    else:
        redis.xadd(key, {text or b"k": text})
        redis.xadd(key, dict.fromkeys((b"k", b"p", b"c", b"x", b"d"), text))


@pytest.fixture
async def filled_service(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[FilledService]:
    """Run a service that has written every kind of key."""
    port = free_port_number()
    config = everything(redis_server.url, port, prefix=f"poisoned{port}")
    service = Service(tmp_path, config)
    redis: Any = Redis(port=redis_server.port)
    made = FilledService(service, redis, b"poisoned%d:{0}:" % port, tmp_path / "canary")
    async with v2(always(response(ANSWER, "200 OK", "content-type: application/json", "x-version: one")), port):
        await asyncio.to_thread(service.start)
        try:
            await made.fill()
            yield made
        finally:
            redis.delete(*redis.scan_iter(made.prefix + b"*"))
            if service.process is not None:
                await asyncio.to_thread(service.stop)
            redis.close()


@pytest.mark.parametrize("form", ["quick", pytest.param("deep", marks=[pytest.mark.deep, pytest.mark.timeout(7200)])])
async def test_nothing_in_redis_stops_the_service(filled_service: FilledService, form: str) -> None:
    """For any key, each response is allowed and the log has no fault. Everything works after the value is removed.

    The short form writes one of the values to each kind of key, the long form all of them.
    """
    named = {name for cell in TABLE for name in re.findall(r"`([a-z:]+)", cell) if not name.startswith(":")}
    assert set() == {name for name in named if not any(kind.startswith(name) for kind in filled_service.kinds)}
    assert set() == {kind for kind in filled_service.kinds if not any(kind.startswith(name) for name in named)}
    values, wrong = list(poisons(filled_service.canary).items()), dict[tuple[str, str], Any]()
    for turn, (kind, keys) in enumerate(sorted(filled_service.kinds.items())):
        for what, text in values if form == "deep" else [values[turn % len(values)]]:
            if said := await _poisoned(filled_service, kind, keys, text, REACHES[form]):
                wrong[kind, what] = said
    sys.stdout.write(f"{len(filled_service.kinds)} kinds of keys, {len(values)} values\n")
    assert {} == wrong
    assert not filled_service.canary.exists()
    await _works_again(filled_service)


async def _poisoned(
    filled_service: FilledService, kind: str, keys: list[bytes], text: bytes | None, hold_s: float
) -> Any:
    """Return the problems that occurred while some keys of a kind held this value."""
    at, some = len(filled_service.service.log), [filled_service.waiting()] if kind == "o:" else keys[:3]
    for key in some:
        poison(
            filled_service.redis, key, filled_service.held[key][0] if key in filled_service.held else b"string", text
        )
    wrong = await filled_service.exercise(hold_s)
    for key in some:
        filled_service.restore(key)
    assert filled_service.service.process is not None
    assert filled_service.service.process.poll() is None, (kind, text, filled_service.service.log[at:])
    faults = [
        line
        for line in filled_service.service.log[at:].splitlines()
        if "Traceback" in line or '"level": "ERROR"' in line
    ]
    return (wrong, faults) if wrong or faults else None


async def _works_again(filled_service: FilledService) -> None:
    """Empty the store, and check that a pair is compared and every read works."""
    filled_service.redis.delete(*filled_service.redis.scan_iter(filled_service.prefix + b"*"))
    async with mesh_of(filled_service.service) as mesh:
        world = World(filled_service.service, mesh)
        await world.both("afterwards", ANSWER)
        await world.service.until(lambda books: books["balanced"] and books["pairs"]["match"] == 1)


@pytest.mark.parametrize(
    "what",
    [
        "a pickle",
        *(pytest.param(each, marks=pytest.mark.deep) for each in ("another type", "a huge number", "no text")),
    ],
)
async def test_a_service_starts_with_any_data_in_redis(filled_service: FilledService, what: str) -> None:
    """With corrupt values in all keys, the service becomes ready.

    After the removal of the corrupt values, everything works.
    """
    assert 0 == await asyncio.to_thread(filled_service.service.stop)
    text = poisons(filled_service.canary)[what]
    for key, (kind, _) in filled_service.held.items():
        poison(filled_service.redis, key, kind, text)
    await asyncio.to_thread(filled_service.service.start)
    assert {} == await filled_service.exercise(REACHES["deep"])
    assert [] == [line for line in filled_service.service.log.splitlines() if "Traceback" in line]
    assert not filled_service.canary.exists()
    await _works_again(filled_service)


@pytest.mark.parametrize("key", ["redaction:key", pytest.param("shards", marks=pytest.mark.deep)])
@pytest.mark.parametrize(
    "what", ["a huge number", *(pytest.param(each, marks=pytest.mark.deep) for each in ("another type", "nothing"))]
)
async def test_data_read_once_at_start_is_retried(
    redis_server: RedisServer, tmp_path: Path, key: str, what: str
) -> None:
    """The service accepts traffic, reports that it cannot read the key, and compares pairs after the key is removed."""
    port = free_port_number()
    name, redis = f"start{port}:{{0}}:{key}".encode(), cast("Any", Redis(port=redis_server.port))
    poison(redis, name, b"string", poisons(tmp_path / "canary")[what])
    service = Service(tmp_path, everything(redis_server.url, port, prefix=f"start{port}"))
    async with v2(always(response(ANSWER, "200 OK", "content-type: application/json")), port):
        await asyncio.to_thread(service.start)
        try:
            async with mesh_of(service) as mesh:
                await World(service, mesh).both("early", ANSWER)
                async with asyncio.timeout(60):
                    while not lines_of(service, "store unavailable; will retry settings check"):  # noqa: ASYNC110 - as above
                        await asyncio.sleep(0.05)
                redis.delete(name)
                await service.until(lambda books: books["pairs"]["match"] == 1)
        finally:
            await asyncio.to_thread(service.stop)
            redis.delete(*redis.scan_iter(f"start{port}:*"))
            redis.close()


class CorruptField(NamedTuple):
    """An invalid value in a hash field, and the expected log text."""

    key: str
    field: str
    value: str
    line: str
    error: str


UNREADABLE = "unreadable data in the store: "
ODD = (
    CorruptField(
        "counts:mismatch:shop", "x", "nan", f"{UNREADABLE}counts:mismatch:shop", "ValueError: invalid literal"
    ),
    CorruptField("counts:match:shop", "7", "1", f"{UNREADABLE}the counts of shop", "ValidationError: Expected `array`"),
    CorruptField("ledger:shop", "pairs.match", "9" * 30, f"{UNREADABLE}the ledger of shop", "out of bounds"),
    CorruptField("run:shop", "id", "one", f"{UNREADABLE}the run of shop", "ValueError"),
    CorruptField("noise:shop", "rev", "", f"{UNREADABLE}the noise of shop", "ValueError"),
    CorruptField(
        "rules:made", "x", "gAR9", "unreadable rule in the store; skipping", "the value is encrypted, but no buffer key"
    ),
)


async def test_unreadable_data_is_logged(redis_server: RedisServer, tmp_path: Path) -> None:
    """One log line names the key and the problem."""
    port = free_port_number()
    service = Service(tmp_path, everything(redis_server.url, port, prefix=f"said{port}"))
    redis: Any = Redis(port=redis_server.port)
    await asyncio.to_thread(service.start)
    try:
        for odd in ODD:
            redis.hset(f"said{port}:{{0}}:{odd.key}", odd.field, odd.value)
            async with asyncio.timeout(60):
                while not (logged := lines_of(service, odd.line)):
                    await asyncio.to_thread(_problem, service.url("web", "/api/v1/targets/shop"))
            assert (True, "WARNING") == (odd.error in logged[0]["error"], logged[0]["level"]), logged
            redis.delete(f"said{port}:{{0}}:{odd.key}")
    finally:
        redis.delete(*redis.scan_iter(f"said{port}:*"))
        redis.close()
        await asyncio.to_thread(service.stop)
