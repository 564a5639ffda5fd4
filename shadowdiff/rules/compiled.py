"""Compile rules into one automaton per target, and select the rules that apply to each route.

Rules that have expired at the caller's time are omitted. All routes use the same automaton; a route only determines the
queries with which the automaton starts. The cache of routes is limited.
"""

from __future__ import annotations

from functools import cache, cached_property, lru_cache
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Final, TypeAlias

from shadowdiff.rules.automaton import MAX_POSITIONS, Automaton, Meter, State
from shadowdiff.rules.jsonpath import Query, is_singular, names_of, parse_query
from shadowdiff.rules.kinds import KINDS
from shadowdiff.rules.kinds.kind import ValueRule, ValueRuleKind
from shadowdiff.rules.kinds.rename import STYLES, RenamePlace, place_of
from shadowdiff.rules.rule import HEADER, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

Names: TypeAlias = tuple[str, ...]
MAX_ROUTES: Final = 4096
MAX_PLACES: Final = 8
ABOVE_ANY_BUDGET: Final = 1 << 62
"""The cost of rules with more than `MAX_POSITIONS` segments; every comparison with them ends as too complex."""


class Key:
    """The key that identifies an array's elements: the paths from an element to its identifying members."""

    __slots__ = ("by", "label")

    def __init__(self, rule: Rule) -> None:
        self.label: Final = rule.label
        self.by: Final = tuple(names_of(parse_query(one)) if one.startswith("$") else (one,) for one in rule.options)


class Rename:
    """A rename from `old` in v1 to `new` in v2; both paths are relative to the rule's object.

    If one of the paths is empty, the other side has an envelope around the value. style: the style of v2's names, if
    the rule renames all members.  query: the number of the query that selects the object.
    """

    __slots__ = ("label", "new", "old", "query", "style")

    def __init__(self, label: str, old: Names, new: Names, query: int = -1, style: str = "") -> None:
        self.label: Final = label
        self.old: Final = old
        self.new: Final = new
        self.query: Final = query
        self.style: Final = style

    @property
    def is_envelope(self) -> bool:
        """Whether one side has an envelope around the value."""
        return not (self.style or (self.old and self.new))


def _value_rule(rule: Rule) -> ValueRule | None:
    kind = KINDS[rule.kind]
    return kind.value_rule(rule) if isinstance(kind, ValueRuleKind) else None


class Effect:
    """The combined effect of the rules at a place: all value rules and renames, and the first rule of each other kind.

    some: whether at least one rule applies. vanishes: whether a rule can cover a value that is missing on one side.
    shape: the `schema` rule that names exactly this place; `schema` also applies to all places below it.
    envelopes: the queries of the renames that have an envelope here.
    """

    __slots__ = (
        "envelopes", "ignore", "joins", "key", "renames", "schema", "shape", "some", "subset", "unordered",
        "value_rules", "vanishes",
    )  # fmt: skip

    def __init__(
        self,
        rules: Sequence[Rule] = (),
        value_rule: Callable[[Rule], ValueRule | None] = _value_rule,
        shape: str | None = None,
        renames: tuple[Rename, ...] = (),
    ) -> None:
        first = {rule.kind: rule for rule in reversed(rules)}
        labels = {kind: rule.label for kind, rule in first.items()}
        self.ignore: Final = labels.get("ignore")
        self.unordered: Final = labels.get("unordered")
        self.schema: Final = labels.get("schema")
        self.subset: Final = labels.get("subset")
        self.shape: Final = shape
        self.joins: Final = frozenset(rule for rule in rules if rule.kind == "join")
        self.key: Final = Key(first["key"]) if "key" in first else None
        self.renames: Final = renames
        self.envelopes: Final = tuple(rename.query for rename in renames if rename.is_envelope)
        self.value_rules: Final = tuple(found for rule in rules if (found := value_rule(rule)))
        self.some: Final = bool(rules)
        self.vanishes: Final = self.ignore is not None or any(each.covers_missing for each in self.value_rules)


class Requirement:
    """A place in the body or headers that must be equal on both sides before a pair is compared."""

    def __init__(self, rule: Rule) -> None:
        self.label: Final = rule.label
        self.header: Final = rule.header.encode()
        self.query: Final[Query] = () if self.header else parse_query(rule.path)


class _BodyRules:
    """The rules of a target that apply to bodies, with one automaton for all their queries.

    A kind with `needs_own_place` has a second query, which selects the rule's own place but nothing below it.
    meter: charges the automaton's work.  is_too_large: whether the rules are too large for an automaton.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        kinds = [KINDS[rule.kind] for rule in rules]
        bodies = [at for at, rule in enumerate(rules) if rule.path.startswith("$") and not kinds[at].is_precondition]
        self._rules: Final = rules
        self._own_places: Final = len(bodies)
        self._rule_of: Final = [*bodies, *(at for at in bodies if kinds[at].needs_own_place)]
        places = [_rename_place(rules[at]) for at in bodies]
        self._renames: Final = {
            number: _rename(rules[bodies[number]], place, number) for number, place in enumerate(places) if place
        }
        queries = [
            place.query if place else parse_query(rules[at].path) for at, place in zip(bodies, places, strict=True)
        ]
        queries += [parse_query(rules[at].path) for at in self._rule_of[len(bodies) :]]
        inherited = frozenset(
            number
            for number, (at, place) in enumerate(zip(bodies, places, strict=True))
            if kinds[at].is_inherited or (place and place.below)
        )
        self.meter: Final = Meter()
        self.value_rule: Final = cache(_value_rule)
        self.is_too_large: Final = sum(map(len, queries)) > MAX_POSITIONS
        self._automaton: Final[Automaton[Effect]] = Automaton(
            [] if self.is_too_large else queries, self._effect, inherited, self.meter
        )

    def start(self, chosen: Collection[int]) -> State[Effect]:
        """Return the automaton's root state if only the rules with these indexes apply."""
        if self.is_too_large:
            return self._automaton.root
        return self._automaton.start(number for number, at in enumerate(self._rule_of) if at in chosen)

    def _effect(self, selected: frozenset[int]) -> Effect:
        if not selected:
            return NOTHING
        rules = [self._rules[self._rule_of[number]] for number in sorted(selected) if number < self._own_places]
        own = min((number for number in selected if number >= self._own_places), default=None)
        renames = tuple(self._renames[number] for number in sorted(selected) if number in self._renames)
        shape = None if own is None else self._rules[self._rule_of[own]].label
        return Effect(rules, self.value_rule, shape, renames)


class RouteRules:
    """The rules that apply to one route: to the body (through the automaton), the status, the text and each header."""

    def __init__(self, rules: tuple[Rule, ...], body_rules: _BodyRules, root: State[Effect]) -> None:
        self.rules: Final = rules
        self._body_rules: Final = body_rules
        self.root: Final = root
        self.requirements: Final = tuple(Requirement(rule) for rule in rules if KINDS[rule.kind].is_precondition)
        by_place: dict[str, list[Rule]] = {"status": [], "text": []}
        for rule in rules:
            by_place.setdefault(rule.path, []).append(rule)
        effects = {
            path: Effect(those, body_rules.value_rule) for path, those in by_place.items() if not path.startswith("$")
        }
        self.status: Final = effects.pop("status").ignore
        self.text: Final = effects.pop("text")
        self.headers: Final = {path.removeprefix(HEADER).encode(): effect for path, effect in effects.items()}

    @cached_property
    def places(self) -> tuple[tuple[str, ...], ...]:
        """Paths to the places where a rule expects two scalars to differ, without duplicates.

        Places inside an ignored object are omitted, because the object is reported as a whole.
        """
        expecting = [rule for rule in self.rules if KINDS[rule.kind].expects_scalars_to_differ]
        queries = (parse_query(rule.path) for rule in expecting if rule.path.startswith("$"))
        found = dict.fromkeys(names_of(query) for query in queries if query and is_singular(query))
        return tuple(islice((place for place in found if not _is_ignored_above(place, self.root)), MAX_PLACES))

    def charge(self, spend: Callable[[int], None]) -> None:
        """Charge the work of these rules to `spend` until `free` is called; if they are too large, charge at once."""
        self._body_rules.meter.charge(spend)
        if self._body_rules.is_too_large:
            spend(ABOVE_ANY_BUDGET)

    def free(self) -> None:
        """Stop charging."""
        self._body_rules.meter.free()


class CompiledRules:
    """The rules of a target that apply at a given time."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules: Final = rules
        self._by_route: dict[tuple[str, str], RouteRules] = {}
        self._by_rules: dict[tuple[int, ...], RouteRules] = {}

    @cached_property
    def _body_rules(self) -> _BodyRules:
        return _BodyRules(self.rules)

    def for_route(self, route: str, method: str) -> RouteRules:
        """Return the rules that apply to a route and method."""
        return self._by_route.get((route, method)) or self._select(route, method)

    def _select(self, route: str, method: str) -> RouteRules:
        chosen = tuple(index for index, rule in enumerate(self.rules) if rule.applies(route, method))
        rules = self._by_rules.get(chosen)
        if rules is None:
            root = self._body_rules.start(frozenset(chosen))
            rules = RouteRules(tuple(self.rules[index] for index in chosen), self._body_rules, root)
            self._by_rules[chosen] = rules
        if len(self._by_route) >= MAX_ROUTES:
            self._by_route.clear()
            self._by_rules.clear()
        self._by_route[route, method] = rules
        return rules

    def __reduce__(self) -> tuple[Callable[[tuple[Rule, ...]], CompiledRules], tuple[tuple[Rule, ...]]]:
        """Pickle only the declarations; the other process compiles them once and caches the result."""
        return _compiled, (self.rules,)


def compile_rules(rules: Iterable[Rule], now: datetime) -> CompiledRules:
    """Return the rules that apply at `now`, which must have a time zone."""
    return CompiledRules(tuple(rule for rule in rules if not rule.expired(now)))


@lru_cache(maxsize=64)
def _compiled(rules: tuple[Rule, ...]) -> CompiledRules:
    return CompiledRules(rules)


def _rename_place(rule: Rule) -> RenamePlace | None:
    return place_of(parse_query(rule.path), rule.to) if rule.to else None


def _rename(rule: Rule, place: RenamePlace, query: int) -> Rename:
    return Rename(rule.label, place.old, place.new, query, rule.to if rule.to in STYLES else "")


def _is_ignored_above(place: tuple[str, ...], root: State[Effect]) -> bool:
    return any(above.effect.ignore for above in accumulate(place[:-1], State[Effect].member, initial=root))


NOTHING: Final = Effect()
Node: TypeAlias = State[Effect]
"""The rules at a place in a value; its children have the rules below that place."""
