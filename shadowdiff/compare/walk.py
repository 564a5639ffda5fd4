"""Find where two values differ, and which rule covers each place.

In: two values, the automaton's state at the root, the findings to fill.
Holds: equal parts are left at C speed by `==`; since Python calls `1`, `1.0` and `True` equal, what was left is
proved alike in kind afterwards: v1's value is put in each place that was found to differ, and then the two dumps
must agree (over copies of what is equal, that saved a tenth of a comparison at 1.4 kB). Only where that fails the
walk is done again with kinds checked at every step. A rule covers differences and never makes any.
"""

from __future__ import annotations

from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, Final, cast

import msgspec
import orjson

from shadowdiff.compare.arrays import Aligner, as_multiset, by_key, in_sequence
from shadowdiff.compare.finding import Findings
from shadowdiff.compare.leaves import covers
from shadowdiff.compare.limits import Limits
from shadowdiff.compare.tokens import coarse, dump_token, exact_token, shape
from shadowdiff.compare.values import MISSING, Missing, Value, kind_of, same
from shadowdiff.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from shadowdiff.compare.finding import Path
    from shadowdiff.rules.automaton import State
    from shadowdiff.rules.compiled import Effect, Key, Rename

    Node = State[Effect]
    _Cut = tuple[dict[str, Value] | list[Value], str | int, Value]
    """A place in v2 that differs, as container and step, and v1's value for it."""

_TRIAL: Final = Limits(differences=1, covered=0, value_chars=16, path_chars=16)
_MAX_TRIALS: Final = 5000
_FEW: Final = 8
_VALUE: Final = Kind.VALUE
_TYPE: Final = Kind.TYPE
FLOATS: Final = 1
DECIMALS: Final = 2
STRICT: Final = 3


def _dump(value: Value) -> bytes:
    """Write a value of tier 1 or 2; Decimals become strings, for which no string among equal values is mistaken."""
    try:
        return orjson.dumps(value, default=str)
    except orjson.JSONEncodeError:  # an integer past 64 bits
        return _dump_huge(value)


def _dump_sorted(value: Value) -> bytes:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return _dump_huge(value)


_dump_huge: Final = msgspec.json.Encoder(order="sorted").encode


class Walker:
    """One walk over two values, as the tier that parsed them allows.

    Tiers 1 and 2 have a writer that tells kinds apart where `==` does not; tier 3 checks kinds at every step.
    """

    __slots__ = (
        "_cuts",
        "_findings",
        "_left_one",
        "_left_other",
        "_rest_one",
        "_rest_other",
        "_strict",
        "_token",
        "_trials",
    )

    def __init__(self, findings: Findings, tier: int) -> None:
        self._findings = findings
        self._strict = tier == STRICT
        self._token: Callable[[Value], Hashable] = dump_token if tier == FLOATS else exact_token
        self._trials = _MAX_TRIALS
        self._left_one: list[Value] = []
        self._left_other: list[Value] = []
        self._rest_one: list[Value] = []
        self._rest_other: list[Value] = []
        self._cuts: list[_Cut] = []

    def explain(self, one: Value, other: Value, root: Node, dump: bytes = b"") -> bool:
        """Note where two values differ; return whether all that was left as equal is alike in kind too.

        dump: of v1's value, where it is at hand.  Both values are as they were afterwards, unless all is proved.
        """
        if self._strict:
            if not same(one, other):
                self.node(one, other, None, root)
            return True
        if one == other:
            return _dump_sorted(one) == _dump_sorted(other)
        if self.node(one, other, None, root):
            return self._proved()
        if self._left_one or self._rest_one:
            self._rest_one.append(one)
            self._rest_other.append(other)
            return self._proved()
        undo = _place(self._cuts)
        if _alike(one, other, dump):
            return True
        _place(undo)
        return False

    def _proved(self) -> bool:
        """Whether what was left as equal is alike in kind: whole values, then what stands around differences."""
        if self._left_one and not _alike(self._left_one, self._left_other):
            return False
        if not self._rest_one:
            return True
        undo = _place(self._cuts)
        if _alike(self._rest_one, self._rest_other):
            return True
        _place(undo)
        return False

    def equal(self, one: Value, other: Value) -> bool:
        """Whether two values are equal; remembers what is yet to be proved."""
        if self._strict:
            return same(one, other)
        if one != other:
            return False
        self._left_one.append(one)
        self._left_other.append(other)
        return True

    def node(self, one: Value, other: Value, path: Path, state: Node) -> bool:
        """Note what differs at and below a place where something does.

        Returns: whether the place is to be left out of the proof, as nothing in it is left as equal, or what is
        was remembered by itself.
        """
        effect = state.effect
        renamed = False
        if effect.some:
            if self._covered(one, other, path, effect):
                return True
            for rename in effect.renames:
                other, renamed = self._renamed(one, other, path, rename), True
        here = type(one)
        if here is not type(other):
            kind = _VALUE if kind_of(one) == kind_of(other) else _TYPE
            self._findings.body(path, kind, one, other, effect.schema if kind is _VALUE else None)
            return True
        if isinstance(one, dict) and isinstance(other, dict):
            apart = self._object(one, other, path, state)
        elif isinstance(one, list) and isinstance(other, list):
            apart = self._array(one, other, path, state)
        else:
            self._findings.body(path, _VALUE, one, other, effect.schema)
            return True
        if renamed and not apart:  # what stands in v2's tree has other names than what was compared
            self._rest_one.append(one)
            self._rest_other.append(other)
            return True
        return apart

    def _apart(self, one: Value, other: Value, path: Path, state: Node) -> None:
        """Look into a place whose surroundings are not proved as a whole."""
        if not self.node(one, other, path, state):
            self._rest_one.append(one)
            self._rest_other.append(other)

    def _covered(self, one: Value, other: Value, path: Path, effect: Effect) -> bool:
        rule = effect.ignore
        if rule is None:
            rule = next((leaf.label for leaf in effect.leaves if covers(leaf, one, other)), None)
        if rule is None:
            return False
        kind = _VALUE if kind_of(one) == kind_of(other) else _TYPE
        self._findings.body(path, kind, one, other, rule)
        return True

    def _object(self, one: dict[str, Value], other: dict[str, Value], path: Path, state: Node) -> bool:
        if not self._strict and one.keys() == other.keys():
            for name in compress(one, map(ne, one.values(), map(other.__getitem__, one))):
                value = one[name]
                if self.node(value, other[name], (path, name), state.member(name)):
                    self._cuts.append((other, name, value))
            return False
        for name, value in one.items():
            against = other.get(name, MISSING)
            if isinstance(against, Missing):
                self.absent(value, MISSING, (path, name), state.member(name))
            elif not self.equal(value, against):
                self._apart(value, against, (path, name), state.member(name))
        for name, value in other.items():
            if name not in one:
                self.absent(MISSING, value, (path, name), state.member(name), state.effect.subset)
        return True

    def absent(
        self, one: Value | Missing, other: Value | Missing, path: Path, state: Node, subset: str | None = None
    ) -> None:
        """Note what only one side has."""
        effect = state.effect
        rule = effect.ignore or subset
        if rule is None and effect.leaves:
            rule = next((leaf.label for leaf in effect.leaves if covers(leaf, one, other)), None)
        self._findings.body(path, Kind.REMOVED if isinstance(other, Missing) else Kind.ADDED, one, other, rule)

    def _array(self, one: list[Value], other: list[Value], path: Path, state: Node) -> bool:
        effect = state.effect
        if effect.schema:
            self._shapes(one, other, path, state, effect.schema)
            return True
        if len(one) == len(other) and not effect.some and self._in_place(one, other, path, state):
            return False
        aligner = self._aligner(one, other, state)
        rule: str | None = None
        if effect.key:
            key, rule = effect.key, effect.key.label
            aligned = by_key(one, other, lambda value: _identity(value, key), aligner)
        elif effect.unordered:
            rule = effect.unordered
            aligned = as_multiset(one, other, aligner)
        else:
            aligned = in_sequence(one, other, aligner)
        if aligned.moved:
            self._findings.body(path, Kind.ORDER, one, other, rule)
        length, length_other = len(one), len(other)
        for index, against in aligned.pairs:
            self._apart(one[index], other[against], (path, index), state.element(index, length))
        for index in aligned.removed:
            self.absent(one[index], MISSING, (path, index), state.element(index, length))
        for index in aligned.added:
            self.absent(MISSING, other[index], (path, index), state.element(index, length_other), effect.subset)
        return True

    def _in_place(self, one: list[Value], other: list[Value], path: Path, state: Node) -> bool:
        """Compare place by place where clearly nothing was moved or inserted; say whether that was so."""
        if self._strict:
            return False
        differing = _isolated(one, other, ruled=not state.barren)
        if not differing:
            return False
        for index in differing:
            value = one[index]
            if self.node(value, other[index], (path, index), state.element(index, len(one))):
                self._cuts.append((other, index, value))
        return True

    def _aligner(self, one: list[Value], other: list[Value], state: Node) -> Aligner:
        length, length_other = len(one), len(other)

        def fits(index: int, against: int) -> bool:
            return self._fits(one[index], other[against], state.element(index, length))

        if state.barren or (not state.by_index and state.element(0, 1).barren):
            return Aligner(self.equal, self._token, None, None, fits)
        return Aligner(
            self.equal,
            self._token,
            lambda index: exact_token(coarse(one[index], state.element(index, length))),
            lambda index: exact_token(coarse(other[index], state.element(index, length_other))),
            fits,
        )

    def _fits(self, one: Value, other: Value, state: Node) -> bool:
        """Whether two elements differ by nothing that counts, as long as trials last."""
        if self._trials <= 0:
            return True
        self._trials -= 1
        findings, self._findings = self._findings, Findings(_TRIAL)
        cuts, rest = len(self._cuts), len(self._rest_one)
        try:
            if not self.equal(one, other):
                self.node(one, other, None, state)
            return not self._findings.counted
        finally:
            self._findings = findings
            del self._cuts[cuts:], self._rest_one[rest:], self._rest_other[rest:]

    def _shapes(self, one: list[Value], other: list[Value], path: Path, state: Node, rule: str) -> None:
        """Compare arrays by the shapes of their elements alone; an empty array has every shape."""
        shapes, shapes_other = [shape(element) for element in one], [shape(element) for element in other]
        here, there = set(shapes), set(shapes_other)
        if here == there or not here or not there:
            self._findings.body(path, Kind.VALUE, one, other, rule)
            return
        length = len(one)
        for index, against in zip(
            [index for index, form in enumerate(shapes) if form not in there] or [0],
            [index for index, form in enumerate(shapes_other) if form not in here] or [0],
            strict=False,
        ):
            self._apart(one[index], other[against], (path, index), state.element(index, length))

    def _renamed(self, one: Value, other: Value, path: Path, rename: Rename) -> Value:
        """Return v2's value with what it calls by the new name under the old one, where v1 has it there."""
        before, after = _at(one, rename.old), _at(other, rename.new)
        if isinstance(before, Missing) or isinstance(after, Missing):
            return other
        if not isinstance(_at(other, rename.old), Missing) or not isinstance(_at(one, rename.new), Missing):
            return other
        gone, came = path, path
        for name in rename.old:
            gone = (gone, name)
        for name in rename.new:
            came = (came, name)
        self._findings.body(gone, Kind.REMOVED, before, MISSING, rename.label)
        self._findings.body(came, Kind.ADDED, MISSING, after, rename.label)
        return _with(_without(other, rename.new), rename.old, after)


def _at(value: Value, names: tuple[str, ...]) -> Value | Missing:
    for name in names:
        if type(value) is not dict or name not in value:
            return MISSING
        value = value[name]
    return value


def _place(cuts: list[_Cut]) -> list[_Cut]:
    """Put v1's value in each place that differs; return what puts v2's back."""
    undo: list[_Cut] = []
    for container, step, value in cuts:
        undo.append((container, step, container[step]))  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownArgumentType]
        container[step] = value  # pyright: ignore[reportArgumentType, reportCallIssue]
    undo.reverse()
    return undo


def _alike(one: Value, other: Value, dump: bytes = b"") -> bool:
    """Whether equal values are alike in kind: where members stand in one order, a dump need not sort."""
    if _in_one_order(one, other) and (dump or _dump(one)) == _dump(other):
        return True
    return _dump_sorted(one) == _dump_sorted(other)


def _in_one_order(one: Value, other: Value) -> bool:
    """Whether members seem to stand in the same order on both sides."""
    if isinstance(one, list) and isinstance(other, list) and one and other:
        one, other = one[0], other[0]
    return not isinstance(one, dict) or not isinstance(other, dict) or list(one) == list(other)


def _isolated(one: list[Value], other: list[Value], *, ruled: bool) -> list[int]:
    """Return the few places where arrays of one length differ, if clearly nothing was moved or inserted.

    That is so where no two of the places are neighbours, and either each has most members in common with its
    counterpart, or no differing element of one side stands in another of these places on the other side (which
    rules below could hide). Empty where it is not clear.
    """
    differing = list(compress(range(len(one)), map(ne, one, other)))
    if len(differing) == 1:
        return differing
    if not differing or len(differing) > _FEW:
        return []
    before = -2
    for index in differing:
        value = one[index]
        if index - before == 1 or (ruled and not _akin(value, other[index])):
            return []
        before = index
        for against in differing:
            if against != index and value == other[against]:
                return []
    return differing


def _akin(one: Value, other: Value) -> bool:
    """Whether two objects have the same members, and most with the same value."""
    if not isinstance(one, dict) or not isinstance(other, dict) or one.keys() != other.keys():
        return False
    return sum(map(ne, one.values(), map(other.__getitem__, one))) * 2 < len(one)


def _identity(value: Value, key: Key) -> Hashable | None:
    """Return what identifies an element; None for what has no such members."""
    found = [_at(value, names) for names in key.by]
    return (
        tuple(None if isinstance(part, Missing) else exact_token(part) for part in found)
        if any(not isinstance(part, Missing) for part in found)
        else None
    )


def _without(value: Value, names: tuple[str, ...]) -> Value:
    copy = dict(cast("dict[str, Value]", value))
    if len(names) == 1:
        del copy[names[0]]
    else:
        copy[names[0]] = _without(copy[names[0]], names[1:])
    return copy


def _with(value: Value, names: tuple[str, ...], placed: Value) -> Value:
    copy = dict(value) if isinstance(value, dict) else {}
    copy[names[0]] = placed if len(names) == 1 else _with(copy.get(names[0]), names[1:], placed)
    return copy
