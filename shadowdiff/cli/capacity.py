"""`shadowdiff capacity`: estimate how many pods, how much Redis and how much network a load needs.

The model is linear, so you can recompute each figure manually. `MEASURED` contains the costs measured on one machine.
For exact figures, measure your own machine.
"""

from __future__ import annotations

from math import ceil
from typing import Final

import click
import msgspec

from shadowdiff.cli.remote import FiniteRange, json_option
from shadowdiff.config.settings import CLUSTER_SHARDS

MIB: Final = 1 << 20
GIB: Final = 1 << 30
KB: Final = 1000
BITS: Final = 8
SIDES: Final = 2
SHARDS_PER_MASTER: Final = 4
"""Shards per master; with this many, masters get nearly equal load."""


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """The load.

    rate: mirrored requests per second.  sample: share of requests that is compared.
    body_bytes: size of a response on the wire.  request_bytes: size of a request, head and body.
    stored: size of a compressed body relative to its full size. wait_s: how long v1's response waits for v2's response.
    window_s: how long it waits if v2's never arrives. busy: target CPU use of a core, from 0 to 1.
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
    """The measured cost of each part of the work. docs/scaling.md lists the commands to measure it.

    request_us: CPU of a request that is not compared.  pair_us: CPU of a compared request without its bodies.
    kb_us: CPU per 1,000 bytes of a compared body.  process_ms: CPU per second of an idle process.
    redis_…: the same costs in Redis.
    waiting_bytes: Redis memory for a waiting response, without its body. tombstone_bytes: Redis memory for a finished
    pair until the pair's window ends. head_bytes: size of a message's head.
    process_mib: memory of an idle process.  flight_kb: memory of a request in flight.
    shard_share, redis_shard_share: extra cost of a pair for each additional shard, because each shard gets separate
    calls.  max_spread: upper limit of both cost factors, reached when each observation is a separate call.
    """

    request_us: float = 190
    pair_us: float = 375
    kb_us: float = 20
    process_ms: float = 25
    redis_pair_us: float = 60
    redis_kb_us: float = 3
    redis_process_ms: float = 7.5
    waiting_bytes: float = 250
    tombstone_bytes: float = 174
    head_bytes: float = 600
    process_mib: float = 100
    flight_kb: float = 14
    shard_share: float = 0.0065
    redis_shard_share: float = 0.02
    max_spread: float = 2.0


MEASURED: Final = Costs()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The estimate. Each pod runs one process. Each master uses one core, because Redis runs commands on one core."""

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


def plan(demand: Demand, costs: Costs = MEASURED) -> Plan:
    """Return the estimate for a load."""
    pairs = demand.rate * demand.sample
    body_kb, stored_bytes = demand.body_bytes / KB, demand.body_bytes * demand.stored
    redis_s = pairs * (costs.redis_pair_us + costs.redis_kb_us * body_kb) / 1e6
    shards = _shards(_masters(redis_s / demand.busy))
    spread = min(costs.max_spread, 1 + costs.shard_share * (shards - 1))
    redis_spread = min(costs.max_spread, 1 + costs.redis_shard_share * (shards - 1))
    pair_s = spread * (costs.pair_us + costs.kb_us * body_kb) / 1e6
    work_s = pairs * pair_s + (demand.rate - pairs) * costs.request_us / 1e6
    pods = max(1, ceil(work_s / (demand.busy - costs.process_ms / 1000)))
    in_flight = pairs * demand.wait_s / pods
    redis_s = redis_s * redis_spread + pods * costs.redis_process_ms / 1000
    masters = _masters(redis_s / demand.busy)
    response_bytes = costs.waiting_bytes + stored_bytes
    tombstones = pairs * demand.window_s * costs.tombstone_bytes
    waiting = pairs * demand.wait_s
    outage = pairs * (demand.window_s + demand.wait_s)
    message_bytes = demand.request_bytes + demand.body_bytes + SIDES * costs.head_bytes
    return Plan(
        pods=pods,
        pod_mib=ceil(costs.process_mib + in_flight * (costs.flight_kb + body_kb) * KB / MIB),
        masters=masters,
        shards=shards,
        redis_cores=round(redis_s, 1),
        redis_mib=ceil((waiting * response_bytes + tombstones) / MIB),
        outage_mib=ceil((outage * response_bytes + tombstones) / MIB),
        depth=ceil(outage),
        mesh_mbit=round((demand.rate + pairs) * message_bytes * BITS / 1e6, 1),
        store_mbit=round(pairs * SIDES * SIDES * (stored_bytes + costs.head_bytes) * BITS / 1e6, 1),
    )


def _masters(cores: float) -> int:
    """Return the number of masters: 1 for a single Redis, at least 3 for a cluster."""
    return 1 if cores <= 1 else max(3, ceil(cores))


def _shards(masters: int) -> int:
    """Return the number of shards: 1 for a single Redis; for a cluster a power of two, at least 16."""
    if masters == 1:
        return 1
    return max(CLUSTER_SHARDS, 1 << ceil(masters * SHARDS_PER_MASTER - 1).bit_length())


_USUAL = Demand(rate=1)
_MBIT_SHOWN = 10_000


@click.command()
@click.option("--rate", type=FiniteRange(min=0, min_open=True), required=True, help="Requests per second.")
@click.option("--sample", type=FiniteRange(0, 1), default=_USUAL.sample, show_default=True,
              help="The share of requests that shadowdiff compares.")  # fmt: skip
@click.option("--body-bytes", type=FiniteRange(min=0), default=_USUAL.body_bytes, show_default=True,
              help="Size of a response on the wire.")  # fmt: skip
@click.option("--request-bytes", type=FiniteRange(min=0), default=_USUAL.request_bytes, show_default=True,
              help="Size of a request, including its head.")  # fmt: skip
@click.option("--stored", type=FiniteRange(0, 1), default=_USUAL.stored, show_default=True,
              help="Compressed size of a response, relative to its size on the wire.")  # fmt: skip
@click.option("--wait-s", type=FiniteRange(min=0), default=_USUAL.wait_s, show_default=True,
              help="How many seconds v1's response waits for v2's response (v2's latency).")  # fmt: skip
@click.option("--window-s", type=FiniteRange(min=0), default=_USUAL.window_s, show_default=True,
              help="How many seconds v1's response waits if v2's response never arrives (pairing.window).")  # fmt: skip
@click.option("--busy", type=FiniteRange(0.1, 1), default=_USUAL.busy, show_default=True,
              help="The share of a core that the load may use.")  # fmt: skip
@click.option("--pair-us", type=FiniteRange(min=0), default=MEASURED.pair_us, show_default=True,
              help="CPU time per pair, excluding its bodies, in microseconds.")  # fmt: skip
@click.option("--kb-us", type=FiniteRange(min=0), default=MEASURED.kb_us, show_default=True,
              help="CPU time per 1,000 bytes of a compared body, in microseconds.")  # fmt: skip
@json_option
def command(*, as_json: bool, pair_us: float, kb_us: float, **demand: float) -> None:
    """Estimate how many pods, how much Redis and how much network a load needs.

    The model is linear, with measured costs. docs/scaling.md lists the costs and shows how to measure them yourself.

    \b
    Example:
      shadowdiff capacity --rate 50000 --body-bytes 2000 --sample 0.1
    """  # noqa: D301 - click needs the backspace character
    costs = msgspec.structs.replace(MEASURED, pair_us=pair_us, kb_us=kb_us)
    found = plan(msgspec.convert(demand, Demand), costs)
    click.echo(msgspec.json.encode(found) if as_json else "\n".join(lines(found)))


def lines(found: Plan) -> list[str]:
    """Return the plan as lines of text."""
    redis = f"{found.masters} masters of a cluster" if found.masters > 1 else "1 server"
    return [
        f"pods      {found.pods:,}, each with one process, one core and {_size(found.pod_mib)}",
        f"Redis     {redis}; {found.redis_cores:g} cores in total; store.shards: {found.shards}",
        f"memory    {_size(found.redis_mib)} of Redis; {_size(found.outage_mib)} if one side stops for a whole window",
        f"limit     store.depth: {found.depth}",
        f"network   {_rate(found.mesh_mbit)} to and from mesh and v2; {_rate(found.store_mbit)} to and from Redis",
    ]


def _size(mib: int) -> str:
    return f"{mib} MiB" if mib * MIB < 10 * GIB else f"{mib * MIB / GIB:,.0f} GiB"


def _rate(mbit: float) -> str:
    return f"{mbit:,.0f} Mbit/s" if mbit < _MBIT_SHOWN else f"{mbit / 1000:,.0f} Gbit/s"
