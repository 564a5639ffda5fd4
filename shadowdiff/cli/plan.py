"""How much a load takes: pods, Redis, memory, network.

In: what comes (`Demand`), and what one of it costs (`Costs`, as measured).  Out: a `Plan`.
Holds: pure; a linear model, so that each figure can be followed by hand. What is measured on one machine holds for
others in proportion: `Costs` of one's own make it exact.
"""

from __future__ import annotations

from math import ceil
from typing import Final

import msgspec

from shadowdiff.config.settings import CLUSTER_SHARDS

MIB: Final = 1 << 20
GIB: Final = 1 << 30
KB: Final = 1000
BITS: Final = 8
HALVES: Final = 2
SHARDS_A_MASTER: Final = 4
"""For each master that the pairs alone would take; of so many, masters with equal ranges of slots differ little."""


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What comes in.

    rate: requests a second that the mesh mirrors.  sample: the share that is compared.
    body_bytes: of an answer, as on the wire.  request_bytes: of a request, head and body.
    stored: what compression leaves of an answer.  wait_s: how long a half waits for the other, which is v2's time.
    window_s: how long it waits where none comes.  busy: the share of a core that is planned for.
    """

    rate: float
    sample: float = 1.0
    body_bytes: float = 1_500.0
    request_bytes: float = 800.0
    stored: float = 0.38
    wait_s: float = 0.5
    window_s: float = 30.0
    busy: float = 0.6


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What one of it costs; docs/scaling.md says by which commands this was measured.

    request_us: a request that is not compared.  pair_us: one that is, beside its bodies.  kb_us: each 1,000 bytes of a
    body of such.  process_ms: a process in a second, whatever comes.  redis_…: the same on Redis' side.
    waiting_bytes: Redis' memory beside a waiting half's answer.  tombstone_bytes: what is left of a pair until its
    window ends.  head_bytes: of each message, as sent.  flight_kb: a request at work, in a process's memory.
    shard_share, redis_shard_share: by how much a pair costs more for each shard beyond the first, since calls are
    gathered for each; spread_most: the most that comes to, where each observation is a call of its own.
    """

    request_us: float = 0.0
    pair_us: float = 0.0
    kb_us: float = 0.0
    process_ms: float = 0.0
    redis_pair_us: float = 0.0
    redis_kb_us: float = 0.0
    redis_process_ms: float = 0.0
    waiting_bytes: float = 0.0
    tombstone_bytes: float = 0.0
    head_bytes: float = 0.0
    process_mib: float = 0.0
    flight_kb: float = 0.0
    shard_share: float = 0.0
    redis_shard_share: float = 0.0
    spread_most: float = 2.0

    def spread(self, shards: int) -> tuple[float, float]:
        """Return how many times as much a pair costs over so many shards: a process, and Redis."""
        further = shards - 1
        each = (1 + self.shard_share * further, 1 + self.redis_shard_share * further)
        return min(self.spread_most, each[0]), min(self.spread_most, each[1])


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What that takes. A pod is one process, and a master one core, as Redis uses no more for commands."""

    pods: int
    pod_mib: int
    masters: int
    shards: int
    redis_cores: float
    redis_mib: int
    outage_mib: int
    depth: int
    mesh_mbit: float
    store_mbit: float


MEASURED: Final = Costs(
    request_us=190,
    pair_us=375,
    kb_us=20,
    process_ms=25,
    redis_pair_us=60,
    redis_kb_us=3,
    redis_process_ms=7.5,
    waiting_bytes=250,
    tombstone_bytes=174,
    head_bytes=600,
    process_mib=100,
    flight_kb=14,
    shard_share=0.0065,
    redis_shard_share=0.02,
)


def plan(demand: Demand, costs: Costs = MEASURED) -> Plan:
    """Return what a load takes."""
    pairs = demand.rate * demand.sample
    body_kb, stored_bytes = demand.body_bytes / KB, demand.body_bytes * demand.stored
    redis_s = pairs * (costs.redis_pair_us + costs.redis_kb_us * body_kb) / 1e6
    shards = _shards(_masters(redis_s / demand.busy))
    spread, redis_spread = costs.spread(shards)
    pair_s = spread * (costs.pair_us + costs.kb_us * body_kb) / 1e6
    work_s = pairs * pair_s + (demand.rate - pairs) * costs.request_us / 1e6
    pods = max(1, ceil(work_s / (demand.busy - costs.process_ms / 1000)))
    in_flight = pairs * demand.wait_s / pods
    redis_s = redis_s * redis_spread + pods * costs.redis_process_ms / 1000
    masters = _masters(redis_s / demand.busy)
    half_bytes = costs.waiting_bytes + stored_bytes
    tombstones = pairs * demand.window_s * costs.tombstone_bytes
    waiting = pairs * demand.wait_s
    outage = pairs * (demand.window_s + demand.wait_s)
    message_bytes = demand.request_bytes + demand.body_bytes + HALVES * costs.head_bytes
    return Plan(
        pods=pods,
        pod_mib=ceil(costs.process_mib + in_flight * (costs.flight_kb + body_kb) * KB / MIB),
        masters=masters,
        shards=shards,
        redis_cores=round(redis_s, 1),
        redis_mib=ceil((waiting * half_bytes + tombstones) / MIB),
        outage_mib=ceil((outage * half_bytes + tombstones) / MIB),
        depth=ceil(outage),
        mesh_mbit=round((demand.rate + pairs) * message_bytes * BITS / 1e6, 1),
        store_mbit=round(pairs * HALVES * HALVES * (stored_bytes + costs.head_bytes) * BITS / 1e6, 1),
    )


def _masters(cores: float) -> int:
    """Return one Redis, or as many masters of a cluster, which begins at three."""
    return 1 if cores <= 1 else max(3, ceil(cores))


def _shards(masters: int) -> int:
    """Return how many a store of so many masters has: a power of two, 16 at least on a cluster."""
    if masters == 1:
        return 1
    return max(CLUSTER_SHARDS, 1 << ceil(masters * SHARDS_A_MASTER - 1).bit_length())
