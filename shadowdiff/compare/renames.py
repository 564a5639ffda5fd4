"""Read two values under `rename` rules: pair the renamed values, and compare the rest under the usual names.

Values are never changed. The caller decides which of the renames to use.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from shadowdiff.rules.compiled import Rename
from shadowdiff.rules.json_values import Missing, member_at, with_member, with_objects, without
from shadowdiff.rules.kinds.rename import in_style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shadowdiff.rules.compiled import Names, Node
    from shadowdiff.rules.json_values import Value


class Reading(NamedTuple):
    """One choice of renames for two values.

    pairs: the renames that are used, with both renamed values.  one, other: what is left of both values.
    """

    pairs: tuple[tuple[Rename, Value, Value], ...]
    one: Value
    other: Value


def joined(state: Node, rename: Rename) -> Node:
    """Return the rules for a renamed value: the rules for both of its names, without a second envelope."""
    return state.joined(rename.old, rename.new, state.effect.envelopes if rename.is_envelope else ())


def in_names(rename: Rename, one: Value, other: Value) -> Iterator[Rename]:
    """Yield the rename; if it renames all members, yield a rename for each member whose name v2 has in its style."""
    if not rename.style:
        yield rename
    elif type(one) is dict and type(other) is dict:
        for name in one:
            if name not in other and (new := in_style(name, rename.style)) in other:
                yield Rename(rename.label, (name,), (new,))


def applies(rename: Rename, one: Value, other: Value) -> bool:
    """Whether v1 has a value only under the old name, and v2 only under the new name."""
    old, new = rename.old, rename.new
    if isinstance(member_at(one, old), Missing) or isinstance(member_at(other, new), Missing):
        return False
    return (not old or isinstance(member_at(other, old), Missing)) and (
        not new or isinstance(member_at(one, new), Missing)
    )


def renamed(other: Value, rename: Rename, sources: Sequence[Value]) -> Value:
    """Return v2's object with v1's names, if the rename applies to an object of v1. Envelopes remain."""
    for source in sources:
        for each in in_names(rename, source, other):
            value = member_at(other, each.new)
            if isinstance(value, Missing) or each.is_envelope or not applies(each, source, other):
                continue
            above = [member_at(other, each.old[:end]) for end in range(1, len(each.old))]
            if all(type(value) is dict or isinstance(value, Missing) for value in above):
                other = with_member(without(other, each.new), each.old, value)
    return other


def member_under(value: Value, names: Names, renames: Sequence[Rename]) -> Value | Missing:
    """Return the member at a path of v1's names, or else the member under its new name."""
    found = member_at(value, names)
    for rename in renames:
        if isinstance(found, Missing) and (rename.style or rename.old == names):
            new = (*names[:-1], in_style(names[-1], rename.style)) if rename.style else rename.new
            found = member_at(value, new)
    return found


def read(one: Value, other: Value, renames: Iterable[Rename]) -> Reading:
    """Use renames in order, if they still apply.

    An object that only one side has, and from which a rename took a member, is empty on the other side: it is
    not a difference itself.
    """
    pairs: list[tuple[Rename, Value, Value]] = []
    rest, rest_other = one, other
    for rename in renames:
        before, after = member_at(rest, rename.old), member_at(rest_other, rename.new)
        if not isinstance(before, Missing) and not isinstance(after, Missing) and applies(rename, rest, rest_other):
            pairs.append((rename, before, after))
            rest, rest_other = without(rest, rename.old), without(rest_other, rename.new)
    for rename, _, _ in pairs:
        rest, rest_other = with_objects(rest, rename.new[:-1]), with_objects(rest_other, rename.old[:-1])
    return Reading(tuple(pairs), rest, rest_other)


def crossing(paths: Sequence[Names]) -> set[Names]:
    """Return the paths that are equal to another path, or a part of one, or that begin with another path."""
    whole = Counter(paths)
    through = Counter(path[:end] for path in paths for end in range(1, len(path) + 1))
    return {path for path in paths if through[path] > 1 or any(whole[path[:end]] for end in range(1, len(path)))}
