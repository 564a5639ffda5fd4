"""What the demo says last when it is stopped: the verdict so far, what was seen, and where to read on.

In: the ledger, the target's report and the traffic at that moment.  Out: lines.
Holds: says what the API says; a service that gives no answer any more is named, and holds nothing up.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rich.text import Text

from shadowdiff.demo.process import DemoError
from shadowdiff.demo.table import COLOURS, progress
from shadowdiff.web.words import short_path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from rich.console import Console

    from shadowdiff.demo.api import Ledger, Target
    from shadowdiff.demo.scene import Scene
    from shadowdiff.demo.traffic import Tally

WITHIN_S = 5.0
TOP_PLACES = 3
READ_ON = "read on: docs/quickstart.md (your own v1 and v2 in their place), docs/verdict.md (what a verdict rests on)"


@asynccontextmanager
async def farewell(here: Scene, tally: Tally, console: Console) -> AsyncGenerator[None]:
    """Say what was seen where the block is cancelled while everything runs."""
    try:
        yield
    except asyncio.CancelledError:
        if all(child.alive for child in here.children):  # else the demo ends by a failure, which is told instead
            await _say(here, tally, console)
        raise


async def _say(here: Scene, tally: Tally, console: Console) -> None:
    try:
        async with asyncio.timeout(WITHIN_S):
            ledger, target = await here.api.ledger(), await here.api.target()
    except (DemoError, TimeoutError) as problem:
        console.print(Text(f"stopped; the service says nothing any more: {problem}"), soft_wrap=True)
        return
    console.print(Text(f"stopped: {progress(tally, None)}"), soft_wrap=True)
    for line in lines(ledger, target):
        style = COLOURS.get(target.verdict.verdict, "") if line.startswith(target.verdict.verdict.upper()) else ""
        console.print(Text(line, style=style), soft_wrap=True)


def lines(ledger: Ledger, target: Target) -> list[str]:
    """Return what was seen: the verdict with its reason, the figures, the places that differ most, where to read on."""
    compared = sum(count for name, count in ledger.pairs.items() if name not in {"ready", "pending"})
    if not compared:
        return ["nothing was compared yet", READ_ON]
    verdict, wrong = target.verdict, ledger.pairs["mismatch"]
    books = "balanced" if ledger.balanced else "NOT balanced"
    found = [(path.count, path.path, path.kind, route.route) for route in target.routes for path in route.paths]
    places = [
        f"  {count:,} pairs of {route}: {short_path(path)}, {kind}"
        for count, path, kind, route in sorted(found, reverse=True)[:TOP_PLACES]
    ]
    differ = "" if " pairs differ" in verdict.reason else f"{wrong:,} of {compared:,} pairs differ, "
    return [
        f"{verdict.verdict.upper()}: {verdict.reason}",
        f"{differ}coverage {ledger.coverage['ratio']:.1%}, books {books}" + ("; most often:" if places else ""),
        *places,
        READ_ON,
    ]
