"""Suggest body types for routes whose bodies are JSON under another Content-Type, so that rules can name places.

A suggestion is a value for the target's setting `body_types`. Nothing is applied.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.compare import compare, proposed_type
from shadowdiff.model import Kind, Result
from shadowdiff.rule_changes.rejudge import pair_of
from shadowdiff.rules.rule import MARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.compare import Limits
    from shadowdiff.report import Sample
    from shadowdiff.rules import CompiledRules

MAX_TYPES: Final = 20
_WITHOUT_PATHS: Final = frozenset({Kind.TEXT, Kind.BYTES})


class BodyTypeSuggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A suggested value of `body_types` for a route.

    content_type: what v1 sends.  samples: number of samples whose bodies are of the suggested type.
    disappearing: number of these samples that would no longer count.  example: the id of a sample.
    """

    route: str
    body_type: str
    content_type: str
    samples: int
    disappearing: int
    example: str


def suggest_types(samples: Sequence[Sample], rules: CompiledRules, limits: Limits) -> list[BodyTypeSuggestion]:
    """Return suggestions, most frequent first.  limits: of the target."""
    groups: defaultdict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        if any(found.rule is None and found.kind in _WITHOUT_PATHS for found in sample.differences):
            named = proposed_type(pair_of(sample), limits)
            if named:
                groups[sample.route.partition(MARK)[0], named].append(sample)  # the setting has no operations
    found: list[BodyTypeSuggestion] = []
    for (route, named), group in groups.items():
        typed = msgspec.structs.replace(limits, body_types=((route, named), *limits.body_types))
        results = [compare(pair_of(sample), rules, typed).result for sample in group]
        suggestion = BodyTypeSuggestion(
            route=route,
            body_type=named,
            content_type=group[0].primary.body.media_type,
            samples=len(group),
            disappearing=sum(result in {Result.MATCH, Result.IGNORED} for result in results),
            example=group[0].id,
        )
        found.append(suggestion)
    return sorted(found, key=lambda one: (-one.samples, one.route))[:MAX_TYPES]
