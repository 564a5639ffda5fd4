"""What a changed set of rules would make of the stored samples: as counted, and as the rules would count.

In: samples, rules.  Out: a `Preview`: which results change, which faults vanish, what else is hidden.
Holds: pure. It speaks of the samples, which are the newest pairs that differed: what rules cover today was never kept
whole, so that of what a rule taken away would bring back only the places and their numbers of pairs are known.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from shadowdiff.model import Result
from shadowdiff.web.judged_again import judge_again

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from shadowdiff.model import Difference
    from shadowdiff.report import Sample
    from shadowdiff.rules import CompiledRules
    from shadowdiff.verdict import RouteCounts
    from shadowdiff.web.judged_again import Again

MOST_LISTED = 200


class Place(msgspec.Struct, frozen=True, order=True):
    """Where, and in what way, answers differ."""

    path: str
    kind: str


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Samples that differ alike: their route and places, how many, and how many of them would still count.

    undecided: of how many nothing can be said.  example: a sample to look at.
    """

    route: str
    places: tuple[Place, ...]
    samples: int
    left: int
    undecided: int
    example: str

    @property
    def vanishes(self) -> bool:
        """Whether none of it would count any more, for certain."""
        return not self.left and not self.undecided


class Hidden(msgspec.Struct, frozen=True, kw_only=True):
    """A place that counted and that a rule would cover: which, in how many samples, with how many different values."""

    route: str
    place: Place
    rule: str
    samples: int
    values: int
    example: str
    primary: str | None
    candidate: str | None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A sample whose result would be another."""

    id: str
    route: str
    counted: Result
    judged: Result


class Returning(msgspec.Struct, frozen=True, kw_only=True):
    """A place that a rule covers today and that would count without it; in how many pairs since the store began."""

    route: str
    place: Place
    rule: str
    pairs: int


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """As counted, and as the rules would count.

    counted, judged: samples by result.  undecided: samples by why nothing can be said of them.  changed: how many
    change result, the first of them in `changes`.  faults: what differs alike, and whether it vanishes.
    """

    target: str
    samples: int
    counted: dict[str, int]
    judged: dict[str, int]
    undecided: dict[str, int]
    changed: int
    changes: list[Change]
    faults: list[Fault]
    vanishing: int
    hidden: list[Hidden]
    warnings: list[str]
    returning: list[Returning] = []


def returning(routes: Iterable[RouteCounts], stay: Container[str]) -> list[Returning]:
    """Return what the rules that go cover today: counted places whose rule is not among those that stay.

    A place that another rule covers too comes back only where that one goes as well: the first one's name is counted.
    """
    found = [
        Returning(route=route.route, place=Place(one.path, one.kind), rule=one.rule, pairs=one.count)
        for route in routes
        for one in route.covered
        if one.rule is not None and one.rule not in stay
    ]
    return sorted(found, key=lambda one: (-one.pairs, one.route, one.place))[:MOST_LISTED]


def preview(target: str, samples: Sequence[Sample], rules: CompiledRules, warnings: Iterable[str] = ()) -> Preview:
    """Return what the rules would make of the samples."""
    judged = [(sample, judge_again(sample, rules)) for sample in samples]
    changes = [
        Change(id=sample.id, route=sample.route, counted=sample.result, judged=again.result)
        for sample, again in judged
        if again.result is not None and again.result is not sample.result
    ]
    faults = _faults(judged)
    return Preview(
        target=target,
        samples=len(samples),
        counted=dict(Counter(str(sample.result) for sample in samples)),
        judged=dict(Counter(str(again.result) for _, again in judged if again.result is not None)),
        undecided=dict(Counter(again.undecided for _, again in judged if again.result is None)),
        changed=len(changes),
        changes=changes[:MOST_LISTED],
        faults=faults[:MOST_LISTED],
        vanishing=sum(fault.vanishes for fault in faults),
        hidden=_hidden(judged)[:MOST_LISTED],
        warnings=list(warnings),
    )


_Judged = list[tuple["Sample", "Again"]]


def _faults(judged: _Judged) -> list[Fault]:
    alike: dict[tuple[str, tuple[Place, ...]], _Judged] = {}
    for sample, again in judged:
        if sample.result is Result.MISMATCH:
            alike.setdefault((sample.route, _places(sample)), []).append((sample, again))
    faults = [
        Fault(
            route=route,
            places=places,
            samples=len(those),
            left=sum(again.result is Result.MISMATCH for _, again in those),
            undecided=sum(again.result is None for _, again in those),
            example=those[0][0].id,
        )
        for (route, places), those in alike.items()
    ]
    return sorted(faults, key=lambda fault: (not fault.vanishes, -fault.samples, fault.route, fault.places))


def _hidden(judged: _Judged) -> list[Hidden]:
    """Return the places that counted in a sample and would be covered in it."""
    found: dict[tuple[str, Place, str], list[tuple[Sample, Difference]]] = {}
    for sample, again in judged:
        before = {place.path for place in _places(sample)}
        for now in again.differences:
            if now.rule is not None and now.pattern in before:
                name = (sample.route, Place(now.pattern, str(now.kind)), now.rule)
                found.setdefault(name, []).append((sample, now))
    hidden = [
        Hidden(
            route=route,
            place=place,
            rule=rule,
            samples=len({sample.id for sample, _ in those}),
            values=len({(now.primary, now.candidate) for _, now in those}),
            example=those[0][0].id,
            primary=those[0][1].primary,
            candidate=those[0][1].candidate,
        )
        for (route, place, rule), those in found.items()
    ]
    return sorted(hidden, key=lambda one: (-one.samples, one.route, one.place))


def _places(sample: Sample) -> tuple[Place, ...]:
    counted = {Place(place.pattern, str(place.kind)) for place in sample.differences if place.rule is None}
    return tuple(sorted(counted))
