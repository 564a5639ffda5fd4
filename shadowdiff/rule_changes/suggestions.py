"""Suggest rules for places whose values do not depend on v2's code, such as UUIDs, times and durations.

Suggestions are not applied. `volatile_places` finds the places, and `type_suggestions` suggests body types. Each
suggestion includes the rule's effect on the samples.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.compare import limits_of
from shadowdiff.queries.offload import pack_samples, unpack_samples
from shadowdiff.report import newest_samples, whole_samples
from shadowdiff.rule_changes.preview import NewlyIgnored, Preview, preview
from shadowdiff.rule_changes.rejudge import LIMITS
from shadowdiff.rule_changes.type_suggestions import BodyTypeSuggestion, suggest_types
from shadowdiff.rule_changes.volatile_places import VolatilePlace, volatile_places
from shadowdiff.rules import RuleError, compile_rules, parse_rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowdiff.model import Target
    from shadowdiff.rule_changes.changes import RuleChanges
    from shadowdiff.rules import Rule

SEARCHED_SAMPLES: Final = 200
MAX_SUGGESTIONS: Final = 20


class OtherKind(msgspec.Struct, frozen=True, kw_only=True):
    """Another kind of difference at the same path, with its pair count. The suggested rule does not cover it."""

    kind: str
    pairs: int


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A suggested rule.

    route, routes: the first route, and all routes with this place.  value_class: the class of both values.
    samples: number of searched samples that differ at the place.
    pairs: number of pairs that ever differed there.  disappearing: number of samples that would no longer count.
    also_ignores: other places that the rule would cover.  not_covered: other differences at the path.
    example: the id of a sample.
    """

    route: str
    routes: list[str] = []
    path: str
    value_class: str
    reason: str
    rule: dict[str, Any]
    samples: int
    pairs: int
    disappearing: int
    also_ignores: list[NewlyIgnored]
    not_covered: list[OtherKind]
    example: str


class Suggestions(msgspec.Struct, frozen=True):
    """Suggested rules and body types, most frequent differences first.  samples: number of samples searched."""

    samples: int
    suggestions: list[Suggestion]
    body_types: list[BodyTypeSuggestion] = []


async def suggest_rules(changes: RuleChanges, target: str) -> Suggestions:
    """Return suggested rules. Raises: RequestError if the target is unknown."""
    queries = changes.queries
    view = queries.target(target)
    name = view.target.name
    counts = await queries.counts(name)
    pairs = {(r.route, path.path, path.kind): path.count for r in counts.routes for path in r.paths}

    async def samples() -> Sequence[bytes]:
        reader, since_ms = queries.reader, queries.since_ms
        ids = [line.id for line in await newest_samples(reader, name, SEARCHED_SAMPLES, since_ms=since_ms)]
        return await pack_samples(whole_samples(reader, ids, since_ms=since_ms))

    now_s = queries.now_ms() / 1000
    return await queries.offload(suggestions, view.target, changes.rules_of(view), pairs, now_s, parts=samples)


def suggestions(
    target: Target,
    in_force: tuple[Rule, ...],
    pairs: dict[tuple[str, str, str], int],
    now_s: float,
    parts: Sequence[bytes],
) -> Suggestions:
    """Return suggestions for rules in addition to the rules in force.

    pairs: number of pairs that differed, by route, path and kind.  parts: the packed samples to search.
    """
    samples = unpack_samples(parts)
    now, limits = datetime.fromtimestamp(now_s, UTC), limits_of(target, LIMITS)
    made: list[Suggestion] = []
    for place in volatile_places(samples)[:MAX_SUGGESTIONS]:
        try:
            rules = parse_rules([place.rule])
        except RuleError:  # for example, a path in a text body, which rules cannot name
            continue
        shown = preview("", samples, compile_rules((*in_force, *rules), now), limits=limits)
        if suggestion := _suggestion(place, shown, pairs):
            made.append(suggestion)
    return Suggestions(len(samples), made, suggest_types(samples, compile_rules(in_force, now), limits))


def _suggestion(place: VolatilePlace, shown: Preview, pairs: Mapping[tuple[str, str, str], int]) -> Suggestion | None:
    """Return a suggestion with the rule's effect; None if the rule covers nothing at the place."""
    others = [one for one in shown.newly_ignored if not _is_at(place, one.route, one.place.path)]
    if len(others) == len(shown.newly_ignored):
        return None
    here = {key: count for key, count in pairs.items() if _is_at(place, key[0], key[1])}
    other_kinds: Counter[str] = Counter()
    for (_, _, kind), count in here.items():
        if kind != place.kind:
            other_kinds[kind] += count
    return Suggestion(
        route=place.routes[0],
        routes=list(place.routes),
        path=place.path,
        value_class=place.value_class,
        reason=place.reason,
        rule=place.rule,
        samples=len({sample.id for sample, _ in place.samples}),
        pairs=sum(count for (_, _, kind), count in here.items() if kind == place.kind),
        disappearing=shown.changed,
        also_ignores=others,
        not_covered=[OtherKind(kind=kind, pairs=count) for kind, count in sorted(other_kinds.items())],
        example=place.samples[0][0].id,
    )


def _is_at(place: VolatilePlace, route: str, path: str) -> bool:
    is_text = place.path == "text" and path.startswith("text")
    return route in place.routes and (path == place.path or is_text)
