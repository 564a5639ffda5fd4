"""Show the results of the stored samples before and after a change of rules.

Pure. The samples are the newest pairs that differed. Pairs that current rules cover have no samples. So for a removed
rule, the preview has only places and pair counts of the differences that would be reported again.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from shadowdiff.model import Result
from shadowdiff.rule_changes.rejudge import LIMITS, rejudge
from shadowdiff.rules.builtin import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from shadowdiff.compare import Limits
    from shadowdiff.model import Difference
    from shadowdiff.report import Sample
    from shadowdiff.rule_changes.rejudge import Rejudged
    from shadowdiff.rules import CompiledRules
    from shadowdiff.verdict import RouteCounts

MAX_LISTED = 200


class DifferencePlace(msgspec.Struct, frozen=True, order=True):
    """A path, and the kind of difference at this path."""

    path: str
    kind: str


class PreviewedDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The samples of one route that differ in the same places.

    remaining: samples that would still count. undecided: samples without a result. example: the id of a sample.
    """

    route: str
    places: tuple[DifferencePlace, ...]
    samples: int
    remaining: int
    undecided: int
    example: str

    @property
    def disappears(self) -> bool:
        """Whether it is certain that these samples would no longer count."""
        return not self.remaining and not self.undecided


class NewlyIgnored(msgspec.Struct, frozen=True, kw_only=True):
    """A place that counts now and would be covered, with counts of its samples and of its distinct values."""

    route: str
    place: DifferencePlace
    rule: str
    samples: int
    values: int
    example: str
    primary: str | None
    candidate: str | None


class ChangedResult(msgspec.Struct, frozen=True, kw_only=True):
    """A sample whose result would change."""

    id: str
    route: str
    before: Result
    after: Result


class ReportedAgain(msgspec.Struct, frozen=True, kw_only=True):
    """A covered place that would count again.  pairs: number of pairs that ever differed there."""

    route: str
    place: DifferencePlace
    rule: str
    pairs: int


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of the previewed rules.

    before, after: number of samples by result.  undecided: number of samples without a result, by reason.
    changed: number of samples whose result changes.  changes: the first of these samples.
    disappearing: number of `differences` that would disappear.
    """

    target: str
    samples: int
    before: dict[str, int]
    after: dict[str, int]
    undecided: dict[str, int]
    changed: int
    changes: list[ChangedResult]
    differences: list[PreviewedDifference]
    disappearing: int
    newly_ignored: list[NewlyIgnored]
    warnings: list[str]
    reported_again: list[ReportedAgain] = []


def reported_again(routes: Iterable[RouteCounts], staying: Container[str]) -> list[ReportedAgain]:
    """Return the places that are currently covered by rules whose label is not in `staying`.

    If two rules cover a place, only the first rule is checked, because the counts name one rule for each place.
    """
    found = [
        ReportedAgain(route=route.route, place=DifferencePlace(one.path, one.kind), rule=one.rule, pairs=one.count)
        for route in routes
        for one in route.covered
        if one.rule is not None and one.rule not in staying and not one.rule.startswith(BUILT_IN)
    ]
    return sorted(found, key=lambda one: (-one.pairs, one.route, one.place))[:MAX_LISTED]


_Judged = list[tuple["Sample", "Rejudged"]]


def preview(
    target: str,
    samples: Sequence[Sample],
    rules: CompiledRules,
    warnings: Iterable[str] = (),
    limits: Limits = LIMITS,
) -> Preview:
    """Return the effect of the rules on the samples.  limits: `LIMITS` with the target's settings."""
    judged = [(sample, rejudge(sample, rules, limits)) for sample in samples]
    changes = [
        ChangedResult(id=sample.id, route=sample.route, before=sample.result, after=again.result)
        for sample, again in judged
        if again.result is not None and again.result is not sample.result
    ]
    differences = _differences(judged)
    return Preview(
        target=target,
        samples=len(samples),
        before=dict(Counter(str(sample.result) for sample in samples)),
        after=dict(Counter(str(again.result) for _, again in judged if again.result is not None)),
        undecided=dict(Counter(again.undecided for _, again in judged if again.result is None)),
        changed=len(changes),
        changes=changes[:MAX_LISTED],
        differences=differences[:MAX_LISTED],
        disappearing=sum(one.disappears for one in differences),
        newly_ignored=_newly_ignored(judged)[:MAX_LISTED],
        warnings=list(warnings),
    )


def _differences(judged: _Judged) -> list[PreviewedDifference]:
    groups: dict[tuple[str, tuple[DifferencePlace, ...]], _Judged] = {}
    for sample, again in judged:
        if sample.result is Result.MISMATCH:
            groups.setdefault((sample.route, _places(sample)), []).append((sample, again))
    found = [
        PreviewedDifference(
            route=route,
            places=places,
            samples=len(group),
            remaining=sum(again.result is Result.MISMATCH for _, again in group),
            undecided=sum(again.result is None for _, again in group),
            example=group[0][0].id,
        )
        for (route, places), group in groups.items()
    ]
    return sorted(found, key=lambda one: (not one.disappears, -one.samples, one.route, one.places))


def _newly_ignored(judged: _Judged) -> list[NewlyIgnored]:
    groups: dict[tuple[str, DifferencePlace, str], list[tuple[Sample, Difference]]] = {}
    for sample, again in judged:
        counted = [place for place in sample.differences if place.rule is None]
        before = {path: place.pattern for place in counted for path in (place.path, place.pattern)}
        for now in again.differences:
            pattern = before.get(now.pattern) or before.get(now.path)
            if now.rule is not None and pattern:
                name = (sample.route, DifferencePlace(pattern, str(now.kind)), now.rule)
                groups.setdefault(name, []).append((sample, now))
    found = [
        NewlyIgnored(
            route=route,
            place=place,
            rule=rule,
            samples=len({sample.id for sample, _ in group}),
            values=len({(now.primary, now.candidate) for _, now in group}),
            example=group[0][0].id,
            primary=group[0][1].primary,
            candidate=group[0][1].candidate,
        )
        for (route, place, rule), group in groups.items()
    ]
    return sorted(found, key=lambda one: (-one.samples, one.route, one.place))


def _places(sample: Sample) -> tuple[DifferencePlace, ...]:
    counted = {DifferencePlace(place.pattern, str(place.kind)) for place in sample.differences if place.rule is None}
    return tuple(sorted(counted))
