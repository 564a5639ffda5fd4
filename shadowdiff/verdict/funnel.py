"""The funnel: show how many responses of v1 are lost at each step before they are compared pairs, and why.

Pure. A step's count is the previous step's count minus its losses; if the ledger does not balance, the difference is
the loss `unaccounted`. Requests in progress (in flight, waiting, pending) count as losses for now; those in progress at
the start of a window are a negative loss. Losses whose route is unknown are only in the target's steps.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import OUTSIDE_COVERAGE, WITHHELD, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shadowdiff.verdict.counts import Fold, RouteCounts
    from shadowdiff.verdict.history import RouteHistory

_UNTIL_COMPARISON: Final = 6
"""The number of steps before the comparison. Every later loss has a route."""
_WITHOUT_ROUTE: Final = {"in_flight", "waiting", "pending", "other_side", "duplicate", "replaced", "unaccounted"}
"""Requests that may not be lost yet, and losses that are not separate requests."""
_NOT_ELIGIBLE: Final = ("ineligible", "excluded", "sampled_out", "refused")
"""Losses that coverage does not count."""
_MIRROR_LOSSES: Final = ("shed", "aborted", "too_large", "unidentified", "looped", "store_lost", "crashed")
UNACCOUNTED: Final = "unaccounted"
COULD_NOT_COMPARE: Final = "could not be compared"
"""`why` of a loss whose `reason` is the reason of the pair."""

WHY: Final[Mapping[str, str]] = {
    "unrecorded": "mirrored, but v1's response was never recorded; is the recorder on?",
    "ineligible": "method not compared on this route",
    "excluded": "excluded by the target's include or exclude",
    "sampled_out": "not in the target's sample",
    "refused": "invalid record; the records port returned the error",
    "in_flight": "in flight",
    "shed": "shed at a limit",
    "store_lost": "not stored in time",
    "crashed": "lost when a process died",
    "other_side": "a response of v2, recorded by its own proxy",
    "duplicate": "duplicate response",
    "replaced": "replaced by the response to a retry",
    "waiting": "waiting for v2's response",
    "mirror_shed": "mirrored request shed at a limit",
    "mirror_aborted": "mirrored request aborted",
    "mirror_too_large": "mirrored request too large",
    "mirror_unidentified": "mirrored request without an id",
    "mirror_looped": "shadowdiff's own traffic, mirrored again",
    "mirror_store_lost": "v2's response not stored in time",
    "mirror_crashed": "mirrored request lost when a process died",
    "not_mirrored": "partner never arrived: not mirrored by the mesh, or the window is too short",
    "ambiguous": "one id for two different requests",
    "late": "arrived too late",
    "pending": "paired, not compared yet",
    WITHHELD: "shadowdiff sends v2 no GraphQL operations except queries",
    "not_modified": "v1 returned 304 for its own ETag, which v2 cannot know",
    UNACCOUNTED: "the ledger does not balance",
}


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """The number of losses for one reason; `why` describes the reason."""

    reason: str
    count: int
    why: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The number of items that reached this step, and the losses before the next step."""

    name: str
    count: int
    losses: tuple[Loss, ...] = ()


class RouteFunnel(msgspec.Struct, frozen=True, kw_only=True):
    """One route: `seen` minus the route's losses is the number of compared pairs.

    judged: the route's pairs with a result. mirrored: the route's lost mirrored requests, by disposition; the losses
    include v1's responses to these requests.
    """

    route: str
    seen: int
    judged: int
    losses: tuple[Loss, ...]
    compared: int
    mirrored: dict[str, int] = {}


class FunnelWindow(msgspec.Struct, frozen=True, kw_only=True):
    """The time that the numbers cover (Unix ms)."""

    start_ms: int
    end_ms: int


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """The steps from v1's responses to compared pairs; `exact`: whether the counts of all steps add up.

    window: None for all time; in a window, routes are known only for compared pairs.
    unrouted: losses before the comparison whose route is unknown (unreadable records, losses of dead processes, and
    orphans that arrive faster than they are read).
    """

    target: str
    exact: bool
    steps: tuple[Step, ...]
    routes: tuple[RouteFunnel, ...] = ()
    unrouted: tuple[Loss, ...] = ()
    window: FunnelWindow | None = None


class Routes(msgspec.Struct, frozen=True, kw_only=True):
    """Counts by route: pairs by result, reasons why pairs could not be compared, and losses before the comparison.

    lost: by route and `row.disposition` (`mirrored.shed`, `recorded.ineligible`, `primary.orphaned`, …).
    """

    results: dict[str, dict[str, int]] = {}
    reasons: dict[str, dict[str, int]] = {}
    lost: dict[str, Counter[str]] = {}

    @classmethod
    def of(
        cls,
        routes: Sequence[RouteCounts | RouteHistory],
        lost: Mapping[str, int] | None = None,
        fold: Fold = str,
    ) -> Routes:
        """Return the counts by route. lost: lost requests by `route row.disposition`, as in the ledger."""
        found: dict[str, Counter[str]] = {}
        for field, count in (lost or {}).items():
            route, _, what = field.rpartition(" ")
            found.setdefault(fold(route), Counter())[what] += count
        results, reasons = {one.route: one.results for one in routes}, {one.route: one.reasons for one in routes}
        return cls(results=results, reasons=reasons, lost=found)


Named = list[tuple[str, int]]


def funnel(target: str, counts: Mapping[str, int], routes: Routes, window: FunnelWindow | None = None) -> Funnel:
    """Return the funnel of a flat ledger, for all time or for the growth within a window."""
    orphans = {route: _orphans(lost, lost["primary.orphaned"]) for route, lost in routes.lost.items()}
    steps = _steps(Counter(counts), routes, orphans)
    made = [_route(name, routes, orphans.get(name, [])) for name in routes.results.keys() | routes.lost.keys()]
    of_routes: Counter[str] = Counter()
    for route in made:
        of_routes.update({loss.reason: loss.count for loss in route.losses})
    unrouted = [
        (loss.reason, loss.count - of_routes[loss.reason])
        for step in steps[:_UNTIL_COMPARISON]
        for loss in step.losses
        if loss.reason not in _WITHOUT_ROUTE
    ]
    return Funnel(
        target=target,
        exact=not any(loss.reason == UNACCOUNTED for step in steps for loss in step.losses),
        steps=steps,
        routes=tuple(sorted(made, key=lambda route: (-route.seen, route.route))),
        unrouted=_losses(unrouted),
        window=window,
    )


def top_loss(shown: Funnel) -> Loss | None:
    """Return the reason with the largest loss; None if nothing is lost. Work in progress is not lost yet."""
    excluded = {*_WITHOUT_ROUTE, *_NOT_ELIGIBLE, *OUTSIDE_COVERAGE}
    lost = [loss for step in shown.steps for loss in step.losses if loss.count > 0 and loss.reason not in excluded]
    return max(lost, key=lambda loss: loss.count, default=None)


def grown_since(now: Mapping[str, int], then: Mapping[str, int]) -> dict[str, int]:
    """Return the growth between two flat ledgers; counts of items in progress may decrease."""
    return {name: now.get(name, 0) - then.get(name, 0) for name in now.keys() | then.keys()}


def _steps(counts: Counter[str], routes: Routes, orphans: Mapping[str, Named]) -> tuple[Step, ...]:
    def named(row: str, *names: str) -> Named:
        return [(name, counts[f"{row}.{name}"]) for name in names]

    def total(row: str, *names: str) -> int:
        return sum(count for _, count in named(row, *names))

    reasons: Counter[str] = Counter()
    for each in routes.reasons.values():
        reasons.update(each)
    received, unrecorded = counts["recorded.received"], counts["observations.candidate.orphaned"]
    other_side = max(0, counts["observations.candidate.parked"] - total("mirrored", "forwarded", WITHHELD))
    taken = [*named("recorded", "shed", "store_lost", "crashed", "in_flight"), ("other_side", other_side)]
    stored = named("observations.primary", "duplicate", "replaced", "waiting")
    expired = [*_all_orphans(counts, orphans), *named("observations.primary", "ambiguous", "late")]
    decided = total("observations.primary", "paired", "orphaned", "ambiguous", "late")
    steps: Sequence[tuple[str, int, Named]] = (
        ("requests to v1", received + unrecorded, [("unrecorded", unrecorded)]),
        ("responses of v1 recorded", received, named("recorded", *_NOT_ELIGIBLE)),
        ("eligible responses", received - total("recorded", *_NOT_ELIGIBLE), taken),
        ("responses stored", counts["observations.primary.parked"], stored),
        ("responses paired or expired", decided, expired),
        ("pairs", counts["pairs.ready"], named("pairs", "pending")),
        ("pairs with a result", total("pairs", *Result), _incomparable(reasons, counts["pairs.incomparable"])),
        ("pairs compared", total("pairs", Result.MATCH, Result.IGNORED, Result.MISMATCH), []),
    )
    reached = [count for _, count, _ in steps]
    return tuple(
        Step(name=name, count=count, losses=_losses([*lost, (UNACCOUNTED, count - after - sum(n for _, n in lost))]))
        for (name, count, lost), after in zip(steps, [*reached[1:], reached[-1]], strict=True)
    )


def _all_orphans(counts: Counter[str], by_route: Mapping[str, Named]) -> Named:
    """Return why responses of v1 were not paired, by route; if the route is unknown, from the ledger."""
    known: Counter[str] = Counter()
    for named in by_route.values():
        known.update(dict(named))
    orphaned = counts["observations.primary.orphaned"]
    if known.total() > orphaned:  # the routes were read after the ledger
        return _orphans(counts, orphaned)
    left = Counter({f"mirrored.{name}": counts[f"mirrored.{name}"] - known[f"mirror_{name}"]
                    for name in _MIRROR_LOSSES})  # fmt: skip
    return [(reason, known[reason] + count) for reason, count in _orphans(left, orphaned - known.total())]


def _orphans(counts: Counter[str], left: int) -> Named:
    """Return why this number of responses was not paired: first lost mirrored requests, then other reasons."""
    named: Named = []
    for name in _MIRROR_LOSSES:
        count = max(0, min(left, counts[f"mirrored.{name}"]))
        named.append((f"mirror_{name}", count))
        left -= count
    return [*named, ("not_mirrored", left)]


def _losses(named: Iterable[tuple[str, int]]) -> tuple[Loss, ...]:
    return tuple(Loss(reason=reason, count=count, why=_why(reason, count)) for reason, count in named if count)


def _why(reason: str, count: int) -> str:
    why = WHY.get(reason, COULD_NOT_COMPARE)
    return why if count > 0 or reason == UNACCOUNTED else f"arrived before the window, settled within it: {why}"


def _incomparable(reasons: Mapping[str, int], known: int) -> Named:
    """Return the reasons; a pair that is counted only in the ledger or only by reason has no known reason."""
    listed = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return [*listed, ("incomparable", known - sum(reasons.values()))]


def _route(name: str, routes: Routes, orphans: Named) -> RouteFunnel:
    """Return the losses of one route, computed from the last step to the first."""
    results, lost = routes.results.get(name, {}), routes.lost.get(name, Counter())
    judged = sum(results.values())
    incomparable = results.get(Result.INCOMPARABLE, 0)
    before = [
        ("unrecorded", lost["candidate.orphaned"]),
        *((what, lost[f"recorded.{what}"]) for what in ("ineligible", "excluded", "sampled_out", "shed")),
        *orphans,
    ]
    return RouteFunnel(
        route=name,
        seen=judged + sum(count for _, count in before),
        judged=judged,
        losses=_losses([*before, *_incomparable(routes.reasons.get(name, {}), incomparable)]),
        compared=judged - incomparable,
        mirrored={what.removeprefix("mirrored."): n for what, n in lost.items() if what.startswith("mirrored.") and n},
    )
