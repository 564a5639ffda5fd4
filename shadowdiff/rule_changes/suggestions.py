"""Suggest rules for places whose two values always have the same volatile class, such as UUID or current time.

Suggestions are not applied. Each rule covers only that class, so a value of another class still counts. Each
suggestion includes the rule's effect on the samples. `type_suggestions` suggests body types.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.compare import limits_of
from shadowdiff.model import Kind
from shadowdiff.queries.offload import pack_samples, unpack_samples
from shadowdiff.report import newest_samples, whole_samples
from shadowdiff.rule_changes.preview import NewlyIgnored, preview
from shadowdiff.rule_changes.rejudge import LIMITS
from shadowdiff.rule_changes.type_suggestions import BodyTypeSuggestion, suggest_types
from shadowdiff.rules import RuleError, compile_rules, parse_rules
from shadowdiff.rules.place import query_of
from shadowdiff.verdict.value_class import VOLATILE, value_class

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.model import Difference, Target
    from shadowdiff.report import Sample
    from shadowdiff.rule_changes.changes import RuleChanges
    from shadowdiff.rules import Rule

SEARCHED_SAMPLES: Final = 200
MIN_SAMPLES: Final = 5
MAX_SUGGESTIONS: Final = 20
_MASKS: Final = {
    "uuid": r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}",
    "hex": r"^[0-9a-fA-F]{8,}$",
    "token": r"^[A-Za-z0-9_+=~.-]{16,}$",
    "pod": r"^[a-z][a-z0-9-]*-[a-z0-9]{8,10}-[a-z0-9]{5}$",
}
_NOUNS: Final = {
    "uuid": "a UUID",
    "hex": "a hexadecimal id",
    "token": "a random token",
    "pod": "a pod name",
    "now": "the current time",
    "counter": "a counter",
}
_KINDS: Final = frozenset({Kind.VALUE, Kind.HEADER})


class OtherKind(msgspec.Struct, frozen=True, kw_only=True):
    """Another kind of difference at the same path, with its pair count. The suggested rule does not cover it."""

    kind: str
    pairs: int


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A suggested rule.

    value_class: the class of both values.  samples: number of searched samples that differ at the place.
    pairs: number of pairs that ever differed there.  disappearing: number of samples that would no longer count.
    also_ignores: other places that the rule would cover.  not_covered: other differences at the path.
    example: the id of a sample.
    """

    route: str
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


_Found = list[tuple["Sample", "Difference"]]


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
    for place, volatile, group in _volatile_places(samples)[:MAX_SUGGESTIONS]:
        rule = _rule(place[0], query_of(place[1]), volatile)
        try:
            rules = parse_rules([rule])
        except RuleError:  # for example, a path in a text body, which rules cannot name
            continue
        shown = preview("", samples, compile_rules((*in_force, *rules), now), limits=limits)
        others = [ignored for ignored in shown.newly_ignored if (ignored.route, ignored.place.path) != place]
        if len(others) == len(shown.newly_ignored):
            continue
        kind = str(group[0][1].kind)
        suggestion = Suggestion(
            route=place[0],
            path=place[1],
            value_class=volatile,
            reason=f"both values are always {_NOUNS[volatile]}",
            rule=rule,
            samples=len({sample.id for sample, _ in group}),
            pairs=pairs.get((*place, kind), 0),
            disappearing=shown.changed,
            also_ignores=others,
            not_covered=[
                OtherKind(kind=other, pairs=count)
                for (route, path, other), count in sorted(pairs.items())
                if (route, path) == place and other != kind
            ],
            example=group[0][0].id,
        )
        made.append(suggestion)
    return Suggestions(len(samples), made, suggest_types(samples, compile_rules(in_force, now), limits))


def _volatile_places(samples: Sequence[Sample]) -> list[tuple[tuple[str, str], str, _Found]]:
    """Return each place whose values always have the same volatile class, most frequent first."""
    places: defaultdict[tuple[str, str], _Found] = defaultdict(list)
    for one in samples:
        for found in one.differences:
            if found.rule is None:
                places[one.route, found.pattern].append((one, found))
    chosen = [
        (place, volatile, group)
        for place, group in places.items()
        if len({one.id for one, _ in group}) >= MIN_SAMPLES and (volatile := volatile_class(group))
    ]
    return sorted(chosen, key=lambda one: (-len(one[2]), one[0]))


def volatile_class(group: _Found) -> str | None:
    """Return the volatile class that both values always have; None if there is no such class."""
    values = [(one.at_ms, found.primary, found.candidate) for one, found in group if found.kind in _KINDS]
    if len(values) < len(group) or any(primary is None or candidate is None for _, primary, candidate in values):
        return None
    classes = {value_class(value or "", at_ms) for at_ms, *sides in values for value in sides}
    if len(classes) == 1 and classes <= VOLATILE:
        return classes.pop()
    return "counter" if classes == {"number"} and _counts_up(values) else None


def _counts_up(values: Sequence[tuple[int, str | None, str | None]]) -> bool:
    """Return whether the integers of both sides never decrease over time, and mostly increase."""
    for side in (1, 2):
        texts = [str(value[side]) for value in sorted(values, key=lambda value: value[0])]
        numbers = [int(one) for one in texts if one.isdecimal()]
        if len(numbers) < len(texts) or numbers != sorted(numbers) or 2 * len(set(numbers)) < len(numbers):
            return False
    return True


def _rule(route: str, path: str, value_class: str) -> dict[str, Any]:
    limits = {"routes": [route], "reason": f"{_NOUNS[value_class]}, new in each response"}
    if value_class == "now":
        return {"tolerance": {"path": path, "time": "10m"}, **limits}
    if value_class == "counter":
        return {"schema": path, **limits}
    return {"mask": {"path": path, "pattern": _MASKS[value_class]}, **limits}
