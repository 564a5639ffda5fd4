"""Send decompression and parser bombs as v2's response and as a record: each is bounded and classified.

One service serves all tests, with a rule whose pattern backtracks in other engines. The tests also check the memory of
the service and of its comparison processes, and that the service responds throughout.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import time
import urllib.request
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import brotli
import pytest
import zstandard

from tests.conftest import free_port_number
from tests.integration.service.conftest import JSON, World, settings, target
from tests.integration.service.scripts import always, response, v2
from tests.running import WITHIN_S, Service, mesh_of, unharmed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from tests.conftest import RedisServer

MIB = 1 << 20
UNPACKED = 200 * MIB
KEPT_BODY = 8 * MIB
DECODED = 16 * MIB
COMPARED_WITHIN_S = 10
SANE = b'{"price": 100}'
BACKTRACKS = r"^(([a-z])+.)+[A-Z]([a-z])+$"
AT_MOST_MIB = 256
"""For the service itself. AT_MOST_COMPARING_MIB is for each of its two comparison processes."""
PAUSES_AT_MOST_S = 3.0
"""Time until a liveness reply: far longer than any observed pause, and shorter than probe timeouts."""
AT_MOST_COMPARING_MIB = 800


@dataclass(frozen=True)
class Bomb:
    """A body, its coding, its type, and the expected text. `made(1)` differs slightly from `made(0)`.

    said: the text that a difference shows for this side next to a normal response. twice: path and kind of the
    difference if both sides are different bombs of this kind, or None if they cannot be decoded or compared.
    """

    made: Callable[[int], bytes]
    said: str
    twice: tuple[str, str] | None
    coding: str = ""
    kind: str = JSON


def _zeros(more: int) -> Iterator[bytes]:
    yield from [bytes(MIB)] * (UNPACKED // MIB)
    yield bytes(more)


@cache
def _gzip_of_zeros(more: int) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return b"".join(map(packer.compress, _zeros(more))) + packer.flush()


def _brotli_of_zeros(more: int) -> bytes:
    return brotli.compress(b"".join(_zeros(more)), quality=5)


def _zstd_of_zeros(more: int) -> bytes:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    return b"".join(map(packer.compress, _zeros(more))) + packer.flush()


def _many_keys(more: int) -> bytes:
    return b"{" + b",".join(b'"%07d":0' % number for number in range(1_000_000 + more)) + b"}"


TOO_LARGE, TOO_DEEP = "decodes to more than", "nested deeper than"
BOMBS = {
    "200 MiB of gzip": Bomb(_gzip_of_zeros, TOO_LARGE, None, "gzip"),
    "200 MiB of br": Bomb(_brotli_of_zeros, TOO_LARGE, None, "br"),
    "200 MiB of zstd": Bomb(_zstd_of_zeros, TOO_LARGE, None, "zstd"),
    "200 MiB of gzip in gzip": Bomb(
        lambda more: gzip.compress(_gzip_of_zeros(more), mtime=0), TOO_LARGE, None, "gzip, gzip"
    ),
    "arrays 100,000 deep": Bomb(
        lambda more: b"[" * (100_000 + more) + b"]" * (100_000 + more), TOO_DEEP, ("text[0]", "text")
    ),
    "objects 100,000 deep": Bomb(
        lambda more: b'{"a":' * 100_000 + b"%d" % more + b"}" * 100_000, TOO_DEEP, ("text[0]", "text")
    ),
    "XML 100,000 deep": Bomb(
        lambda more: b"<a>" * 100_000 + b"x" * more + b"</a>" * 100_000,
        "<a>" * 50,
        ("text[0]", "text"),
        kind="application/xml",
    ),
    "an integer of 5,000 digits": Bomb(
        lambda more: b'{"price": ' + b"9" * 5_000 + b"%d}" % more, "9" * 100, ("$['price']", "value")
    ),
    "100 integers of 5,000 digits": Bomb(
        lambda more: b"[" + b",".join([b"9" * 5_000] * 100) + b",%d]" % more, "[" + "9" * 100, ("$[100]", "value")
    ),
    "an exponent of 5,000 digits": Bomb(
        lambda more: b'{"price": 1e' + b"9" * 5_000 + b"%d}" % more, "1e" + "9" * 100, ("$['price']", "value")
    ),
    "a text for a pattern that backtracks": Bomb(
        lambda more: b"a" * 100_000 + b"!" * (1 + more), "a" * 100, ("text[0]", "text"), kind="text/plain"
    ),
}


class Sent(NamedTuple):
    """A body, and the fields that describe it."""

    body: bytes
    fields: Mapping[str, str]


@pytest.fixture(scope="module")
def shared(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, int]]:
    """Run one service for all tests of this file, check that its log has no failure, and return the port for v2."""
    port = free_port_number()
    rules = [{"mask": {"path": "text", "pattern": BACKTRACKS}, "reason": "it backtracks"}]
    config = settings(
        redis_server.url,
        target(port, rules=rules),
        store={"prefix": f"bombs-{os.getpid()}"},
        pairing={"claim_idle": "60s"},
        limits={"body": KEPT_BODY, "decoded": DECODED, "compare_ms": COMPARED_WITHIN_S * 1000},
        redaction={"patterns": [BACKTRACKS]},
    )
    service = Service(tmp_path_factory.mktemp("service"), config)
    with unharmed(service):
        yield service, port


@pytest.fixture
async def world(shared: tuple[Service, int]) -> AsyncIterator[World]:
    """Return the world of the shared service."""
    async with mesh_of(shared[0]) as mesh:
        yield World(shared[0], mesh)


@dataclass
class Watch:
    """Measures the service while it works: its slowest liveness reply, and its memory."""

    service: Service
    longest_s: float = 0.0
    own_mib: int = 0
    comparing_mib: int = 0

    async def until(self, over: asyncio.Event) -> None:
        """Poll until the condition is true."""
        while not over.is_set():
            begun_s = time.monotonic()
            await asyncio.to_thread(self._ask)
            self.longest_s = max(self.longest_s, time.monotonic() - begun_s)
            self._look()
            await asyncio.sleep(0.01)

    def _ask(self) -> None:
        with urllib.request.urlopen(self.service.url("metrics", "/healthz"), timeout=WITHIN_S) as answer:
            assert 200 == answer.status

    def _look(self) -> None:
        assert self.service.process is not None
        pid = self.service.process.pid
        self.own_mib = self.service.peak_mib()
        started = (file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children"))  # one for each thread
        for child in " ".join(started).split():
            with contextlib.suppress(OSError):  # the process has exited
                lines = Path(f"/proc/{child}/status").read_text().splitlines()
                peaks = [int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")]
                self.comparing_mib = max(self.comparing_mib, *peaks, 0)

    def __str__(self) -> str:
        """Return the outcome as one line."""
        comparing = f", {self.comparing_mib} MiB in a comparing process" if self.comparing_mib else ""
        return f"longest pause {self.longest_s * 1000:.0f} ms, {self.own_mib} MiB at most{comparing}"


class PairOutcome(NamedTuple):
    """The outcome of one pair: result, reason, differences, and the service's measurements during the comparison."""

    result: str
    reason: str
    differences: list[Any]
    seen: str

    def shows(self, side: str, said: str) -> bool:
        """Return whether a difference shows this text for one side."""
        return any(said in (one[side] or "") for one in self.differences)


async def _send_pair(
    shared: tuple[Service, int], world: World, request_id: str, recorded: Sent, answered: Sent
) -> PairOutcome:
    """Send one pair and return its outcome."""
    service, port = shared
    stated = {f"h_{name.replace('-', '_')}": value for name, value in recorded.fields.items()}
    before = (await world.until())["pairs"]
    over, watch, begun_s = asyncio.Event(), Watch(service), time.monotonic()
    answer = response(answered.body, "200 OK", *(f"{name}: {value}" for name, value in answered.fields.items()))
    async with v2(always(answer), port), asyncio.TaskGroup() as group:
        group.create_task(watch.until(over))
        try:
            await world.both(request_id, recorded.body, **stated)
            after = (await world.until(pairs__ready=before["ready"] + 1))["pairs"]
        finally:
            over.set()
    (result,) = [name for name in ("match", "ignored", "mismatch", "incomparable") if after[name] > before[name]]
    (sample,) = [each for each in await world.samples(result) if each["request_id"] == request_id]
    seen = f"{result} after {time.monotonic() - begun_s:.1f} s, {watch}"
    assert watch.own_mib < AT_MOST_MIB, seen
    assert watch.comparing_mib < AT_MOST_COMPARING_MIB, seen
    assert watch.longest_s < PAUSES_AT_MOST_S, seen
    return PairOutcome(result, sample["reason"], sample["differences"], seen)


@pytest.mark.parametrize("case", BOMBS)
async def test_a_bomb_is_bounded_and_classified(
    shared: tuple[Service, int], world: World, case: str, record_property: Callable[[str, object], None]
) -> None:
    """The pair gets its result and the service keeps responding, with the bomb in the response, the record, or both."""
    bomb = BOMBS[case]
    fields = {"content-type": bomb.kind} | ({"content-encoding": bomb.coding} if bomb.coding else {})
    loud, louder, sane = Sent(bomb.made(0), fields), Sent(bomb.made(1), fields), Sent(SANE, {"content-type": JSON})
    for name, side, (recorded, answered) in (("v2", "candidate", (sane, loud)), ("v1", "primary", (loud, sane))):
        outcome = await _send_pair(shared, world, f"{case} {name}", recorded, answered)
        assert ("mismatch", "", True) == (outcome.result, outcome.reason, outcome.shows(side, bomb.said)), outcome
        record_property("figures", f"{name}: {outcome.seen}")
    outcome = await _send_pair(shared, world, f"{case} both", loud, louder)
    wanted = ("mismatch", "") if bomb.twice else ("incomparable", "undecodable")
    assert wanted == (outcome.result, outcome.reason)
    assert ([bomb.twice] if bomb.twice else []) == [(one["path"], one["kind"]) for one in outcome.differences]
    record_property("figures", f"both: {outcome.seen}")


async def test_a_million_keys_are_compared_or_hit_a_limit(
    shared: tuple[Service, int], world: World, record_property: Callable[[str, object], None]
) -> None:
    """A process compares the keys within its limits of work, time and memory, and stops at any of them."""
    fields = {"content-type": JSON, "content-encoding": "gzip"}
    loud, louder = (Sent(gzip.compress(_many_keys(more), 1, mtime=0), fields) for more in (0, 1))
    sane = Sent(SANE, {"content-type": JSON})
    forms = {
        "v2": (sane, loud, ("$['0000000']", "added")),
        "v1": (loud, sane, ("$['0000000']", "removed")),
        "both": (loud, louder, ("$['1000000']", "added")),
    }
    for name, (recorded, answered, difference) in forms.items():
        outcome = await _send_pair(shared, world, f"keys {name}", recorded, answered)
        if outcome.result == "mismatch":
            assert difference in [(one["path"], one["kind"]) for one in outcome.differences], outcome
        else:
            assert outcome.result == "incomparable", outcome
            assert outcome.reason in {"too_complex", "comparison_timed_out", "comparison_crashed"}, outcome
        record_property("figures", f"{name}: {outcome.seen}")
