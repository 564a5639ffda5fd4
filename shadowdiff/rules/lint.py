"""Find rules that do nothing, or more than anyone means.

In: checked rules, and what the comparison looks at.  Out: warnings, in the order of the rules.
Holds: a warning is certain of what it says: a rule called shadowed selects nothing that the other leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.rules.jsonpath import Name, Query, Segment, Selector, Slice, Wildcard, parse_query
from shadowdiff.rules.parse import HEADER
from shadowdiff.rules.pattern import Mask
from shadowdiff.rules.rule import Rule, RuleKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

_SAMPLES: Final = ("a", "b 1", "x=2; y\nz", "")
_VOID: Final = parse_query("$.*")


class RuleWarning(msgspec.Struct, frozen=True):
    """What is odd about one rule.

    index: its place in the list.  subject: `useless`, `hides-all` or `shadowed`.  said: what is odd, and the way out.
    """

    index: int
    subject: str
    label: str
    said: str

    @property
    def message(self) -> str:
        """Return the warning with the rule that it speaks of."""
        return f"rules[{self.index}] ({self.label}) {self.said}"


def lint_rules(
    rules: Sequence[Rule],
    *,
    compared_headers: Collection[str] | None = None,
    methods: Collection[str] | None = None,
    now: datetime | None = None,
) -> list[RuleWarning]:
    """Return what is odd about the rules.

    compared_headers: the lower-case names that are compared; without them header rules are not looked at.
    methods: those that are asked of v2; without them a rule may speak of any.
    now: the instant at which a rule may have expired.
    """
    return [
        RuleWarning(index, subject, rule.label, said)
        for index, rule in enumerate(rules)
        for subject, said in [
            *_never(rule, compared_headers, methods, now),
            *_too_much(index, rule, rules),
        ]
    ]


def _never(
    rule: Rule, headers: Collection[str] | None, methods: Collection[str] | None, now: datetime | None
) -> Iterator[tuple[str, str]]:
    """Yield why a rule never does anything."""
    if now is not None and rule.expired(now):
        yield "useless", f"expired on {rule.expires:%Y-%m-%d}; remove it, or give it a later date"
    name = rule.path.removeprefix(HEADER) if rule.path.startswith(HEADER) else ""
    if name and headers is not None and name not in headers and rule.kind is not RuleKind.REQUIRE:
        yield "useless", f"speaks of a header that is not compared: {name}; remove it"
    if rule.path.startswith("$") and any(_selects_nothing(segment) for segment in parse_query(rule.path)):
        yield "useless", "selects nothing: its slice is empty; write its start before its end"
    if methods is not None and (named := _named_methods(rule)) and not named & set(methods):
        yield "useless", f"speaks only of {', '.join(sorted(named))}, which v2 is never asked; name another method"


def _named_methods(rule: Rule) -> set[str]:
    """Return the methods that the rule speaks of; empty where it may speak of any."""
    if rule.methods:
        return set(rule.methods)
    named = {route.partition(" ")[0] for route in rule.routes if " " in route}
    return named if all(" " in route for route in rule.routes) else set()


def _too_much(index: int, rule: Rule, rules: Sequence[Rule]) -> Iterator[tuple[str, str]]:
    """Yield what a rule hides that nobody means, and by what it is hidden itself."""
    if _hides_all(rule):
        yield "hides-all", "hides the whole body, so that no fault in it can be seen; name the places that vary"
    by = next((other for at, other in enumerate(rules) if at != index and _shadows(at, other, index, rule)), None)
    if by is not None:
        yield "shadowed", f"has no effect beside {by.label}, which covers all that it selects; remove one of them"


def _selects_nothing(segment: Segment) -> bool:
    return all(
        isinstance(selector, Slice)
        and (selector.step == 0 or (_empty(selector.start, selector.stop) and selector.step > 0))
        for selector in segment.selectors
    )


def _empty(start: int | None, stop: int | None) -> bool:
    return stop is not None and (start or 0) >= stop and ((start or 0) >= 0) == (stop >= 0)


def _hides_all(rule: Rule) -> bool:
    if rule.kind is RuleKind.IGNORE:
        return rule.path == "text" or (rule.path.startswith("$") and contains(parse_query(rule.path), _VOID))
    if rule.kind is not RuleKind.MASK:
        return False
    mask = Mask(rule.pattern, rule.replacement)
    return len({mask.apply(sample) for sample in _SAMPLES[:-1]}) == 1


def _shadows(at: int, other: Rule, index: int, rule: Rule) -> bool:
    """Whether `other` leaves nothing for `rule` to do."""
    if rule.kind is RuleKind.REQUIRE or not _speaks_wherever(other, rule):
        return False
    if other.kind is rule.kind and other.path == rule.path and at < index:
        return _same_options(other, rule)
    if other.kind is not RuleKind.IGNORE:
        return False
    if not other.path.startswith("$") or not rule.path.startswith("$"):
        return other.path == rule.path and (at < index or rule.kind is not RuleKind.IGNORE)
    here, there = parse_query(other.path), parse_query(rule.path)
    return contains(here, there) and (at < index or not contains(there, here))


def _same_options(one: Rule, other: Rule) -> bool:
    return (one.to, one.by, one.pattern, one.tolerance, one.equivalences) == (
        other.to,
        other.by,
        other.pattern,
        other.tolerance,
        other.equivalences,
    )


def _speaks_wherever(other: Rule, rule: Rule) -> bool:
    """Whether `other` holds on every route, method and day on which `rule` does."""
    for mine, theirs in ((other.routes, rule.routes), (other.methods, rule.methods)):
        if mine and (not theirs or not set(theirs) <= set(mine)):
            return False
    return other.expires is None or (rule.expires is not None and rule.expires <= other.expires)


def contains(outer: Query, inner: Query) -> bool:
    """Whether every place that `inner` selects is selected by `outer`, or lies below such a place."""
    if not outer:
        return True
    if not inner:
        return False
    first, second = outer[0], inner[0]
    if second.descendant and not first.descendant:
        if not any(isinstance(selector, Wildcard) for selector in first.selectors):
            return False
        return contains(outer[1:], inner) and contains(outer[1:], inner[1:])
    if _wide(first, second) and contains(outer[1:], inner[1:]):
        return True
    return first.descendant and contains(outer, inner[1:])


def _wide(outer: Segment, inner: Segment) -> bool:
    return all(any(_takes(mine, theirs) for mine in outer.selectors) for theirs in inner.selectors)


def _takes(mine: Selector, theirs: Selector) -> bool:
    if isinstance(mine, Wildcard) or mine == theirs:
        return True
    if isinstance(mine, Name) or isinstance(theirs, (Name, Wildcard)):
        return False
    return isinstance(mine, Slice) and mine.stop is None and not mine.start and mine.step == 1
