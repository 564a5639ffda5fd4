"""From v1's answers to compared pairs, as the API tells it and a page draws it.

In: a target, and perhaps a window.  Out: `Funnel`, and from it the bars of `_funnel.html`.
Holds: without a window everything since the store began, route by route; the window of the epoch is exact, any other
one lies between two marks of the ledger and says which. What is read last is the ledger, which knows the most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.verdict import (
    Funnel,
    FunnelLoss,
    FunnelRoutes,
    FunnelWindow,
    flat,
    funnel,
    grown_since,
    mark_after,
    mark_before,
    read_counts,
    read_history,
)
from shadowdiff.web.asked import known
from shadowdiff.web.history import check_window, moment
from shadowdiff.web.operation import ApiError, Arguments, Operation, Parameter

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.verdict import TargetCounts
    from shadowdiff.web.state import WebState

EPOCH: Final = "epoch"
_LIVE_MS: Final = 60_000
"""A window that ends within the last minute ends with the ledger as it stands."""
WIDE: Final = 1000
"""The width of the widest bar."""
_LEAST: Final = 4
"""What is there at all can be seen."""


async def get_funnel(state: WebState, arguments: Arguments, _request: Request) -> Funnel:
    """Answer what was lost where, and why."""
    name, since, until = arguments["target"], arguments["since"], arguments["until"]
    known(state, name)
    if since == EPOCH:
        return await funnel_of_epoch(state, name)
    if not since:
        return await whole_funnel(state, name)
    now_ms = state.now_ms()
    start_ms, end_ms = moment("since", since, now_ms), moment("until", until, now_ms)
    check_window(start_ms, end_ms, now_ms)
    return await _funnel_between(state, name, start_ms, end_ms)


async def whole_funnel(state: WebState, name: str, counts: TargetCounts | None = None) -> Funnel:
    """Return the funnel since the store began, route by route."""
    fold = state.fold(name)
    known = await read_counts(state.reader, name, fold) if counts is None else counts
    lost = await state.lost(name) if state.lost else {}
    return funnel(name, flat(await state.ledger(name)), FunnelRoutes.of(known.routes, lost, fold))


async def funnel_of_epoch(state: WebState, name: str) -> Funnel:
    """Return the funnel since the epoch opened. Raises: ApiError, where none did."""
    epoch = await state.epochs.current(name) if state.epochs else None
    if epoch is None:
        raise ApiError(404, f"no epoch of {name!r} is open yet: leave `since` out, or ask again in a second")
    routes = await _routes_between(state, name, epoch.started_ms, state.now_ms())
    grown = grown_since(flat(await state.ledger(name)), epoch.ledger)
    return funnel(name, grown, routes, FunnelWindow(start_ms=epoch.started_ms, end_ms=state.now_ms()))


async def _funnel_between(state: WebState, name: str, start_ms: int, end_ms: int) -> Funnel:
    now_ms = state.now_ms()
    first = await mark_after(state.reader, name, start_ms, end_ms, now_ms)
    if first is None:
        raise ApiError(404, "the ledger was not kept in this window: no service ran then, or it just started")
    last = await mark_before(state.reader, name, start_ms, end_ms, now_ms)
    if last is None or now_ms - end_ms < _LIVE_MS:
        end_ms = now_ms
        routes = await _routes_between(state, name, first.at_ms, end_ms)
        counts = flat(await state.ledger(name))
    else:
        end_ms, counts = last.at_ms, last.counts
        routes = await _routes_between(state, name, first.at_ms, end_ms)
    window = FunnelWindow(start_ms=first.at_ms, end_ms=end_ms)
    return funnel(name, grown_since(counts, first.counts), routes, window)


async def _routes_between(state: WebState, name: str, start_ms: int, end_ms: int) -> FunnelRoutes:
    """Return what the buckets know; their ends lie on whole minutes or hours, so that reasons may miss a few pairs."""
    history = await read_history(state.reader, name, start_ms, end_ms, state.now_ms(), fold=state.fold(name))
    return FunnelRoutes.of(history.routes)


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One step as a bar: of `WIDE`, `kept` goes on to the next step and `lost` ends here."""

    name: str
    count: int
    kept: float
    lost: float
    losses: tuple[FunnelLoss, ...]


def bars(shown: Funnel) -> tuple[Bar, ...]:
    """Return the steps as bars, the widest first step or step being `WIDE` wide."""
    most = max((step.count for step in shown.steps), default=0)

    def wide(count: int) -> float:
        return max(_LEAST, round(WIDE * min(count, most) / most, 1)) if count > 0 and most > 0 else 0.0

    return tuple(
        Bar(name=step.name, count=step.count, kept=wide(step.count - lost), lost=wide(lost), losses=step.losses)
        for step in shown.steps
        for lost in (sum(loss.count for loss in step.losses if loss.count > 0),)
    )


FUNNEL: Final = Operation(
    path="/funnel",
    name="funnel",
    summary="From v1's answers to compared pairs: what was lost at which step, and why; the sums are the ledger's",
    handler=get_funnel,
    answer=Funnel,
    parameters=(
        Parameter(name="target", description="the name of a configured target", required=True),
        Parameter(
            name="since",
            description="the start: `epoch`, or a time, or so long ago as 30m, 6h, 7d; left out: since the store began",
        ),
        Parameter(name="until", description="the end of a window, likewise; left out: now", default="0m"),
    ),
    refuses={
        400: "An argument is missing or wrong",
        404: "No such target, or nothing was kept in this window",
    },
)
