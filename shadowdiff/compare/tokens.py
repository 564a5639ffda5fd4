"""Stand-ins for values that hash and compare fast, so that arrays can be aligned.

In: values, and what rules say below them.  Out: tokens.
Holds: `token` of two values is equal exactly when the values are the same, kinds included. `coarse` drops what
rules may cover, so values that are the same under the rules have equal coarse forms (not always the other way
round: the walk has the last word).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from shadowdiff.compare.values import Value, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from shadowdiff.rules.automaton import State
    from shadowdiff.rules.compiled import Effect

    Node = State[Effect]

_SORTED: Final = orjson.OPT_SORT_KEYS
_ANY: Final = "\ue000"


def dump_token(value: Value) -> bytes:
    """Return the token of a value that orjson parsed."""
    dump = orjson.dumps(value, option=_SORTED)
    return orjson.dumps(_unsigned(value), option=_SORTED) if b"-0.0" in dump else dump


def _unsigned(value: Value) -> Value:
    """Return the value with `0.0` for `-0.0`, which is equal to it and written otherwise."""
    if isinstance(value, dict):
        return {name: _unsigned(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_unsigned(element) for element in value]
    return abs(value) if isinstance(value, float) and not value else value


def exact_token(value: Value) -> Hashable:
    """Return the token of any value."""
    if isinstance(value, dict):
        return "object", tuple((name, exact_token(value[name])) for name in sorted(value))
    if isinstance(value, list):
        return kind_of(value), tuple(map(exact_token, value))
    return kind_of(value), value


def tokens_of(
    one: Sequence[Value], other: Sequence[Value], token: Callable[[Value], Hashable]
) -> tuple[Sequence[Hashable], Sequence[Hashable]]:
    """Return the tokens of both sides; scalars of one kind throughout stand for themselves."""
    kinds = set(map(type, one)) | set(map(type, other))
    if len(kinds) == 1 and kinds <= {int, str, bool, float}:
        return one, other  # pyright: ignore[reportReturnType]
    return list(map(token, one)), list(map(token, other))


def coarse(value: Value, state: Node) -> Value:
    """Return the value without what a rule may cover below `state`."""
    if state.barren:
        return value
    effect = state.effect
    if effect.ignore or effect.leaves:
        return _ANY
    if isinstance(value, dict):
        renames = {rename.new[0]: rename.old[0] for rename in effect.renames if len(rename.new) == len(rename.old) == 1}
        members: dict[str, Value] = {}
        for name, member in value.items():
            child = state.member(name)
            if not child.effect.ignore and not _may_be_missing(child.effect):
                members[renames.get(name, name)] = coarse(member, child)
        return members
    if isinstance(value, list):
        return _coarse_array(value, state)
    return kind_of(value) if effect.schema else value


def _may_be_missing(effect: Effect) -> bool:
    return any("missing" in leaf.absent for leaf in effect.leaves)


def _coarse_array(value: list[Value], state: Node) -> Value:
    effect = state.effect
    length = len(value)
    elements = [coarse(element, state.element(index, length)) for index, element in enumerate(value)]
    if effect.schema:
        return [*sorted({repr(exact_token(element)) for element in elements})]
    if effect.unordered or effect.key:
        elements.sort(key=lambda element: repr(exact_token(element)))
    return elements


def shape(value: Value) -> Hashable:
    """Return the token of a value's types alone."""
    if isinstance(value, dict):
        return "object", tuple((name, shape(value[name])) for name in sorted(value))
    if isinstance(value, list):
        return "array", tuple(sorted({repr(shape(element)) for element in value}))
    return kind_of(value)
