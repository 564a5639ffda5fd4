"""Decide whether the value rules of a place (tolerance, mask, equivalent) cover the difference of two values.

Each rule kind has its own module (`rules/kinds`). This module combines several rules, and charges the work.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final

from shadowdiff.rules.json_values import EXACT, Missing, Value, numeric
from shadowdiff.rules.kinds.kind import ANY_CLASS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence
    from decimal import Decimal

    from shadowdiff.compare.work import Budget
    from shadowdiff.rules.kinds.kind import ValueRule

Token = tuple["str | tuple[int, ...]", "str | Decimal"]
_RULE_UNITS: Final = 12
_MASKS_TRIED: Final = 8
"""Up to this number of masks that match one string, all subsets are tried."""


def covering(rules: Sequence[ValueRule], one: Value | Missing, other: Value | Missing, budget: Budget) -> str | None:
    """Return the label of the rule that covers the difference of two values; None if no rule covers it.

    The masks of one place are combined: some subset, applied in order, must make the two values equal.
    """
    for rule in rules:
        budget.spend(1 if rule.mask else _RULE_UNITS)
        if rule.mask is None and rule.covers(one, other):
            return rule.label
    if type(one) is str and type(other) is str:
        return _masked_alike([rule for rule in rules if rule.mask is not None], one, other, budget)
    return None


def _masked_alike(rules: Sequence[ValueRule], one: str, other: str, budget: Budget) -> str | None:
    """Return the label of a mask if some subset of the masks makes the two texts equal.

    One mask may change what another mask matches, so it is not enough to apply all of them. An additional mask must
    never make equal texts different.
    """
    useful: list[ValueRule] = []
    for rule in rules:
        budget.spend(search_units(len(one) + len(other)))
        if rule.mask and (rule.mask.matches(one) or rule.mask.matches(other)):
            useful.append(rule)
    if not useful:
        return None
    if hide_all(rules, one, budget) == hide_all(rules, other, budget):
        return useful[0].label
    for chosen in subsets(len(useful)):
        masks = [useful[at] for at in chosen]
        if hide_all(masks, one, budget) == hide_all(masks, other, budget):
            return masks[0].label
    return None


def equal_tokens(rules: Sequence[ValueRule], text: str, budget: Budget) -> list[Token]:
    """Return tokens of a text. If two texts share a token, mask and equivalent rules cover their difference."""
    tokens: list[Token] = [("text", text)]
    masks = [rule for rule in rules if rule.mask is not None]
    tokens += [(chosen, hide_all([masks[at] for at in chosen], text, budget)) for chosen in subsets(len(masks))]
    budget.spend(_RULE_UNITS)
    if any(rule.ignores_case for rule in rules):
        tokens.append(("case", text.casefold()))
    if any(rule.reads_numbers for rule in rules) and (number := numeric(text)) is not None:
        tokens.append(("number", number))
    return tokens


def class_of(rules: Sequence[ValueRule], value: Value, budget: Budget) -> Hashable | None:
    """Return the token of all values whose differences the rules cover; None if rules never cover the value.

    Classes exist only for a single rule: with several rules, any value may be equal to any other value.
    """
    rule = rules[0]
    if len(rules) > 1 or not rule.has_classes:
        return ANY_CLASS
    budget.spend(_RULE_UNITS)
    if rule.mask is None:
        return rule.class_of(value)
    return ("text", hide_all(rules, value, budget)) if type(value) is str else None


def normalized(rules: Sequence[ValueRule], text: str, budget: Budget) -> str:
    """Return a text after mask and equivalent rules, as used for alignment."""
    text = hide_all(rules, text, budget)
    if any(rule.reads_numbers for rule in rules) and (number := numeric(text)) is not None:
        return str(number.normalize(EXACT))
    return text.casefold() if any(rule.ignores_case for rule in rules) else text


def hide_all(rules: Iterable[ValueRule], text: str, budget: Budget) -> str:
    """Return the text after all masks are applied in order."""
    for rule in rules:
        if rule.mask is not None:
            budget.spend(search_units(len(text)))
            text = rule.mask.apply(text, budget.spend).decode("utf-8", "surrogatepass")
    return text


def search_units(chars: int) -> int:
    """Return the cost of a search that finds no match. Each match adds one unit (0.6 µs when measured)."""
    return 2 + chars // 64


def subsets(count: int) -> Iterator[tuple[int, ...]]:
    """Yield nonempty subsets of `count` masks, largest first; many masks: only all, pairs and single masks."""
    sizes = range(count, 0, -1) if count <= _MASKS_TRIED else (count, 2, 1)
    for size in sizes:
        yield from combinations(range(count), size)
