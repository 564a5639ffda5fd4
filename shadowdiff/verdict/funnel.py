"""From v1's answers to compared pairs: what was lost at which step, and why.

In: a ledger (at either end of a window), the routes with the reasons why pairs could not be compared, and what each
route lost before that.  Out: `Funnel`.
Holds: pure; each step's count is the one before it less its losses, exactly, as long as the ledger balances; where it
does not, the difference stands as `unaccounted`. What has no end yet (in flight, waiting, pending) is a loss of its
step for now; in a window what was under way at its start comes out of it as a negative one. A route's losses add up to
what was seen of it by their nature; what no route is known of stands in the target's steps alone.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from shadowdiff.model import Result
from shadowdiff.verdict.counts import Fold, as_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Judged(Protocol):
    """A route's pairs by result, and why those that could not be compared could not: counts, or those of a window."""

    @property
    def route(self) -> str:
        """Its name."""
        ...

    @property
    def results(self) -> dict[str, int]:
        """Pairs by result."""
        ...

    @property
    def reasons(self) -> dict[str, int]:
        """Pairs that could not be compared, by reason."""
        ...


_JUDGED: Final = 6
"""Steps before pairs are judged: from there on every loss has its route."""
_UNDER_WAY: Final = frozenset({"in_flight", "waiting", "pending", "other_side", "duplicate", "replaced", "unaccounted"})
"""What is lost to no route: it is on its way, or is no request of its own."""
COMPARED: Final = (Result.MATCH, Result.IGNORED, Result.MISMATCH)
UNACCOUNTED: Final = "unaccounted"

WHY: Final[Mapping[str, str]] = {
    "unrecorded": "the request was mirrored, but v1's answer never came: is the recorder off?",
    "ineligible": "the target's methods leave it out",
    "sampled_out": "not in the target's sample",
    "refused": "the record was wrong; the records port said how",
    "in_flight": "being taken in",
    "shed": "turned away by a bound",
    "store_lost": "the store did not take it in time",
    "crashed": "in memory of a process that died",
    "other_side": "an answer of v2, recorded by its own proxy",
    "duplicate": "the same answer came again",
    "replaced": "a later attempt took its place",
    "waiting": "waits for v2's answer",
    "mirror_shed": "its mirrored copy was turned away by a bound",
    "mirror_aborted": "its mirrored copy was cut off on the way",
    "mirror_too_large": "its mirrored copy was too large",
    "mirror_unidentified": "its mirrored copy bore no id",
    "mirror_looped": "its mirrored copy had been mirrored before",
    "mirror_store_lost": "v2's answer was not taken by the store in time",
    "mirror_crashed": "its mirrored copy was in memory of a process that died",
    "not_mirrored": "no mirrored copy came within the window: not mirrored by the mesh, or the window is too short",
    "ambiguous": "one id, two different requests",
    "late": "came after its window had ended",
    "pending": "paired, and not judged yet",
    UNACCOUNTED: "the books do not balance",
}


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """How many were lost for one reason; `why` says it in words."""

    reason: str
    count: int
    why: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How many came to this step, and what was lost from here to the next one."""

    name: str
    count: int
    losses: tuple[Loss, ...] = ()


class RouteFunnel(msgspec.Struct, frozen=True, kw_only=True):
    """One route, from what was seen of it to what was compared: `seen` less its losses.

    judged: pairs of it that came to a result.  mirrored: its mirrored copies that went no further, by what became of
    them; v1's answers to them are among the losses.
    """

    route: str
    seen: int
    judged: int
    losses: tuple[Loss, ...]
    compared: int
    mirrored: dict[str, int] = {}


class FunnelWindow(msgspec.Struct, frozen=True, kw_only=True):
    """The stretch of time that the numbers cover, Unix ms."""

    start_ms: int
    end_ms: int


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """From v1's answers to compared pairs; `exact` says that every step's sum holds.

    window: None since the store began; in a window routes are known from their judged pairs on.
    unrouted: losses before judging of which no route is known: what could not be read, died with its process, or came
        faster than orphans are read.
    """

    target: str
    exact: bool
    steps: tuple[Step, ...]
    routes: tuple[RouteFunnel, ...] = ()
    unrouted: tuple[Loss, ...] = ()
    window: FunnelWindow | None = None


class Routes(msgspec.Struct, frozen=True, kw_only=True):
    """What is known route by route: pairs by result, why pairs could not be compared, and what was lost before.

    lost: by route, and there by `row.disposition` (`mirrored.shed`, `recorded.ineligible`, `primary.orphaned`, …).
    """

    results: dict[str, dict[str, int]] = {}
    reasons: dict[str, dict[str, int]] = {}
    lost: dict[str, dict[str, int]] = {}

    @classmethod
    def of(cls, routes: Iterable[Judged], lost: Mapping[str, int] | None = None, fold: Fold = as_named) -> Routes:
        """Return what counts say; `lost` is by `route row.disposition`, as the books keep it."""
        listed = list(routes)
        found: dict[str, dict[str, int]] = {}
        for field, count in (lost or {}).items():
            route, _, what = field.rpartition(" ")
            of_route = found.setdefault(fold(route), {})
            of_route[what] = of_route.get(what, 0) + count
        return cls(
            results={one.route: one.results for one in listed},
            reasons={one.route: one.reasons for one in listed},
            lost=found,
        )


_MIRROR_LOSSES: Final = ("shed", "aborted", "too_large", "unidentified", "looped", "store_lost", "crashed")
Named = list[tuple[str, int]]


def funnel(target: str, counts: Mapping[str, int], routes: Routes, window: FunnelWindow | None = None) -> Funnel:
    """Return the funnel of a flat ledger: since the store began, or of what grew in a window."""
    orphans = {route: _orphans(lost, lost.get("primary.orphaned", 0)) for route, lost in routes.lost.items()}
    steps = _steps(counts, _incomparable(_reasons(routes), counts.get("pairs.incomparable", 0)), orphans)
    names = routes.results.keys() | routes.lost.keys()
    made = [_route(name, routes, orphans.get(name, [])) for name in names]
    of_routes = Counter({loss.reason: 0 for step in steps[:_JUDGED] for loss in step.losses})
    for route in made:
        of_routes.update({loss.reason: loss.count for loss in route.losses})
    unrouted = [
        (loss.reason, loss.count - of_routes[loss.reason])
        for step in steps[:_JUDGED]
        for loss in step.losses
        if loss.reason not in _UNDER_WAY
    ]
    return Funnel(
        target=target,
        exact=not any(loss.reason == UNACCOUNTED for step in steps for loss in step.losses),
        steps=steps,
        routes=tuple(sorted(made, key=lambda route: (-route.seen, route.route))),
        unrouted=_losses(unrouted),
        window=window,
    )


def grown_since(now: Mapping[str, int], then: Mapping[str, int]) -> dict[str, int]:
    """Return what grew between two flat ledgers; what is under way may have become less."""
    return {name: now.get(name, 0) - then.get(name, 0) for name in now.keys() | then.keys()}


def _steps(counts: Mapping[str, int], incomparable: Named, by_route: Mapping[str, Named]) -> tuple[Step, ...]:
    def grown(name: str) -> int:
        return counts.get(name, 0)

    recorded: Named = [(name, grown(f"recorded.{name}")) for name in ("ineligible", "sampled_out", "refused")]
    taken: Named = [(name, grown(f"recorded.{name}")) for name in ("shed", "store_lost", "crashed", "in_flight")]
    primary: Named = [(name, grown(f"observations.primary.{name}")) for name in ("duplicate", "replaced", "waiting")]
    lost: Named = [(name, grown(f"observations.primary.{name}")) for name in ("ambiguous", "late")]
    taken.append(("other_side", max(0, grown("observations.candidate.parked") - grown("mirrored.forwarded"))))
    orphans = _all_orphans(counts, by_route)
    unrecorded = grown("observations.candidate.orphaned")
    received, parked = grown("recorded.received"), grown("observations.primary.parked")
    decided = sum(grown(f"observations.primary.{name}") for name in ("paired", "orphaned", "ambiguous", "late"))
    ready = grown("pairs.ready")
    judged = sum(grown(f"pairs.{result}") for result in Result)
    return _closed(
        [
            ("requests of v1 seen", received + unrecorded, [("unrecorded", unrecorded)]),
            ("answers of v1 recorded", received, recorded),
            ("answers that should be compared", received - sum(count for _, count in recorded), taken),
            ("answers in the store", parked, primary),
            ("answers whose window ended", decided, [*orphans, *lost]),
            ("answers paired with v2's", ready, [("pending", grown("pairs.pending"))]),
            ("pairs judged", judged, incomparable),
            ("pairs compared", sum(grown(f"pairs.{result}") for result in COMPARED), []),
        ]
    )


def _all_orphans(counts: Mapping[str, int], by_route: Mapping[str, Named]) -> Named:
    """Return why answers of v1 met no partner: as the routes say, and for those of no known route as the rows do."""
    known: dict[str, int] = {}
    for named in by_route.values():
        for reason, count in named:
            known[reason] = known.get(reason, 0) + count
    orphaned = counts.get("observations.primary.orphaned", 0)
    if sum(known.values()) > orphaned:  # the routes were read a moment later than the ledger
        return _orphans(counts, orphaned)
    left = {f"mirrored.{name}": counts.get(f"mirrored.{name}", 0) - known.get(f"mirror_{name}", 0)
            for name in _MIRROR_LOSSES}  # fmt: skip
    rest = dict(_orphans(left, orphaned - sum(known.values())))
    return [(reason, known.get(reason, 0) + count) for reason, count in rest.items()]


def _orphans(counts: Mapping[str, int], left: int) -> Named:
    """Return why so many answers met no partner: what the mirror's side lost, as far as it goes, and the rest."""
    named: Named = []
    for name in _MIRROR_LOSSES:
        count = max(0, min(left, counts.get(f"mirrored.{name}", 0)))
        named.append((f"mirror_{name}", count))
        left -= count
    return [*named, ("not_mirrored", left)]


def _closed(steps: Sequence[tuple[str, int, Named]]) -> tuple[Step, ...]:
    """Return the steps, with what the books miss between two of them as a loss of its own."""
    made: list[Step] = []
    for place, (name, count, named) in enumerate(steps):
        losses = [(reason, lost) for reason, lost in named if lost]
        if place + 1 < len(steps):
            missing = count - sum(lost for _, lost in losses) - steps[place + 1][1]
            losses += [(UNACCOUNTED, missing)] if missing else []
        made.append(Step(name=name, count=count, losses=_losses(losses)))
    return tuple(made)


def _losses(named: Iterable[tuple[str, int]]) -> tuple[Loss, ...]:
    return tuple(Loss(reason=reason, count=count, why=_why(reason, count)) for reason, count in named if count)


def _why(reason: str, count: int) -> str:
    why = WHY.get(reason, "could not be compared")
    return why if count > 0 or reason == UNACCOUNTED else f"from before the window, and done with in it: {why}"


def _reasons(routes: Routes) -> dict[str, int]:
    total: dict[str, int] = {}
    for reasons in routes.reasons.values():
        for reason, count in reasons.items():
            total[reason] = total.get(reason, 0) + count
    return total


def _incomparable(reasons: Mapping[str, int], known: int) -> Named:
    """Return the reasons; a pair that is booked and not yet seen among them (or the other way round) has none."""
    listed = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    left = known - sum(reasons.values())
    return [*listed, ("incomparable", left)] if left else listed


_RECORDED: Final = ("ineligible", "sampled_out", "shed")


def _route(name: str, routes: Routes, orphans: Named) -> RouteFunnel:
    """Return one route's way, added up from its end."""
    results, lost = routes.results.get(name, {}), routes.lost.get(name, {})
    judged = sum(results.values())
    compared = judged - results.get(Result.INCOMPARABLE, 0)
    before: Named = [
        ("unrecorded", lost.get("candidate.orphaned", 0)),
        *((what, lost.get(f"recorded.{what}", 0)) for what in _RECORDED),
        *orphans,
    ]
    losses = [*before, *_incomparable(routes.reasons.get(name, {}), judged - compared)]
    copies = {what.removeprefix("mirrored."): n for what, n in lost.items() if what.startswith("mirrored.") and n}
    return RouteFunnel(
        route=name,
        seen=judged + sum(count for _, count in before),
        judged=judged,
        losses=_losses(losses),
        compared=compared,
        mirrored=copies,
    )
