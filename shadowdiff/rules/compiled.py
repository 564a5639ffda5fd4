"""Rules made ready: one automaton per set of rules that holds for a route.

In: checked rules and an instant.  Out: `CompiledRules`; `for_route` gives what holds for one route and method.
Holds: expired rules are gone; routes under the same rules share one automaton; the cache of routes is bounded.
The instant is passed in; nothing here reads a clock.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from shadowdiff.rules.automaton import Automaton, State
from shadowdiff.rules.jsonpath import Name, Query, Segment, parse_query
from shadowdiff.rules.parse import HEADER, split_rename
from shadowdiff.rules.pattern import Mask
from shadowdiff.rules.rule import Rule, RuleKind, Tolerance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

MAX_ROUTES: Final = 4096
MAX_PLACES: Final = 8


class Leaf:
    """A rule that may call two values equal enough: tolerance, mask or equivalent."""

    __slots__ = ("absent", "case", "kind", "label", "mask", "number", "tolerance")

    def __init__(self, rule: Rule) -> None:
        self.kind: Final = rule.kind
        self.label: Final = rule.label
        self.tolerance: Final[Tolerance | None] = rule.tolerance
        self.mask: Final = Mask(rule.pattern, rule.replacement) if rule.kind is RuleKind.MASK else None
        self.absent: Final = frozenset(rule.equivalences) & {"null", "missing", "empty"}
        self.case: Final = "case" in rule.equivalences
        self.number: Final = "number" in rule.equivalences


class Key:
    """How the elements of an array are identified: names, or ways of names, into each element."""

    __slots__ = ("by", "label")

    def __init__(self, rule: Rule) -> None:
        self.label: Final = rule.label
        self.by: Final = tuple(_names(parse_query(name)) if name.startswith("$") else (name,) for name in rule.by)


class Rename:
    """From where in v1 to where in v2, both below the node that this is attached to."""

    __slots__ = ("label", "new", "old")

    def __init__(self, rule: Rule) -> None:
        _, old, new = split_rename(parse_query(rule.path), parse_query(rule.to))
        self.label: Final = rule.label
        self.old: Final = _names(old)
        self.new: Final = _names(new)


class Effect:
    """What holds at one node, of each kind the first rule declared.

    some: whether anything holds here at all.
    """

    __slots__ = ("ignore", "key", "leaves", "renames", "schema", "some", "subset", "unordered")

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.ignore: Final = _first(rules, RuleKind.IGNORE)
        self.unordered: Final = _first(rules, RuleKind.UNORDERED)
        self.schema: Final = _first(rules, RuleKind.SCHEMA)
        self.subset: Final = _first(rules, RuleKind.SUBSET)
        keys = [Key(rule) for rule in rules if rule.kind is RuleKind.KEY]
        self.key: Final = keys[0] if keys else None
        self.leaves: Final = tuple(Leaf(rule) for rule in rules if rule.kind in _LEAVES)
        self.renames: Final = tuple(Rename(rule) for rule in rules if rule.kind is RuleKind.RENAME)
        self.some: Final = bool(rules)


_LEAVES: Final = (RuleKind.TOLERANCE, RuleKind.MASK, RuleKind.EQUIVALENT)
_OF_SCALARS: Final = (RuleKind.IGNORE, *_LEAVES)
_INHERITED: Final = (RuleKind.SUBSET, RuleKind.SCHEMA)


class Requirement:
    """A place in body or headers that must be equal before a pair may be compared."""

    __slots__ = ("header", "label", "query")

    def __init__(self, rule: Rule) -> None:
        self.label: Final = rule.label
        self.header: Final = rule.path[len(HEADER) :].encode() if rule.path.startswith(HEADER) else b""
        self.query: Final[Query] = () if self.header else parse_query(rule.path)


class RouteRules:
    """What holds for one route: for the body (by its automaton), the status, the text, and each header.

    places: ways of names to where rules expect two scalars to differ.
    """

    __slots__ = ("headers", "places", "requirements", "root", "rules", "status", "text")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules: Final = rules
        body = [rule for rule in rules if rule.path.startswith("$") and rule.kind is not RuleKind.REQUIRE]
        self.root: Final[State[Effect]] = Automaton(
            [_anchor(rule) for rule in body],
            _effects(body),
            frozenset(index for index, rule in enumerate(body) if rule.kind in _INHERITED),
        ).root
        self.places: Final = _places(body, self.root)
        self.requirements: Final = tuple(Requirement(rule) for rule in rules if rule.kind is RuleKind.REQUIRE)
        self.status: Final = _first([rule for rule in rules if rule.path == "status"], RuleKind.IGNORE)
        self.text: Final = Effect([rule for rule in rules if rule.path == "text"])
        self.headers: Final = {
            name: Effect([rule for rule in rules if rule.path == HEADER + name.decode()])
            for name in {rule.path[len(HEADER) :].encode() for rule in rules if rule.path.startswith(HEADER)}
        }


class CompiledRules:
    """The rules of one target at one instant."""

    __slots__ = ("_by_route", "_by_rules", "rules")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules: Final = rules
        self._by_route: dict[tuple[str, str], RouteRules] = {}
        self._by_rules: dict[tuple[int, ...], RouteRules] = {}

    def for_route(self, route: str, method: str) -> RouteRules:
        """Return what holds for a route and method."""
        return self._by_route.get((route, method)) or self._select(route, method)

    def _select(self, route: str, method: str) -> RouteRules:
        chosen = tuple(index for index, rule in enumerate(self.rules) if rule.applies(route, method))
        rules = self._by_rules.get(chosen)
        if rules is None:
            rules = RouteRules(tuple(self.rules[index] for index in chosen))
            self._by_rules[chosen] = rules
        if len(self._by_route) >= MAX_ROUTES:
            self._by_route.clear()
            self._by_rules.clear()
        self._by_route[route, method] = rules
        return rules

    def __reduce__(self) -> tuple[Callable[[tuple[Rule, ...]], CompiledRules], tuple[tuple[Rule, ...]]]:
        """Ship the declarations alone; the other process compiles them once and keeps them."""
        return _compiled, (self.rules,)


def compile_rules(rules: Iterable[Rule], now: datetime) -> CompiledRules:
    """Return the rules that hold at `now`, ready for use; `now` bears a time zone."""
    return CompiledRules(tuple(rule for rule in rules if not rule.expired(now)))


@lru_cache(maxsize=64)
def _compiled(rules: tuple[Rule, ...]) -> CompiledRules:
    return CompiledRules(rules)


def _anchor(rule: Rule) -> Query:
    """Return the query of the node that the rule is attached to."""
    query = parse_query(rule.path)
    return split_rename(query, parse_query(rule.to))[0] if rule.kind is RuleKind.RENAME else query


def _places(rules: Iterable[Rule], root: State[Effect]) -> tuple[tuple[str, ...], ...]:
    """Return where these rules expect scalars to differ, each place once; not those of which there may be many.

    What lies in an object that is ignored is none: there the whole object is told.
    """
    queries = (parse_query(rule.path) for rule in rules if rule.kind in _OF_SCALARS)
    places = dict.fromkeys(_names(query) for query in queries if query and all(map(_is_name, query)))
    return tuple(place for place in places if not _is_ignored_above(place, root))[:MAX_PLACES]


def _is_ignored_above(place: tuple[str, ...], state: State[Effect]) -> bool:
    for name in place:
        if state.effect.ignore:
            return True
        state = state.member(name)
    return False


def _is_name(segment: Segment) -> bool:
    return not segment.descendant and len(segment.selectors) == 1 and isinstance(segment.selectors[0], Name)


def _effects(rules: Sequence[Rule]) -> Callable[[frozenset[int]], Effect]:
    def effect(selected: frozenset[int]) -> Effect:
        return Effect([rules[index] for index in sorted(selected)]) if selected else NOTHING

    return effect


def _first(rules: Sequence[Rule], kind: RuleKind) -> str | None:
    return next((rule.label for rule in rules if rule.kind is kind), None)


def _names(query: Query) -> tuple[str, ...]:
    return tuple(_only_name(segment) for segment in query)


def _only_name(segment: Segment) -> str:
    selector = segment.selectors[0]
    if not isinstance(selector, Name):
        raise TypeError(f"{selector!r} is not a name, which parse_rules holds")
    return selector.name


NOTHING: Final = Effect()
