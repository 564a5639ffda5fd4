"""Find the attributes that the pairs of a cause have in common and that other pairs of the same routes rarely have.

Pure. An attribute is shown only if it holds: Fisher's exact test rejects, at `LEVEL` over all tested attributes, that
it is as frequent among affected pairs as among others. Attributes are ranked by the lower confidence bound of the
difference of both shares. A further attribute is shown only if it also holds among the pairs that have all attributes
shown before it, so that one attribute never appears under several names.

Sources: Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17
(1998), method 10; Tarone, "A modified Bonferroni method for discrete data", Biometrics 46 (1990).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from heapq import nsmallest
from itertools import chain
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from shadowdiff.report.attributes import MOST_HEADERS, MOST_PARAMETERS, Attribute, How, Source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

LEVEL: Final = 0.001
"""The share of causes whose pairs have nothing in common that may show an attribute."""
FEWEST_AFFECTED: Final = 5
"""Fewer pairs may be repetitions of one request."""
LEAST_SHARE: Final = 0.75
"""An attribute is common only if at least this share of the affected pairs has it."""
LEAST_DIFFERENCE: Final = 0.1
"""The smallest lower bound of the difference that is shown."""
MOST_SHOWN: Final = 3
_MOST_AFFECTED: Final = 500
_MOST_OTHERS: Final = 1_000
"""Pairs that are compared. Both samples are uniform, so more pairs only narrow the bounds."""
_MOST_NAMES: Final = 20
"""Names of parameters and headers of a route whose absence is an attribute."""
_MOST_OF: Final = {Source.QUERY: MOST_PARAMETERS, Source.HEADER: MOST_HEADERS}
_PATH_STEP: Final = re.compile(r"\['((?:[^'\\]|\\.)*)'\]|\[[^\]']*\]")


class Group(msgspec.Struct, frozen=True, array_like=True):
    """The pairs of one route that have the same set of changes; none for pairs that match.

    has_more: whether these pairs have further changes, which are unknown.
    """

    route: str
    changes: tuple[str, ...] = ()
    has_more: bool = False


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A sampled pair: the id of its group, its rank, and its attributes."""

    group: str
    rank: str
    attributes: tuple[Attribute, ...]


class SamplePart(msgspec.Struct, frozen=True):
    """The sample of one shard and period: of each group, all pairs whose rank is below the group's cut.

    groups: by id. cuts: only of groups that lost a pair. Ranks are uniform, and of equal length.
    """

    groups: Mapping[str, Group]
    cuts: Mapping[str, str]
    entries: Sequence[Entry]


class CommonAttribute(msgspec.Struct, frozen=True, kw_only=True):
    """An attribute with the number of sampled pairs that have it.

    bound: the lower confidence bound of the difference between both shares.
    """

    text: str
    affected_with: int
    affected: int
    others_with: int
    others: int
    bound: float


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """What the affected pairs have in common, best first, and the numbers of sampled pairs that were compared."""

    attributes: tuple[CommonAttribute, ...] = ()
    affected: int = 0
    others: int = 0


_Name = tuple[Source, str]
_Pairs = list[tuple[int, ...]]
"""The numbers of the attributes of each pair."""


class _Row(NamedTuple):
    """An entry of the table: its group, rank, and the numbers of its attributes."""

    group: Group
    rank: str
    numbers: tuple[int, ...]


class _Route(NamedTuple):
    """The number of a route's attribute, and of each name the numbers of its presence and absence."""

    number: int
    optional: dict[_Name, tuple[int, int]]


class AttributeTable:
    """The sampled pairs of a target, prepared to compare the pairs of many causes with others."""

    def __init__(self, parts: Sequence[SamplePart]) -> None:
        self._attributes: list[Attribute] = []
        self._numbers: dict[Attribute, int] = {}
        self._cuts = [
            (part.groups[name], cut) for part in parts for name, cut in part.cuts.items() if name in part.groups
        ]
        found = [
            (group, entry)
            for part in parts
            for entry in part.entries
            if (group := part.groups.get(entry.group)) is not None
        ]
        self._groups = {group for part in parts for group in part.groups.values()}
        routes = {route: self._route(route, names) for route, names in _optional_names(found).items()}
        self._rows = [_Row(group, entry.rank, self._expanded(entry, routes[group.route])) for group, entry in found]

    def common(self, changes: Collection[str], places: Iterable[str] = (), *, level: float = LEVEL) -> Common:
        """Return what the pairs with one of these changes have in common; see `common_attributes`."""
        wanted = frozenset(changes)

        def is_affected(group: Group) -> bool:
            return not wanted.isdisjoint(group.changes)

        affected = {group for group in self._groups if is_affected(group)}
        routes = {group.route for group in affected}
        others = {group for group in self._groups - affected if group.route in routes and not group.has_more}
        inside, outside = self._uniform(affected, _MOST_AFFECTED), self._uniform(others, _MOST_OTHERS)
        names = [name for place in places if (name := dotted(place))]
        shown = tuple(self._chosen(inside, outside, names, level))
        return Common(attributes=shown, affected=len(inside), others=len(outside))

    def _number(self, attribute: Attribute) -> int:
        number = self._numbers.setdefault(attribute, len(self._attributes))
        if number == len(self._attributes):
            self._attributes.append(attribute)
        return number

    def _route(self, route: str, names: Sequence[_Name]) -> _Route:
        optional = {
            name: (self._number(Attribute(*name, "", How.PRESENT)), self._number(Attribute(*name, "", How.ABSENT)))
            for name in names
        }
        return _Route(self._number(Attribute(Source.ROUTE, "route", route)), optional)

    def _expanded(self, entry: Entry, route: _Route) -> tuple[int, ...]:
        """Return the attributes of a pair, its route, and which parameters and headers it has or lacks."""
        found = dict.fromkeys(map(self._number, entry.attributes))
        found[route.number] = None
        present = {(one.source, one.name) for one in entry.attributes if one.source in _MOST_OF}
        full = {source for source, most in _MOST_OF.items() if sum(one is source for one, _ in present) >= most}
        for name, (if_present, if_absent) in route.optional.items():
            if name in present:
                found[if_present] = None
            elif name[0] not in full:  # otherwise it may be one of those that were not kept
                found[if_absent] = None
        return tuple(found)

    def _uniform(self, groups: Collection[Group], most: int) -> _Pairs:
        """Return a uniform sample of all pairs of these groups: those with the lowest ranks below every cut."""
        cut = min((cut for group, cut in self._cuts if group in groups), default="~")
        rows = [row for row in self._rows if row.rank < cut and row.group in groups]
        if len(rows) > most:
            rows = nsmallest(most, rows, key=lambda row: (row.rank, row.numbers))
        return [row.numbers for row in rows]

    def _chosen(
        self, affected: _Pairs, others: _Pairs, places: Sequence[str], level: float
    ) -> Iterator[CommonAttribute]:
        """Yield the attributes to show: the best one, then the best of those that hold among the pairs that have it."""
        inside, outside, n, m = affected, others, len(affected), len(others)
        for _ in range(MOST_SHOWN):
            best = self._best(inside, outside, places, level)
            if best is None:
                return
            number, bound = best
            a, b = (sum(number in one for one in pairs) for pairs in (affected, others))
            text = self._attributes[number].text
            yield CommonAttribute(
                text=text, affected_with=a, affected=n, others_with=b, others=m, bound=round(bound, 4)
            )
            inside, outside = ([one for one in pairs if number in one] for pairs in (inside, outside))
            level /= 2

    def _best(self, affected: _Pairs, others: _Pairs, places: Sequence[str], level: float) -> tuple[int, float] | None:
        """Return the attribute with the highest lower bound of those that hold; None if none holds."""
        n, m = len(affected), len(others)
        if n < FEWEST_AFFECTED or not m:
            return None
        ours, theirs = Counter(chain.from_iterable(affected)), Counter(chain.from_iterable(others))
        needed = math.ceil(LEAST_SHARE * n)
        totals = [total for total in (ours + theirs).values() if total >= needed]
        corrected = level / count_tests(n, n + m, totals, level)
        best: tuple[float, Attribute] | None = None
        for number, a in ours.items():
            b, attribute = theirs[number], self._attributes[number]
            if a < needed or exceedance(a, n, a + b, n + m) > corrected or _is_within(attribute, places):
                continue
            bound = difference_bound(a, n, b, m, corrected)
            if bound >= LEAST_DIFFERENCE and (best is None or (-bound, attribute.order) < (-best[0], best[1].order)):
                best = bound, attribute
        return None if best is None else (self._numbers[best[1]], best[0])


def common_attributes(
    parts: Sequence[SamplePart], changes: Collection[str], places: Iterable[str] = (), *, level: float = LEVEL
) -> Common:
    """Return what the pairs with one of these changes have in common, compared with other pairs of the same routes.

    changes: ids of the changes of a cause. places: where they are; values at and below them are no attributes.
    level: the share of causes whose pairs have nothing in common that may show an attribute.
    """
    return AttributeTable(parts).common(changes, places, level=level)


def dotted(place: str) -> str:
    """Return a path pattern of a body as attributes write it: `a[*].b` for `$['a'][*]['b']`; empty for other places."""
    if not place.startswith("$"):
        return ""
    steps = (f".{step[1]}" if step[1] is not None else step[0] for step in _PATH_STEP.finditer(place))
    return "".join(steps).removeprefix(".")


def _optional_names(found: Sequence[tuple[Group, Entry]]) -> dict[str, list[_Name]]:
    """Return the names of parameters and headers of each route, most frequent first."""
    counted: defaultdict[str, Counter[_Name]] = defaultdict(Counter)
    for group, entry in found:
        counted[group.route].update([(one.source, one.name) for one in entry.attributes if one.source in _MOST_OF])
    return {route: [name for name, _ in names.most_common(_MOST_NAMES)] for route, names in counted.items()}


def _is_within(attribute: Attribute, places: Sequence[str]) -> bool:
    """Return whether an attribute is a value at or below one of these places."""
    name = attribute.name
    return attribute.source is Source.BODY and any(
        name == place or name.startswith((f"{place}.", f"{place}[")) for place in places
    )


def count_tests(n: int, total: int, totals: Sequence[int], level: float) -> int:
    """Return by how many tests the level is divided: Tarone's number, which leaves out tests that can never reject.

    totals: how many of all pairs have each attribute. It decides which tests count, and the affected pairs do not.
    """
    sizes = Counter(totals)
    least = sorted((exceedance(min(size, n), n, size, total), count) for size, count in sizes.items())
    for tests in range(1, len(totals) + 1):
        if sum(count for p, count in least if p <= level / tests) <= tests:
            return tests
    return 1


@lru_cache(maxsize=8192)
def exceedance(a: int, n: int, size: int, total: int) -> float:
    """Return the chance that at least `a` of n pairs have an attribute that `size` pairs of `total` have."""
    if a <= max(0, n + size - total):
        return 1.0
    term = math.exp(_log_choose(size, a) + _log_choose(total - size, n - a) - _log_choose(total, n))
    chance, most = term, min(n, size)
    while a < most and term > chance * 1e-17:
        term *= (n - a) * (size - a) / ((a + 1) * (total - n - size + a + 1))
        chance += term
        a += 1
    return min(1.0, chance)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def difference_bound(a: int, n: int, b: int, m: int, level: float) -> float:
    """Return Newcombe's lower bound of a/n - b/m, which is too high in at most about a share `level` of all samples."""
    z = NormalDist().inv_cdf(1 - level)
    p, q = a / n, b / m
    return p - q - math.hypot(p - _wilson(a, n, -z), _wilson(b, m, z) - q)


def _wilson(k: int, n: int, z: float) -> float:
    """Return Wilson's bound of a share: the lower one for a negative z."""
    p = k / n
    spread = math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (p + z * z / (2 * n) + z * spread) / (1 + z * z / n)
