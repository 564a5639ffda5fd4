"""Match the labels of a pair of releases with what shadowdiff found, mechanically, and count.

A label names a change between two releases (or noise of the service) with a regular expression for its place.
`labels.yaml` was written from changelogs, source code and direct requests, never from shadowdiff's output.
Everything here is a pure function.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from release_pairs import PairError, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

NAMES = frozenset(
    {
        "name",
        "text",
        "source",
        "place",
        "relations",
        "kinds",
        "routes",
        "v1",
        "v2",
        "coarse",
        "unreachable",
        "equal",
    }
)
COARSE_PLACES = frozenset({"text[*]", "$", "bytes"})
"""Places that say no more than that the body differs."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that shadowdiff shows: a place, how it differs, and where.

    pairs: how many pairs it explains. values: v1's and v2's values of one or more samples. requests: methods and paths
    of samples, which do not depend on how shadowdiff names routes.
    """

    id: str
    place: str
    kind: str
    relation: str
    routes: tuple[str, ...]
    pairs: int
    values: tuple[tuple[str, str], ...] = ()
    requests: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """A change between two releases, or noise of the service.

    coarse: the whole body is another one, so that the cause may have a place without detail. unreachable,
    equal: why no cause can be expected: no request triggers the change, or the documentation declares both values
    equal.
    """

    name: str
    text: str
    place: re.Pattern[str]
    source: str = ""
    relations: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    routes: re.Pattern[str] | None = None
    v1: re.Pattern[str] | None = None
    v2: re.Pattern[str] | None = None
    coarse: bool = False
    unreachable: str = ""
    equal: str = ""

    @property
    def expected(self) -> bool:
        """Whether a cause is expected."""
        return not (self.unreachable or self.equal)

    def matches(self, cause: Cause) -> bool:
        """Return whether a cause is this change: by all of place, kind, relation, route and values that it states."""
        if cause.place in COARSE_PLACES and not self.coarse:
            return False
        return (
            self.place.search(cause.place) is not None
            and (not self.kinds or cause.kind in self.kinds)
            and (not self.relations or cause.relation in self.relations)
            and (self.routes is None or any(map(self.routes.search, cause.requests or cause.routes)))
            and self._values_match(cause)
        )

    def _values_match(self, cause: Cause) -> bool:
        if not cause.values:
            return True
        return any(
            (self.v1 is None or self.v1.search(first) is not None)
            and (self.v2 is None or self.v2.search(second) is not None)
            for first, second in cause.values
        )


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of one pair."""

    changes: tuple[Label, ...]
    noise: tuple[Label, ...]


def read_labels(file: Path) -> Labels:
    """Read `labels.yaml`. Raises: PairError."""
    stated = read_yaml(file)
    try:
        changes = tuple(_label(one) for one in stated["changes"])
        noise = tuple(_label(one) for one in stated["noise"])
    except (KeyError, TypeError, ValueError, re.error) as problem:
        raise PairError(f"{file}: a label is wrong: {problem!r}") from problem
    names = [label.name for label in (*changes, *noise)]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise PairError(f"{file}: labels need different names: {sorted(repeated)}")
    return Labels(changes, noise)


def _label(stated: dict[str, Any]) -> Label:
    if unknown := stated.keys() - NAMES:
        raise ValueError(f"unknown keys {sorted(unknown)} in {stated}")
    patterns = {name: re.compile(stated[name]) for name in ("routes", "v1", "v2") if name in stated}
    sets = {name: frozenset(stated[name]) for name in ("relations", "kinds") if name in stated}
    plain = {name: stated[name] for name in ("source", "coarse", "unreachable", "equal") if name in stated}
    return Label(stated["name"], stated["text"], re.compile(stated["place"]), **patterns, **sets, **plain)


@dataclass(frozen=True, slots=True)
class Match:
    """How the causes of a pair fit its labels.

    found: the causes of each label that has one. missing: expected labels without a cause. noise: causes that are the
    service's own noise. extra: causes that no label names.
    """

    found: dict[str, list[Cause]] = field(default_factory=dict[str, list[Cause]])
    missing: list[Label] = field(default_factory=list[Label])
    noise: list[Cause] = field(default_factory=list[Cause])
    extra: list[Cause] = field(default_factory=list[Cause])


def match(labels: Labels, causes: Iterable[Cause]) -> Match:
    """Match causes and labels. A cause can be several changes.

    A cause that fits a change and noise is the change. A cause that fits a part of a body and the whole body is the
    part, unless the whole body has no other cause.
    """
    result, shared = Match(), dict[str, list[Cause]]()
    expected = [label for label in labels.changes if label.expected]
    for cause in causes:
        fitting = [label for label in expected if label.matches(cause)]
        has_part = not all(label.coarse for label in fitting)
        for label in fitting:
            found = shared if label.coarse and has_part else result.found
            found.setdefault(label.name, []).append(cause)
        if not fitting:
            noise = any(label.matches(cause) for label in labels.noise)
            (result.noise if noise else result.extra).append(cause)
    result.found.update({name: some for name, some in shared.items() if name not in result.found})
    result.missing.extend(label for label in expected if label.name not in result.found)
    return result


def causes_per_change(result: Match) -> float:
    """Return how many causes the found changes have, divided by how many changes were found; 0 if none was found."""
    if not result.found:
        return 0.0
    distinct = {cause.id for causes in result.found.values() for cause in causes}
    return len(distinct) / len(result.found)


def wholly_explained(sets: Sequence[tuple[frozenset[str], int]], top: frozenset[str]) -> int:
    """Return how many pairs have only causes of `top`. sets: the ids of a pair's causes, and how many such pairs."""
    return sum(pairs for ids, pairs in sets if ids and ids <= top)
