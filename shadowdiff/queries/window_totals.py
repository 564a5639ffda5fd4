"""Counts, losses and latency of a target, since the store began or in a time window.

A window that a user picks afterwards gets no verdict, because no confidence level is valid for it. The window of a run
is exact. Any other window lies between two snapshots of the ledger, and the response states their times.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Side
from shadowdiff.queries.errors import RequestError
from shadowdiff.verdict.counts import read_durations
from shadowdiff.verdict.funnel import Funnel, FunnelWindow, funnel, grown_since
from shadowdiff.verdict.funnel import Routes as FunnelRoutes
from shadowdiff.verdict.history import History, read_history
from shadowdiff.verdict.latency import MEASURED, LatencyComparison, compare_latency
from shadowdiff.verdict.ledger_growth import flat, read_snapshots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowdiff.queries.targets import Queries
    from shadowdiff.verdict.ledger_growth import LedgerSnapshot

_AGO: Final = re.compile(r"(\d{1,6})(m|h|d)")
_UNIT_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LIVE_MS: Final = 60_000
"""If a window ends within the last minute, the current ledger is its end."""


class WindowHistory(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a window. `descriptive` is always true, because no verdict rests on these counts."""

    descriptive: bool
    history: History


class LatencyReport(msgspec.Struct, frozen=True, kw_only=True):
    """Latency of all routes together, then of each route, most pairs first.  measured: what the times include."""

    target: str
    measured: str
    routes: list[LatencyComparison]


def parse_time(name: str, text: str, now_ms: int) -> int:
    """Return a time, or an age such as `30m`, in Unix milliseconds. Raises: RequestError that names the parameter."""
    ago = _AGO.fullmatch(text)
    if ago:
        return now_ms - int(ago[1]) * _UNIT_MS[ago[2]]
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))  # a + in a query string is decoded as a space
    except ValueError:
        raise RequestError(
            400,
            f"parameter {name!r} is {text!r}: use a time such as 2026-03-01T10:00:00Z, or an age such as 30m, 6h or 7d",
        ) from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def _window(queries: Queries, since: str, until: str) -> tuple[int, int, int]:
    """Return start, end and current time. Raises: RequestError if the store no longer has data for the window."""
    now_ms = queries.now_ms()
    start_ms, end_ms = parse_time("since", since, now_ms), parse_time("until", until, now_ms)
    if not now_ms - 35 * _UNIT_MS["d"] <= start_ms < end_ms <= now_ms + _UNIT_MS["m"]:
        raise RequestError(
            400, "`since` must be within the last 35 days, and `until` must be after `since` and not in the future"
        )
    return start_ms, end_ms, now_ms


async def history(queries: Queries, target: str, since: str, until: str) -> WindowHistory:
    """Return the counts of a window. Raises: RequestError."""
    name = queries.target(target).target.name
    start_ms, end_ms, now_ms = _window(queries, since, until)
    found = await read_history(queries.reader, name, start_ms, end_ms, now_ms, fold=queries.route_names(name))
    return WindowHistory(descriptive=True, history=found)


async def latency(queries: Queries, target: str) -> LatencyReport:
    """Return the latency of both sides, for all routes together and for each route. Raises: RequestError."""
    name = queries.target(target).target.name
    durations = await read_durations(queries.reader, name, queries.route_names(name))
    whole: dict[str, Counter[int]] = {side: Counter() for side in Side}
    for sides in durations.values():
        for side, counts in sides.items():
            whole[side].update(counts)
    rows = [_compare(route, sides) for route, sides in durations.items()]
    found = sorted((row for row in rows if row), key=lambda row: (-row.candidate, row.route))
    together = _compare("all routes", whole)
    return LatencyReport(target=name, measured=MEASURED, routes=[together, *found] if together else [])


def _compare(route: str, sides: Mapping[str, Mapping[int, int]]) -> LatencyComparison | None:
    return compare_latency(route, sides.get(Side.PRIMARY, {}), sides.get(Side.CANDIDATE, {}))


async def losses(queries: Queries, target: str, since: str | None, until: str) -> Funnel:
    """Return the losses at each step: since the store began, in the current run, or in a window.

    Raises: RequestError if nothing was stored for that time.
    """
    name = queries.target(target).target.name
    if not since:
        return await all_losses(queries, name)
    if since == "run":
        run = await queries.runs.current(name) if queries.runs else None
        if run is None:
            raise RequestError(404, f"no run of {name!r} has started yet; omit `since`, or retry in a second")
        return await _losses_since(queries, name, run.started_ms, run.ledger)
    start_ms, end_ms, now_ms = _window(queries, since, until)
    snapshots = await read_snapshots(queries.reader, name, start_ms, end_ms, now_ms)
    if snapshots is None:
        raise RequestError(404, "no ledger is stored for this window: the service was not running, or it just started")
    first, last = snapshots
    is_live = now_ms - end_ms < _LIVE_MS
    return await _losses_since(queries, name, first.at_ms, first.counts, None if is_live else last)


async def all_losses(queries: Queries, name: str) -> Funnel:
    """Return the target's and each route's losses since the store was created."""
    counts = await queries.counts(name)
    lost = await queries.lost(name) if queries.lost else {}
    routes = FunnelRoutes.of(counts.routes, lost, queries.route_names(name))
    return funnel(name, flat(await queries.ledger(name)), routes)


async def _losses_since(
    queries: Queries, name: str, start_ms: int, counted: dict[str, int], end: LedgerSnapshot | None = None
) -> Funnel:
    """Return the losses since the ledger had these counts, until a snapshot or the current time.

    Counts by route are for whole minutes or hours, so the reasons can omit a few pairs.
    """
    now_ms = queries.now_ms()
    window = FunnelWindow(start_ms=start_ms, end_ms=end.at_ms if end else now_ms)
    fold = queries.route_names(name)
    found = await read_history(queries.reader, name, window.start_ms, window.end_ms, now_ms, fold=fold)
    counts = end.counts if end else flat(await queries.ledger(name))
    return funnel(name, grown_since(counts, counted), FunnelRoutes.of(found.routes), window)
