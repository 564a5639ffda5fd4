"""How long v1 and v2 take, side by side, as the API tells it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Side
from shadowdiff.verdict import MEASURED, LatencyComparison, compare_latency, read_durations
from shadowdiff.web.asked import known
from shadowdiff.web.operation import Arguments, Operation, Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from shadowdiff.web.state import WebState

ALL: Final = "all routes"


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """All routes together, then each, those with most pairs first; `measured` says what the durations include."""

    target: str
    measured: str
    routes: list[LatencyComparison]


async def get_latency(state: WebState, arguments: Arguments, _request: Request) -> Latencies:
    """Answer how long both sides take."""
    name = known(state, arguments["target"]).target.name
    durations = await read_durations(state.reader, name, state.fold(name))
    whole: dict[str, Counter[int]] = {side: Counter() for side in Side}
    for sides in durations.values():
        for side, counts in sides.items():
            whole[side].update(counts)
    rows = [_row(route, sides) for route, sides in durations.items()]
    found = sorted((row for row in rows if row), key=lambda row: (-row.candidate, row.route))
    together = _row(ALL, whole)
    return Latencies(target=name, measured=MEASURED, routes=[together, *found] if together else [])


def _row(route: str, sides: Mapping[str, Mapping[int, int]]) -> LatencyComparison | None:
    return compare_latency(route, sides.get(Side.PRIMARY, {}), sides.get(Side.CANDIDATE, {}))


LATENCY: Final = Operation(
    path="/latency",
    name="latency",
    summary="How long v1 and v2 take, side by side per route, with an interval for the difference of each quantile",
    handler=get_latency,
    answer=Latencies,
    parameters=(Parameter(name="target", description="the name of a configured target", required=True),),
    refuses={400: "An argument is missing", 404: "No such target"},
)
