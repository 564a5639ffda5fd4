"""Find rules that have no effect, or that hide more than intended.

There are no false warnings: the rule that shadows another covers everything that the other selects. The work
is limited. If the rules are too large to check, a warning says so, and no rule is reported as shadowed.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.rules.automaton import MAX_POSITIONS
from shadowdiff.rules.containment import Containment
from shadowdiff.rules.jsonpath import Segment, Slice, parse_query
from shadowdiff.rules.kinds import KINDS
from shadowdiff.rules.kinds.ignore import Ignore

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Sequence
    from datetime import datetime

    from shadowdiff.rules.rule import Rule

MAX_PAIRS: Final = 1_000_000
"""Maximum number of rule pairs that are checked for shadowing. Only rules with overlapping paths form pairs."""


class RuleWarning(msgspec.Struct, frozen=True):
    """A warning about one rule.

    index: the rule's position in the list.  subject: `useless`, `hides-all`, `shadowed` or `too-large`.
    text: what is wrong, and how to fix it.
    """

    index: int
    subject: str
    label: str
    text: str

    @property
    def message(self) -> str:
        """Return the warning text with the rule's position."""
        return f"rules[{self.index}] ({self.label}) {self.text}"


def lint_rules(
    rules: Sequence[Rule],
    *,
    compared_headers: Container[str] | None = None,
    methods: Collection[str] | None = None,
    now: datetime | None = None,
) -> list[RuleWarning]:
    """Return warnings about the rules.

    compared_headers: lower-case names of the compared headers; if None, header rules are not checked. methods: methods
    that are sent to v2; if None, methods are not checked. now: the time at which rules are checked for expiry.
    """
    shadows = _Shadows(rules)
    return [
        RuleWarning(index, subject, rule.label, text)
        for index, rule in enumerate(rules)
        for subject, text in [*_never(rule, compared_headers, methods, now), *_too_much(index, rule, shadows)]
    ]


def _never(
    rule: Rule, headers: Container[str] | None, methods: Collection[str] | None, now: datetime | None
) -> Iterator[tuple[str, str]]:
    if now is not None and rule.expired(now):
        yield "useless", f"expired on {rule.expires:%Y-%m-%d}; remove it, or give it a later date"
    name = rule.header
    if name and headers is not None and name not in headers and not KINDS[rule.kind].is_precondition:
        yield "useless", f"names a header that is not compared: {name}; remove the rule"
    if rule.path.startswith("$") and any(_selects_nothing(segment) for segment in parse_query(rule.path)):
        yield "useless", "selects nothing: its slice is empty; write its start before its end"
    if methods is not None and (named := _named_methods(rule)) and not named & set(methods):
        yield "useless", f"applies only to {', '.join(sorted(named))}, which v2 never receives; name another method"


def _named_methods(rule: Rule) -> set[str]:
    if rule.methods:
        return set(rule.methods)
    named = {route.partition(" ")[0] for route in rule.routes if " " in route}
    return named if all(" " in route for route in rule.routes) else set()


def _too_much(index: int, rule: Rule, shadows: _Shadows) -> Iterator[tuple[str, str]]:
    if KINDS[rule.kind].hides_body(rule):
        yield "hides-all", "hides the whole body and every fault in it; name the places that vary"
    if index == 0 and shadows.is_too_large:
        yield (
            "too-large",
            (
                f"and the other rules have more than {MAX_POSITIONS:,} segments in their paths, so every comparison"
                " ends as too_complex; shorten the paths, or remove rules"
            ),
        )
    by = shadows.of(index)
    if by is not None:
        yield "shadowed", f"has no effect, because {by.label} covers everything that it selects; remove one of them"


def _selects_nothing(segment: Segment) -> bool:
    return all(
        isinstance(selector, Slice)
        and (selector.step == 0 or (_empty(selector.start, selector.stop) and selector.step > 0))
        for selector in segment.selectors
    )


def _empty(start: int | None, stop: int | None) -> bool:
    return stop is not None and (start or 0) >= stop and ((start or 0) >= 0) == (stop >= 0)


class _Shadows:
    """Finds rules that another rule makes useless.  is_too_large: whether there are too many segments to check."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._pairs = MAX_PAIRS
        self._scopes = [(frozenset(rule.routes), frozenset(rule.methods)) for rule in rules]
        self._same_path: defaultdict[str, list[int]] = defaultdict(list)
        for index, rule in enumerate(rules):
            self._same_path[rule.path].append(index)
        queries = {path: parse_query(path) for rule in rules for path in (rule.path, rule.to) if path.startswith("$")}
        self.is_too_large = sum(len(queries.get(rule.path, ())) for rule in rules) > MAX_POSITIONS
        self._ignoring: dict[str, set[int]] = {}
        """For each path, the rules that ignore everything that the path selects."""
        if not self.is_too_large:
            ignoring = [index for index, rule in enumerate(rules) if rule.kind == Ignore.name]
            in_bodies = [index for index in ignoring if rules[index].path in queries]
            outer = Containment([queries[rules[index].path] for index in in_bodies])
            for path, query in queries.items():
                self._ignoring[path] = {in_bodies[number] for number in outer.containing(query)}
            for index in set(ignoring).difference(in_bodies):
                self._ignoring.setdefault(rules[index].path, set()).add(index)

    def of(self, index: int) -> Rule | None:
        """Return the first rule that makes this rule useless."""
        rule = self._rules[index]
        if self.is_too_large or KINDS[rule.kind].is_precondition:
            return None
        covering = self._ignoring.get(rule.path, set[int]())
        if rule.to:
            covering = covering & self._ignoring.get(rule.to, covering)
        for at in sorted({*self._same_path[rule.path], *covering} - {index}):
            self._pairs -= 1
            if self._pairs < 0:
                return None
            if self._includes(at, index) and self._leaves_nothing(at, index, covering):
                return self._rules[at]
        return None

    def _leaves_nothing(self, at: int, index: int, covering: set[int]) -> bool:
        """Return whether rule `at` covers all places of rule `index`.  covering: rules that ignore these places."""
        other, rule = self._rules[at], self._rules[index]
        if other.kind == rule.kind and other.path == rule.path and at < index:
            return KINDS[rule.kind].same_options(other, rule)
        return at in covering and (at < index or rule.kind != Ignore.name or index not in self._ignoring[other.path])

    def _includes(self, at: int, index: int) -> bool:
        """Return whether rule `at` applies to all routes and methods of rule `index`, and does not expire earlier."""
        for mine, theirs in zip(self._scopes[at], self._scopes[index], strict=True):
            if mine and not (theirs and theirs <= mine):
                return False
        end, other_end = self._rules[at].expires, self._rules[index].expires
        return end is None or (other_end is not None and other_end <= end)
