"""Test pairing over a real Redis: park, sweep, claim, commit, and read the ledger."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.model import Observation, Result, Side
from shadowdiff.pairing.claim import Claim, Claimer, Judged, commit, ledger_write
from shadowdiff.pairing.codec import Codec, Dictionaries
from shadowdiff.pairing.ledger import Ledger, read_ledger
from shadowdiff.pairing.observation_writer import ObservationWriter, PairingSettings
from shadowdiff.pairing.sweep import Orphan, Sweeper
from shadowdiff.store import Store, connect, open_client
from shadowdiff.store.connections import ClusterClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tests.conftest import RedisServer
    from tests.redis_cluster import RedisCluster

TARGET = "shop"
KEY = bytes(range(32))
WITHIN_S = 60.0


def observed(side: Side = Side.PRIMARY, request_id: str = "a", **changes: object) -> Observation:
    """Return one observation with a unique id and these changes."""
    fields: dict[str, object] = {
        "side": side,
        "target": TARGET,
        "id": request_id,
        "id_source": "x-diff-id",
        "method": "GET",
        "path": "/products/1",
        "host": TARGET,
        "status": 200,
        "body": b'{"price": 1}',
        "body_bytes": 12,
        "attempt": 1,
    }
    return Observation(**(fields | changes))  # pyright: ignore[reportArgumentType] - fields are known above


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` is true; fail at the timeout."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - tests wait on conditions
            await asyncio.sleep(0.005)


@dataclass
class Bench:
    """The pairing of one service, without the rest of the service."""

    store: Store
    settings: PairingSettings
    codec: Codec = field(default_factory=lambda: Codec(KEY))
    orphans: list[Orphan] = field(default_factory=list[Orphan])
    depths: list[int] = field(default_factory=list[int])
    settled: list[bool] = field(default_factory=list[bool])

    def __post_init__(self) -> None:
        self.parker = ObservationWriter(self.store, self.codec, self.settings, "bench", redact=str)
        self.sweeper = Sweeper(
            self.store,
            self.codec,
            self.settings,
            targets=lambda: [TARGET],
            on_orphans=self.orphans.extend,
            on_depth=self.depths.append,
        )

    def claimer(self, consumer: str = "one", shard: int = 0) -> Claimer:
        """Return a reader of one shard."""
        return Claimer(self.store, shard, consumer, [TARGET], Dictionaries(self.store, self.codec))

    async def park(self, *observations: Observation, control_wait_s: float = 0.0) -> None:
        """Park each observation in order, in its own flush."""
        for observation in observations:
            before = len(self.settled)
            assert self.parker.offer(observation, self.settled.append, control_wait_s)
            await until(lambda before=before: len(self.settled) > before)

    async def claims(self, consumer: str = "one") -> list[Claim]:
        """Claim the ready pairs of every shard."""
        found: list[Claim] = []
        for shard in range(self.store.shards):
            claimer = self.claimer(consumer, shard)
            await claimer.open()
            found += await claimer.read(1000, 1)
        return found

    async def commit(self, claims: Sequence[Claim], result: Result = Result.MATCH) -> list[bool]:
        """Commit `claims` with one result."""
        answers: list[bool] = []
        for shard in range(self.store.shards):
            batch = [Judged(claim, (ledger_write(TARGET, result),)) for claim in claims if claim.shard == shard]
            if batch:
                answers += await commit(self.store, shard, batch)
        return answers

    async def sweep_until(self, condition: Callable[[Ledger], bool]) -> Ledger:
        """Sweep until the ledger meets the condition."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                for shard in range(self.store.shards):
                    await self.sweeper.sweep(shard)
                ledger = await self.ledger()
                if condition(ledger):
                    return ledger
                await asyncio.sleep(0.01)

    async def ledger(self) -> Ledger:
        """Read the ledger."""
        return await read_ledger(self.store, TARGET)

    def body(self, claim: Claim, side: Side) -> bytes:
        """Return one side's body of a claim."""
        stored = {Side.PRIMARY: claim.primary, Side.CANDIDATE: claim.candidate, Side.CONTROL: claim.control}[side]
        assert stored is not None
        return self.codec.decode(claim.key, stored).body


async def on_every_server(store: Store, *words: Any) -> list[Any]:
    """Send a command to each server of the store; return each reply."""
    if not isinstance(store.client, ClusterClient):
        return [await store.command(*words)]
    cluster = await store.client._initialized()  # pyright: ignore[reportPrivateUsage] - the product never asks all
    return [await node.execute_command(*words) for node in cluster.get_primaries()]


@pytest.fixture(params=[(1, False), (4, False), (6, True)], ids=["one shard", "four shards", "cluster"])
def where(request: pytest.FixtureRequest) -> tuple[int, bool]:
    """Run each test on one shard, on several, and on a cluster of three masters."""
    return request.param


@pytest.fixture
def shards(where: tuple[int, bool]) -> int:
    """Return the number of shards of the store."""
    return where[0]


@pytest.fixture
async def store(
    request: pytest.FixtureRequest, redis_server: RedisServer, where: tuple[int, bool]
) -> AsyncIterator[Store]:
    """Connect to an emptied real Redis or cluster."""
    shards, on_cluster = where
    if on_cluster:
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        await asyncio.to_thread(cluster.flush)
        made = Store(open_client(cluster.url), shards=shards)
    else:
        made = Store(connect(redis_server.unix_url), shards=shards)
        await made.command("FLUSHALL")
    await made.check()
    yield made
    await made.close()


@pytest.fixture
async def bench(store: Store) -> AsyncIterator[Bench]:
    """Run a bench with a window that never ends by itself, and a short settle time."""
    async for made in running(Bench(store, PairingSettings(window_s=600.0, settle_s=0.1, gather_s=0.001))):
        yield made


@pytest.fixture
async def brief(store: Store) -> AsyncIterator[Bench]:
    """Run a bench with a window that ends immediately."""
    async for made in running(Bench(store, PairingSettings(window_s=0.05, settle_s=0.01, gather_s=0.001))):
        yield made


async def running(bench: Bench) -> AsyncIterator[Bench]:
    """Keep the observation writer of the bench running."""
    async with asyncio.TaskGroup() as group:
        flushing = group.create_task(bench.parker.run())
        yield bench
        flushing.cancel()
