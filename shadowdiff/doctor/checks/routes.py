"""Check whether halves without a partner and pairs come from different routes.

Then one side does not send some routes at all, and no sample rate can help.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from shadowdiff.doctor.checks.unpaired import ENOUGH, allowed, outcomes
from shadowdiff.doctor.evidence import NOTABLE
from shadowdiff.doctor.finding import Finding, Severity, join_words, percent, plural, side_by_side, warning
from shadowdiff.doctor.registry import target_check
from shadowdiff.model import Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shadowdiff.doctor.evidence import Evidence, TargetEvidence

_MOST: Final = 0.9
"""The share of the halves without a partner that must be from one-sided routes."""
_PAIRED_BY_CHANCE: Final = 0.01
_EXPECTED: Final = 10
_HIDDEN: Final = "‹"
"""A redacted path is not a template."""
_SHOWN: Final = 10
_CAUSES: Final = (
    "different_targets", "different_id_headers", "different_ids", "paths_rewritten", "no_id", "overloaded",
    "records_refused", "too_late",
)  # fmt: skip
_SIDES: Final = ((Side.PRIMARY, Side.CANDIDATE), (Side.CANDIDATE, Side.PRIMARY))


class _Split(NamedTuple):
    """The routes that never pair although only one side arrives, the routes with pairs, and the halves of the first."""

    alone: Sequence[str]
    paired: Sequence[str]
    halves: int


@target_check(
    115,
    explains={
        "routes_not_mirrored": ("sampling_disagrees", "records_missing"),
        "routes_not_recorded": ("sampling_disagrees", "records_missing"),
    },
    explained_by=dict.fromkeys(("routes_not_mirrored", "routes_not_recorded"), _CAUSES),
)
def one_sided_routes(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find routes that only the mirror, or only the recorder, sends."""
    for side, other in _SIDES:
        decided = outcomes(target, side)
        if decided.share < allowed(target) or decided.alone < ENOUGH:
            continue
        split = _by_route(target, side, other) or _by_path(target, side, other, decided.alone)
        if split is None:
            continue
        finding = _not_mirrored(split) if side is Side.PRIMARY else _not_recorded(split)
        halves = (
            side_by_side(one, None) if side is Side.PRIMARY else side_by_side(None, one) for one in target.side(side)
        )
        yield msgspec.structs.replace(
            finding,
            severity=Severity.ERROR if decided.share > 1 - NOTABLE else Severity.WARNING,
            explanation=f"{percent(decided.share)} of them have no partner, and these routes have no pair at all. "
            + finding.explanation,
            lines=("targets:", f"  - name: {target.name}", *_selection(split)),
            examples=tuple(islice(halves, 1)),
        )


def _not_mirrored(split: _Split) -> Finding:
    return warning(
        code="routes_not_mirrored",
        title=f"{plural(split.halves, 'v1 response')} of {join_words(split.alone)} have no mirrored request; all pairs "
        f"are of {join_words(split.paired)}.",
        explanation="So the mesh does not mirror these routes. A lower sample does not help.",
        fix="Mirror these routes too. Or compare only the mirrored routes: set this in the target and in the recorder:",
    )


def _not_recorded(split: _Split) -> Finding:
    return warning(
        code="routes_not_recorded",
        title=f"{plural(split.halves, 'mirrored request')} of {join_words(split.alone)} have no record; all pairs are "
        f"of {join_words(split.paired)}.",
        explanation="So the recorder does not see these routes, or skips them (INCLUDE, EXCLUDE or SKIP_PATHS).",
        fix="Record these routes too. Or compare only the recorded routes: set this in the target:",
    )


def _by_route(target: TargetEvidence, side: Side, other: Side) -> _Split | None:
    """Return the routes of one side that never pair; None if these are not the reason for most unpaired halves."""
    alone, paired, theirs = target.by_route(f"{side}.orphaned"), target.by_route("paired"), _arrived(target, other)
    never = [
        route
        for route, count in alone.items()
        if max(paired.get(route, 0), theirs.get(route, 0)) <= count * _PAIRED_BY_CHANCE
    ]
    halves = sum(alone[route] for route in never)
    good = [route for route in paired if route not in never]
    if not good or halves < ENOUGH or halves < _MOST * sum(alone.values()):
        return None
    return _Split(never, good, halves)


def _by_path(target: TargetEvidence, side: Side, other: Side, alone: int) -> _Split | None:
    """Do the same with examples and their paths, because one inferred route may have both kinds of paths.

    A path counts as one-sided if pairs would have it ten times, if they were of the same requests, and do not have it.
    """
    ours, theirs = (Counter(f"{one.method} {one.path.partition('?')[0]}" for one in target.side(each))
                    for each in (side, other))  # fmt: skip
    paired, total = Counter(target.paired), ours.total()
    never = [
        path
        for path, count in ours.most_common()
        if count * paired.total() >= _EXPECTED * total and not paired[path] and not theirs[path] and _HIDDEN not in path
    ]
    share = sum(ours[path] for path in never) / max(1, total)
    good = [path for path, _ in paired.most_common()]
    return _Split(never, good, round(alone * share)) if good and share >= _MOST else None


def _arrived(target: TargetEvidence, side: Side) -> Mapping[str, int]:
    """Return how many halves of one side arrived by route, but did not pair."""
    found = dict(target.by_route(f"{side}.orphaned"))
    row = "recorded" if side is Side.PRIMARY else "mirrored"
    for loss in ("shed", "store_lost", "unidentified", "sampled_out", "blocked", "too_large", "aborted"):
        for route, count in target.by_route(f"{row}.{loss}").items():
            found[route] = found.get(route, 0) + count
    return found


def _selection(split: _Split) -> tuple[str, ...]:
    """Return the shorter one of the settings that leave the routes out."""
    is_include = len(split.paired) <= len(split.alone) and not any(_HIDDEN in route for route in split.paired)
    name, routes = ("include", split.paired) if is_include else ("exclude", split.alone)
    more = f"   # and {len(routes) - _SHOWN} more" if len(routes) > _SHOWN else ""
    return (f"    {name}: [{', '.join(json.dumps(route, ensure_ascii=False) for route in routes[:_SHOWN])}]{more}",)
