"""Measure the cost of statistics: CPU per pair of service and Redis, with and without counts, buckets and runs.

Both variants take turns (AB, BA, AB, …), each with its own Redis and with the requests, bodies and rules of
`pipeline`. Prints one JSON object; progress goes to standard error.
"""

from __future__ import annotations

import contextlib
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rig import SERVE, WARM_UP, Load, Round, median, rounds_of, run, say, stand, v2
from traffic import Served

if TYPE_CHECKING:
    import argparse

WAYS = {"with": SERVE, "without": (str(Path(__file__).parent / "uncounted.py"),)}


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run both variants and return the result."""
    served = Served()
    v2_url = await v2(served)
    rounds: dict[str, list[Round]] = {way: [] for way in WAYS}
    with contextlib.ExitStack() as stack:
        ways = {way: stack.enter_context(stand(folder, v2_url, way, program=program)) for way, program in WAYS.items()}
        for way, service in ways.items():
            await service.round(f"{way}-warm", Load(WARM_UP), served)
        for number in range(options.rounds):
            for way in list(WAYS)[:: 1 if number % 2 == 0 else -1]:
                rounds[way].append(await ways[way].round(f"{way}{number:03d}", Load(options.pairs), served))
                say(f"round {number + 1}/{options.rounds} {way}: {_us(rounds[way][-1]):.0f} us a pair")
        balanced = all(service.ledger()["balanced"] for service in ways.values())
    return report(rounds) | {"balanced": balanced}


def _us(one: Round) -> float:
    """Return the CPU of service and Redis together."""
    return one["cpu_us"] + one["redis_us"]


def report(rounds: dict[str, list[Round]]) -> dict[str, Any]:
    """Return the JSON object: medians, and the spread of the added cost over the rounds."""
    added = [_us(a) / _us(b) - 1 for a, b in zip(rounds["with"], rounds["without"], strict=True)]
    medians = {f"{name}_{way}": median(rounds[way], name) for way in rounds for name in ("cpu_us", "redis_us")}
    spread = [round(100 * min(added), 1), round(100 * max(added), 1)]
    return {"added_percent": round(100 * statistics.median(added), 1), "added_spread": spread} | medians


def main() -> None:
    """Parse the options, run, print."""
    run(bench, rounds_of(__doc__).parse_args())


if __name__ == "__main__":
    main()
