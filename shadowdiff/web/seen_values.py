"""What each side said at the places of a fingerprint, gathered from its samples.

In: places and summaries of samples.  Out: for each place the pairs of values seen, the most frequent first.
Holds: pure; the values are those of the samples, redacted and cut as they are.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.report import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shadowdiff.report import Summary

MOST_VALUES: Final = 20


class SeenPair(msgspec.Struct, frozen=True, kw_only=True):
    """What v1 and v2 said in so many samples; None where a side has nothing there."""

    primary: str | None
    candidate: str | None
    samples: int
    example: str


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One place, and the values seen there; `more` pairs of values are not told."""

    place: Place
    values: tuple[SeenPair, ...]
    more: int = 0


def seen_values(places: Sequence[Place], samples: Iterable[Summary]) -> tuple[Seen, ...]:
    """Return what was seen at each place; a sample counts once for each pair of values."""
    counted: dict[tuple[str, str], Counter[tuple[str | None, str | None]]] = {}
    examples: dict[tuple[str, str, str | None, str | None], str] = {}
    for line in samples:
        for one in {(d.pattern, d.kind.value, d.primary, d.candidate) for d in line.differences}:
            path, kind, primary, candidate = one
            counted.setdefault((path, kind), Counter())[primary, candidate] += 1
            examples.setdefault(one, line.id)
    return tuple(_seen(place, counted.get((place.path, place.kind), Counter()), examples) for place in places)


def _seen(
    place: Place,
    counted: Counter[tuple[str | None, str | None]],
    examples: dict[tuple[str, str, str | None, str | None], str],
) -> Seen:
    values = tuple(
        SeenPair(
            primary=primary,
            candidate=candidate,
            samples=samples,
            example=examples[place.path, place.kind, primary, candidate],
        )
        for (primary, candidate), samples in counted.most_common(MOST_VALUES)
    )
    return Seen(place=place, values=values, more=len(counted) - len(values))
