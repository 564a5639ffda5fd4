"""`shadowdiff capacity`: how many pods, how much Redis and how much network a load takes."""

from __future__ import annotations

import click
import msgspec

from shadowdiff.cli.plan import GIB, MEASURED, MIB, Demand, Plan, plan
from shadowdiff.cli.remote import json_option

_USUAL = Demand(rate=1)
_MBIT_SHOWN = 10_000


@click.command()
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), required=True, help="Requests a second.")
@click.option(
    "--sample", type=click.FloatRange(0, 1), default=_USUAL.sample, show_default=True, help="The share compared."
)
@click.option("--body-bytes", type=click.FloatRange(min=0), default=_USUAL.body_bytes, show_default=True,
              help="Of an answer, as on the wire.")  # fmt: skip
@click.option("--request-bytes", type=click.FloatRange(min=0), default=_USUAL.request_bytes, show_default=True,
              help="Of a request, head and body.")  # fmt: skip
@click.option("--stored", type=click.FloatRange(0, 1), default=_USUAL.stored, show_default=True,
              help="What compression leaves of an answer; 1 where it comes compressed.")  # fmt: skip
@click.option("--wait-s", type=click.FloatRange(min=0), default=_USUAL.wait_s, show_default=True,
              help="How long a half waits for the other: v2's time.")  # fmt: skip
@click.option("--window-s", type=click.FloatRange(min=0), default=_USUAL.window_s, show_default=True,
              help="How long it waits where none comes: pairing.window.")  # fmt: skip
@click.option("--busy", type=click.FloatRange(0.1, 1), default=_USUAL.busy, show_default=True,
              help="The share of a core that is planned for.")  # fmt: skip
@click.option("--pair-us", type=click.FloatRange(min=0), default=MEASURED.pair_us, show_default=True,
              help="CPU of a pair without its bodies, as you measured it.")  # fmt: skip
@click.option("--kb-us", type=click.FloatRange(min=0), default=MEASURED.kb_us, show_default=True,
              help="CPU of each 1,000 bytes of a compared body, as you measured it.")  # fmt: skip
@json_option
def command(*, as_json: bool, pair_us: float, kb_us: float, **demand: float) -> None:
    """Say how many pods, how much Redis and how much network a load takes.

    A linear model of measured costs; docs/scaling.md says which, and how to measure your own.

    \b
    Example:
      shadowdiff capacity --rate 50000 --body-bytes 2000 --sample 0.1
    """  # noqa: D301 - click wants the backspace itself
    costs = msgspec.structs.replace(MEASURED, pair_us=pair_us, kb_us=kb_us)
    found = plan(msgspec.convert(demand, Demand), costs)
    click.echo(msgspec.json.encode(found) if as_json else "\n".join(lines(found)))


def lines(found: Plan) -> list[str]:
    """Return the plan in words."""
    redis = f"{found.masters} masters of a cluster" if found.masters > 1 else "1 server"
    return [
        f"pods      {found.pods:,}, each one process: a core and {_size(found.pod_mib)}",
        f"Redis     {redis}: {found.redis_cores:g} cores of commands in all; store.shards: {found.shards}",
        f"memory    {_size(found.redis_mib)} in all; {_size(found.outage_mib)} where one side stops for a whole window",
        f"bound     store.depth: {found.depth}",
        f"network   {_rate(found.mesh_mbit)} with mesh and v2; {_rate(found.store_mbit)} between pods and Redis",
    ]


def _size(mib: int) -> str:
    return f"{mib} MiB" if mib * MIB < 10 * GIB else f"{mib * MIB / GIB:,.0f} GiB"


def _rate(mbit: float) -> str:
    return f"{mbit:,.0f} Mbit/s" if mbit < _MBIT_SHOWN else f"{mbit / 1000:,.0f} Gbit/s"
