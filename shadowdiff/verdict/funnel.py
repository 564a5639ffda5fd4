"""From v1's answers to compared pairs: what was lost at which step, and why.

In: a ledger, and the routes with the reasons why pairs could not be compared.  Out: `Funnel`.
Holds: pure; each step's count is the one before it less its losses, exactly, as long as the ledger balances; where it
does not, the difference stands as `unaccounted`. What has no end yet (in flight, waiting, pending) is a loss of its
step for now. Before a pair is judged its route is not known, so that routes begin with what was judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Result
from shadowdiff.verdict.epochs import flat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from shadowdiff.verdict.counts import RouteCounts

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
    """One route, from its judged pairs to those that were compared."""

    route: str
    judged: int
    losses: tuple[Loss, ...]
    compared: int


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """From v1's answers to compared pairs; `exact` says that every step's sum holds."""

    target: str
    exact: bool
    steps: tuple[Step, ...]
    routes: tuple[RouteFunnel, ...] = ()


_MIRROR_LOSSES: Final = ("shed", "aborted", "too_large", "unidentified", "looped", "store_lost", "crashed")
Named = list[tuple[str, int]]


def funnel(ledger: Mapping[str, Any], routes: Sequence[RouteCounts]) -> Funnel:
    """Return the funnel since the store began."""
    counts = flat(ledger)
    steps = _steps(counts, _incomparable(_reasons(routes), counts.get("pairs.incomparable", 0)))
    return Funnel(
        target=str(ledger["target"]),
        exact=not any(loss.reason == UNACCOUNTED for step in steps for loss in step.losses),
        steps=steps,
        routes=tuple(_route(route) for route in routes),
    )


def _steps(counts: Mapping[str, int], incomparable: Named) -> tuple[Step, ...]:
    def grown(name: str) -> int:
        return counts.get(name, 0)

    recorded: Named = [(name, grown(f"recorded.{name}")) for name in ("ineligible", "sampled_out", "refused")]
    taken: Named = [(name, grown(f"recorded.{name}")) for name in ("shed", "store_lost", "crashed", "in_flight")]
    primary: Named = [(name, grown(f"observations.primary.{name}")) for name in ("duplicate", "replaced", "waiting")]
    lost: Named = [(name, grown(f"observations.primary.{name}")) for name in ("ambiguous", "late")]
    taken.append(("other_side", max(0, grown("observations.candidate.parked") - grown("mirrored.forwarded"))))
    orphans = _orphans(counts)
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


def _orphans(counts: Mapping[str, int]) -> Named:
    """Return why answers of v1 met no partner: what the mirror's side lost, as far as it goes, and the rest."""
    left = counts.get("observations.primary.orphaned", 0)
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
    return tuple(
        Loss(reason=reason, count=count, why=WHY.get(reason, "could not be compared")) for reason, count in named
    )


def _reasons(routes: Sequence[RouteCounts]) -> dict[str, int]:
    total: dict[str, int] = {}
    for route in routes:
        for reason, count in route.reasons.items():
            total[reason] = total.get(reason, 0) + count
    return total


def _incomparable(reasons: Mapping[str, int], known: int) -> Named:
    """Return the reasons; a pair that is booked and not yet seen among them (or the other way round) has none."""
    listed = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    left = known - sum(reasons.values())
    return [*listed, ("incomparable", left)] if left else listed


def _route(route: RouteCounts) -> RouteFunnel:
    judged = sum(route.results.values())
    return RouteFunnel(
        route=route.route,
        judged=judged,
        losses=_losses(_incomparable(route.reasons, route.results[Result.INCOMPARABLE])),
        compared=judged - route.results[Result.INCOMPARABLE],
    )
