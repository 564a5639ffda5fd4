"""Parse and match the JSONPath of rules with plain recursion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast


class Both(NamedTuple):
    """The two paths of names to a renamed value."""

    old: tuple[str, ...]
    new: tuple[str, ...]


Step = str | tuple[int, int] | Both
"""A member's name, an element's index and the length of its array, or both paths of a renamed value."""
Place = tuple[Step, ...]

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP: Final = re.compile(
    r"""(?P<descendant>\.\.)?(?:\.?(?P<name>\w+|\{\w+\})|\.?(?P<any>\*)|(?P<list>\[(?:'[^']*'|"[^"]*"|[^\]'"])*\]))""",
    re.VERBOSE,
)
_ITEM: Final = re.compile(r"""\s*(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<bare>[^,]+))\s*(?:,|$)""")


class Selector(NamedTuple):
    """One alternative of a segment; `bounds` is an index, a slice, or None."""

    name: str | None = None
    bounds: int | slice | None = None

    def picks(self, step: Step) -> bool:
        """Return whether the selector selects a child."""
        if self.name is None and self.bounds is None:
            return True
        if isinstance(step, str):
            return step == self.name
        index, length = cast("tuple[int, int]", step)
        if isinstance(self.bounds, slice):
            return self.bounds.step != 0 and index in range(length)[self.bounds]
        return self.bounds is not None and index == (self.bounds if self.bounds >= 0 else length + self.bounds)


class Segment(NamedTuple):
    """One step of a path."""

    selectors: tuple[Selector, ...]
    descendant: bool


Query = tuple[Segment, ...]
ANY_DEPTH: Final = Segment((), descendant=True)
"""Stands for the place itself and all places below it."""


def parse(path: str) -> Query:
    """Return the segments of a path. Only the documented syntax without escapes is supported."""
    if not path.startswith("$"):
        raise ValueError(path)
    segments: list[Segment] = []
    at = 1
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            raise ValueError(path)
        at = found.end()
        segments.append(Segment(tuple(_selectors(found.groupdict())), bool(found["descendant"])))
    return tuple(segments)


def spelled(place: Place) -> Iterator[Place]:
    """Yield the paths of a place without `Both`: each renamed value has both of its paths."""
    at = next((at for at, step in enumerate(place) if isinstance(step, Both)), None)
    if at is None:
        yield place
        return
    both = cast("Both", place[at])
    for rest in spelled(place[at + 1 :]):
        yield (*place[:at], *both.old, *rest)
        yield (*place[:at], *both.new, *rest)


def selects(query: Query, place: Place) -> bool:
    """Return whether a query selects exactly this path."""
    if query[:1] == (ANY_DEPTH,):
        return any(selects(query[1:], place[at:]) for at in range(len(place) + 1))
    if not query or not place:
        return not query and not place
    segment, rest = query[0], query[1:]
    return any(
        any(selector.picks(place[at]) for selector in segment.selectors) and selects(rest, place[at + 1 :])
        for at in range(len(place) if segment.descendant else 1)
    )


def by_index(query: Query) -> bool:
    """Return whether the query distinguishes elements of one array."""
    return any(selector.bounds is not None for segment in query for selector in segment.selectors)


def _selectors(found: dict[str, str | Any]) -> list[Selector]:
    if found["name"] is not None:
        return [Selector(found["name"])]
    if found["any"] is not None:
        return [Selector()]
    return [_selector(item) for item in _ITEM.finditer(found["list"][1:-1])]


def _selector(item: re.Match[str]) -> Selector:
    quoted = item["single"] if item["single"] is not None else item["double"]
    if quoted is not None:
        return Selector(quoted)
    bare = item["bare"].strip()
    if bare == "*":
        return Selector()
    if ":" not in bare:
        return Selector(bounds=int(bare))
    return Selector(bounds=slice(*[int(part) if part.strip() else None for part in bare.split(":")]))
