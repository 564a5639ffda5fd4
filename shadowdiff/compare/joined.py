"""Compare two streams of events under `join` rules: a text may be divided into other chunks.

Neighboring events are joined if they differ only in texts that a rule names, and in members that the rule excepts. The
streams are compared as they are first, and then with each choice of rules, so that no rule uncovers a difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.compare.value_rules import subsets
from shadowdiff.model import Kind
from shadowdiff.rules.json_values import Missing, Value, member_at, same, without
from shadowdiff.rules.jsonpath import names_of, parse_query

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from shadowdiff.compare.finding import Findings
    from shadowdiff.compare.work import Budget
    from shadowdiff.rules.compiled import Node, RouteRules
    from shadowdiff.rules.rule import Rule

_KIND: Final = "join"


def compare_streams(
    one: Value, other: Value, rules: RouteRules, findings: Findings, compare: Callable[[Value, Value], None]
) -> None:
    """Note where two streams differ. If they differ however they are joined, note the fewest differences.

    compare: notes where two values differ.
    """
    mark = findings.mark()
    compare(one, other)
    joins = [rule for rule in rules.rules if rule.kind == _KIND]
    if not joins or not findings.counts_since(mark) or not (isinstance(one, list) and isinstance(other, list)):
        return
    counted, covered, _ = mark
    best = findings.counted[counted:], findings.covered[covered:], findings.unlisted
    for choice in subsets(len(joins)):
        chosen = [joins[at] for at in choice]
        left, right = (_joined(events, rules.root, chosen, findings.budget) for events in (one, other))
        if len(left) == len(one) and len(right) == len(other):
            continue
        findings.rewind(mark)
        findings.note_value(None, Kind.VALUE, one, other, chosen[0].label)
        compare(left, right)
        found = findings.counted[counted:], findings.covered[covered:], findings.unlisted
        if len(found[0]) < len(best[0]):
            best = found
        if not found[0]:
            break
    findings.rewind(mark)
    findings.counted += best[0]
    findings.covered += best[1]
    findings.unlisted = best[2]


class _Run(NamedTuple):
    """Joinable events.  bare: the first event without what may differ.  texts: of each event, by place."""

    first: Value
    bare: Value
    state: Node
    texts: list[list[str]]


def _joined(events: list[Value], root: Node, chosen: Collection[Rule], budget: Budget) -> list[Value]:
    """Return the events with each run of joinable events as one event."""
    excepted = [names_of(parse_query(name)) if name[0] == "$" else (name,) for rule in chosen for name in rule.options]
    runs: list[_Run] = []
    for at, event in enumerate(events):
        state = root.element(at, len(events))
        texts: list[str] = []
        bare = _bare(event, state, chosen, texts, budget)
        for names in excepted:
            bare = bare if isinstance(member_at(bare, names), Missing) else without(bare, names)
        if texts and runs and same(bare, runs[-1].bare):
            runs[-1].texts.append(texts)
        else:
            runs.append(_Run(event, bare, state, [texts]))
    return [
        run.first
        if len(run.texts) == 1
        else _placed(run.first, run.state, chosen, map("".join, zip(*run.texts, strict=True)))
        for run in runs
    ]


def _bare(value: Value, state: Node, chosen: Collection[Rule], texts: list[str], budget: Budget) -> Value:
    """Return a value with empty texts at the places of the rules; append the texts, in the order of `_placed`."""
    budget.spend(2)
    if type(value) is str and not state.effect.joins.isdisjoint(chosen):
        texts.append(value)
        return ""
    if type(value) is dict and not state.barren:
        return {name: _bare(value[name], state.member(name), chosen, texts, budget) for name in sorted(value)}
    if type(value) is list and not state.barren:
        below = (state.element(at, len(value)) for at in range(len(value)))
        return [_bare(each, inner, chosen, texts, budget) for each, inner in zip(value, below, strict=True)]
    return value


def _placed(value: Value, state: Node, chosen: Collection[Rule], texts: Iterator[str]) -> Value:
    """Return a value with other texts at the places of the rules."""
    if type(value) is str and not state.effect.joins.isdisjoint(chosen):
        return next(texts)
    if type(value) is dict and not state.barren:
        placed = {name: _placed(value[name], state.member(name), chosen, texts) for name in sorted(value)}
        return {name: placed[name] for name in value}
    if type(value) is list and not state.barren:
        return [_placed(each, state.element(at, len(value)), chosen, texts) for at, each in enumerate(value)]
    return value
