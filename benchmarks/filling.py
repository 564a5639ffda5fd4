"""Write to a store as a service does, without its ports: observations that wait, and pairs in batches of one size.

In: a store's address.  Out: what Redis holds, and what it was asked.
Holds: every write is the product's own (parker, claimer, judge, commit); the same pairs in the same batches, so that
two stores can be held against each other command by command.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio import Redis
from traffic import PRODUCTS, REQUEST_HEADERS, product

from shadowdiff.compare import Limits
from shadowdiff.config import load_config
from shadowdiff.model import Observation, Side
from shadowdiff.pairing.claim import Claimer, commit
from shadowdiff.pairing.codec import EXAMPLES, Codec, Dictionaries
from shadowdiff.pairing.ledger import read_ledger
from shadowdiff.pairing.observation_writer import ObservationWriter, PairingSettings
from shadowdiff.report import Redactor
from shadowdiff.service.comparison_pipeline import ComparisonPipeline
from shadowdiff.store import Store, ValueCodec, connect
from shadowdiff.worker.judge import Judgement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from shadowdiff.pairing.claim import Claim
    from shadowdiff.worker import Judge

TARGET = "shop"
KEY = bytes(range(32))
"""What waits is encrypted, as it is wherever a store persists."""
BATCH = 128
FOR_LONG_S = 86_400.0
AT_MS = 1_790_000_000_000
V1_SAID_AT = "2026-11-23T10:00:00.001Z"
ANSWERED = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"), (b"server", b"stub"))
ASKED = tuple(
    (name.encode(), value.encode()) for name, value in (line.split(": ", 1) for line in REQUEST_HEADERS.splitlines())
)
OWN = {b"authorization": 43, b"cookie": 32, b"x-forwarded-for": 6}
"""Of these headers so many signs at the end are each user's own."""
SHARED = tuple(field for field in ASKED if field[0] not in OWN)
OWNED = tuple(field for field in ASKED if field[0] in OWN)
NOT_OF_PAIRS = {"info", "client|setinfo", "client|setname", "hello", "select", "auth", "ping"}


@dataclass(frozen=True)
class Held:
    """What Redis holds for each of so many waiting observations, in bytes; body_bytes: what compressed bodies take."""

    waiting: int
    each_bytes: float
    body_bytes: float

    def as_json(self) -> dict[str, float]:
        """Return the figures."""
        overhead = self.each_bytes - self.body_bytes
        return {
            "waiting": self.waiting, "redis_bytes": round(self.each_bytes), "body_bytes": round(self.body_bytes),
            "overhead_bytes": round(overhead),
        }  # fmt: skip


class Bodies:
    """The bodies of all products, as v1 said them, and how long each is compressed as the store does it."""

    def __init__(self) -> None:
        self.said = [product(number, V1_SAID_AT) for number in range(PRODUCTS)]
        close = ValueCodec().encode
        self.compressed = [len(close(body, b"")) for body in self.said]
        self._draw = random.Random(1)

    def _own(self, signs: int) -> bytes:
        """Return what nobody else says."""
        return b"%0*x" % (signs, self._draw.getrandbits(4 * signs))

    def observation(self, side: Side, number: int, request_id: str = "") -> Observation:
        """Return one side's answer as the intake makes it: the candidate's with the headers that it was asked with."""
        draw = self._draw
        request_id = request_id or str(uuid.UUID(int=draw.getrandbits(128)))
        ids = (
            *((name, value[: -OWN[name]] + self._own(OWN[name])) for name, value in OWNED),
            (b"x-request-id", str(uuid.UUID(int=draw.getrandbits(128))).encode()),
            (b"x-diff-id", request_id.encode()),
        )
        place = number % PRODUCTS
        body = self.said[place]
        return Observation(
            side=side,
            target=TARGET,
            id=request_id,
            id_source="x-diff-id",
            method="GET",
            path=f"/products/{place}",
            host="shop:8080",
            status=200,
            headers=ANSWERED,
            body=body,
            body_bytes=len(body),
            attempt=1,
            duration_ms=3.0,
            at_ms=AT_MS,
            request_headers=(*SHARED, *ids) if side is Side.CANDIDATE else (),
        )


@contextlib.asynccontextmanager
async def parking(url: str, bodies: Bodies, **settings: Any) -> AsyncGenerator[tuple[Store, Codec, ObservationWriter]]:
    """Yield a store, a codec that has learned, and a parker at work, whose flushes are as large as a call takes."""
    store, codec = Store(connect(url)), Codec(KEY)
    await store.check()
    await teach(store, codec, bodies)
    bounds = PairingSettings(gather_s=0, flush=BATCH, queue=BATCH, store_depth=1 << 40, **settings)
    parker = ObservationWriter(store, codec, bounds, "filling", redact=str)
    async with asyncio.TaskGroup() as group:
        at_work = group.create_task(parker.run())
        yield store, codec, parker
        at_work.cancel()
    await store.close()


async def teach(store: Store, codec: Codec, bodies: Bodies) -> None:
    """Let a codec learn from both sides' observations, as a service does from its first few hundred."""
    dictionaries = Dictionaries(store, codec)
    await dictionaries.refresh()
    for number in range(EXAMPLES):
        codec.encode(KEY[:16], bodies.observation((Side.PRIMARY, Side.CANDIDATE)[number % 2], number))
    await dictionaries.refresh()


async def park(parker: ObservationWriter, observations: Sequence[Observation]) -> None:
    """Park a batch in one flush."""
    parked = asyncio.Event()
    left = len(observations)

    def settled(_is_parked: bool) -> None:
        nonlocal left
        left -= 1
        if not left:
            parked.set()

    if not all(parker.offer(one, settled) for one in observations):
        raise RuntimeError("a batch did not fit")
    await parked.wait()


async def wait_there(url: str, side: Side, marks: Sequence[int]) -> list[Held]:
    """Let so many observations of one side wait, each alone; return what Redis held at each mark."""
    bodies = Bodies()
    found: list[Held] = []
    async with parking(url, bodies, window_s=FOR_LONG_S) as (store, _, parker):
        await park(parker, [bodies.observation(side, number) for number in range(BATCH)])
        empty, parked = await _used_bytes(store), 0
        for mark in marks:
            while parked < mark - BATCH:
                some = min(BATCH, mark - BATCH - parked)
                await park(parker, [bodies.observation(side, parked + number) for number in range(some)])
                parked += some
            used = await _used_bytes(store) - empty
            found.append(Held(mark, used / parked, statistics.mean(bodies.compressed)))
    return found


async def _used_bytes(store: Store) -> int:
    info: Any = await store.command("INFO", "memory")
    return int(info["used_memory"])


@dataclass(frozen=True)
class Asked:
    """What a Redis was asked so far: calls of each command, scripts' own included, and bytes in and out."""

    calls: dict[str, int]
    read_bytes: int
    written_bytes: int

    @classmethod
    async def of(cls, url: str) -> Asked:
        """Read it, over a connection of its own."""
        client = cast("Any", Redis).from_url(url)
        stats, command_stats = await client.info("stats"), await client.info("commandstats")
        await client.aclose()
        calls = {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in command_stats.items()}
        calls = {name: count for name, count in calls.items() if name not in NOT_OF_PAIRS}
        return cls(calls, int(stats["total_net_input_bytes"]), int(stats["total_net_output_bytes"]))

    def since(self, before: Asked) -> Asked:
        """Return the growth."""
        grown = {name: count - before.calls.get(name, 0) for name, count in self.calls.items()}
        return Asked(
            {name: count for name, count in sorted(grown.items()) if count},
            self.read_bytes - before.read_bytes,
            self.written_bytes - before.written_bytes,
        )

    def a_pair(self, pairs: int) -> dict[str, float]:
        """Return the growth per pair."""
        return {
            "commands": round(sum(self.calls.values()) / pairs, 3),
            "read_bytes": round(self.read_bytes / pairs, 1),
            "written_bytes": round(self.written_bytes / pairs, 1),
        }


async def judge_of(config_path: Path, store: Store, codec: Codec) -> Judge:
    """Return the judge that a service of this configuration has."""
    config = load_config(config_path, {})

    async def ledger(target: str) -> Any:
        return await read_ledger(store, target)

    judging = ComparisonPipeline(
        config, store, codec, Limits(), redactor=Redactor(KEY), ledger=ledger,
        made_rules=lambda _target: (), pair_notes=lambda _pair, _comparison, _at_ms: (),
    )  # fmt: skip
    return judging.judge


async def pair_there(url: str, config_path: Path, batches: int, name: str = "pair") -> Asked:
    """Take so many batches of pairs from their halves to the commit, in the same calls; return what Redis was asked.

    The first batch is not counted: Redis learns the scripts by it. name: begins the pairs' ids, which are new by it.
    """
    bodies = Bodies()
    async with parking(url, bodies) as (store, codec, parker):
        judge = await judge_of(config_path, store, codec)
        claimer = Claimer(store, 0, "filling", [TARGET], Dictionaries(store, codec))
        await claimer.open()
        before: Asked | None = None
        for batch in range(batches + 1):
            for side in (Side.PRIMARY, Side.CANDIDATE):
                numbers = range(batch * BATCH, (batch + 1) * BATCH)
                await park(parker, [bodies.observation(side, number, f"{name}-{number:031d}") for number in numbers])
            claims = await claimer.read(BATCH, 1000)
            judged = [judge.judged(_judgement(judge, claim), AT_MS)[0] for claim in claims]
            done = await commit(store, 0, judged)
            if len(done) != BATCH or not all(done):
                raise RuntimeError(f"of a batch of {BATCH} pairs {sum(done)} were committed")
            before = before or await Asked.of(url)
        return (await Asked.of(url)).since(cast("Asked", before))


def _judgement(judge: Judge, claim: Claim) -> Judgement:
    read = judge.read(claim)
    judgement = read if isinstance(read, Judgement) else judge.compare(claim, read, AT_MS / 1000)
    if judgement is None:
        raise RuntimeError("a pair of the benchmark needs the pool")
    return judgement
