"""Find where two values differ, and which rule covers each place.

In: two values, the automaton's state at the root, the findings to fill.
Holds: equal parts are left at C speed by `==`; since Python calls `1`, `1.0` and `True` equal, what was left is
proved alike in kind afterwards, and only where that fails the walk is done again with kinds checked at every step.
A rule covers differences and never makes any.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.arrays import Aligner, as_multiset, by_key, in_sequence
from shadowdiff.compare.finding import Findings
from shadowdiff.compare.leaves import covers
from shadowdiff.compare.limits import Limits
from shadowdiff.compare.members import identity, member_at, unlike, with_member, without
from shadowdiff.compare.proof import alike, alike_but, alike_sorted, is_settled, whole_alike_but
from shadowdiff.compare.tokens import coarse, dump_token, exact_token, shape
from shadowdiff.compare.values import MISSING, Missing, Value, kind_of, same
from shadowdiff.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from shadowdiff.compare.exact import Parsed
    from shadowdiff.compare.finding import Path
    from shadowdiff.compare.proof import Cut
    from shadowdiff.rules.automaton import State
    from shadowdiff.rules.compiled import Effect, Rename

    Node = State[Effect]

_TRIAL: Final = Limits(differences=1, covered=0, value_chars=16, path_chars=16)
_MAX_TRIALS: Final = 5000
_FEW: Final = 8
_VALUE: Final = Kind.VALUE
_TYPE: Final = Kind.TYPE
_LEAVES: Final = frozenset((str, int, float, bool, Decimal, type(None)))
FLOATS: Final = 1
DECIMALS: Final = 2
STRICT: Final = 3


class Walker:
    """One walk over two values, as the tier that parsed them allows.

    Tiers 1 and 2 have a writer that tells kinds apart where `==` does not; tier 3 checks kinds at every step.
    """

    __slots__ = (
        "_cuts",
        "_findings",
        "_left",
        "_rest",
        "_strict",
        "_token",
        "_trials",
    )

    def __init__(self, findings: Findings, tier: int) -> None:
        self._findings = findings
        self._strict = tier == STRICT
        self._token: Callable[[Value], Hashable] = dump_token if tier == FLOATS else exact_token
        self._trials = _MAX_TRIALS
        self._left: list[tuple[Value, Value]] = []
        self._rest: list[tuple[Value, Value]] = []
        self._cuts: list[Cut] = []

    def explain(self, parsed: Parsed, root: Node) -> bool:
        """Note where two values differ; return whether all that was left as equal is alike in kind too.

        Both values are as they were afterwards, unless all is proved.
        """
        one, other = parsed.primary, parsed.candidate
        if self._strict:
            if not same(one, other):
                self.node(one, other, None, root)
            return True
        if (type(one) is not dict or root.effect.some) and one == other:  # equal objects have no member to look into
            return is_settled(parsed) and alike_sorted(one, other)
        apart = self.node(one, other, None, root)
        if not (apart or self._left or self._rest):
            return whole_alike_but(self._cuts, parsed)
        if not is_settled(parsed):
            return False
        if not apart:
            self._rest.append((one, other))
        return self._proved()

    def _proved(self) -> bool:
        """Whether what was left as equal is alike in kind: whole values, then what stands around differences."""
        if self._left and not alike(*_sides(self._left)):
            return False
        return not self._rest or alike_but(self._cuts, *_sides(self._rest))

    def equal(self, one: Value, other: Value) -> bool:
        """Whether two values are equal; remembers what is yet to be proved."""
        if self._strict:
            return same(one, other)
        if one != other:
            return False
        self._left.append((one, other))
        return True

    def node(self, one: Value, other: Value, path: Path, state: Node) -> bool:
        """Note what differs at and below a place where something does.

        Returns: whether the place is to be left out of the proof, as nothing in it is left as equal, or what is
        was remembered by itself.
        """
        effect = state.effect
        if effect.some:
            if self._covered(one, other, path, effect):
                return True
            for rename in effect.renames:
                other = self._renamed(one, other, path, rename)
        if type(one) is not type(other):
            kind = _kind(one, other)
            self._findings.body(path, kind, one, other, effect.schema if kind is _VALUE else None)
            return True
        if type(one) is dict and type(other) is dict:
            apart = self._object(one, other, path, state)
        elif isinstance(one, list) and isinstance(other, list):
            apart = self._array(one, other, path, state)
        else:
            self._findings.body(path, _VALUE, one, other, effect.schema)
            return True
        if effect.renames and not apart:  # what stands in v2's tree has other names than what was compared
            self._rest.append((one, other))
            return True
        return apart

    def _apart(self, one: Value, other: Value, path: Path, state: Node) -> None:
        """Look into a place whose surroundings are not proved as a whole."""
        if not self.node(one, other, path, state):
            self._rest.append((one, other))

    def _covered(self, one: Value, other: Value, path: Path, effect: Effect) -> bool:
        rule = effect.ignore
        if rule is None:
            rule = next((leaf.label for leaf in effect.leaves if covers(leaf, one, other)), None)
        if rule is None:
            return False
        self._findings.body(path, _kind(one, other), one, other, rule)
        return True

    def _object(self, one: dict[str, Value], other: dict[str, Value], path: Path, state: Node) -> bool:
        if not self._strict and (names := unlike(one, other)) is not None:
            self._members(one, other, names, path, state)
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

    def _members(
        self, one: dict[str, Value], other: dict[str, Value], names: list[str], path: Path, state: Node
    ) -> None:
        """Look into the members of these names, which both sides have."""
        cuts = self._cuts
        for name in names:
            value = one[name]
            against = other[name]
            below = state.member(name)
            if below.effect.some:
                apart = self.node(value, against, (path, name), below)
            elif type(value) in _LEAVES and type(against) in _LEAVES:  # what `node` would do, a few calls saved
                kind = _VALUE if type(value) is type(against) else _kind(value, against)
                self._findings.body((path, name), kind, value, against, None)
                apart = True
            elif type(value) is list and type(against) is list:
                apart = self._array(value, against, (path, name), below)
            else:
                apart = self.node(value, against, (path, name), below)
            if apart:
                cuts.append((other, name, value))

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
            aligned = by_key(one, other, lambda value: identity(value, key), aligner)
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
        differing = list(compress(range(len(one)), map(ne, one, other)))
        if len(differing) == 1:
            index = differing[0]
            if self.node(one[index], other[index], (path, index), state.element(index, len(one))):
                self._cuts.append((other, index, one[index]))
            return True
        if not differing or len(differing) > _FEW:
            return False
        changes = _isolated(one, other, differing, ruled=not state.barren)
        if not changes:
            return False
        length = len(one)
        for index, names in zip(differing, changes):  # noqa: B905  # as long as each other, and the check costs
            below = state.element(index, length)
            if below.effect.some or names is None:
                if self.node(one[index], other[index], (path, index), below):
                    self._cuts.append((other, index, one[index]))
            else:
                self._members(one[index], other[index], names, (path, index), below)  # pyright: ignore[reportArgumentType]  # only of objects are names known
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
        cuts, rest = len(self._cuts), len(self._rest)
        try:
            if not self.equal(one, other):
                self.node(one, other, None, state)
            return not self._findings.counted
        finally:
            self._findings = findings
            del self._cuts[cuts:], self._rest[rest:]

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
        before, after = member_at(one, rename.old), member_at(other, rename.new)
        if isinstance(before, Missing) or isinstance(after, Missing):
            return other
        if not isinstance(member_at(other, rename.old), Missing) or not isinstance(member_at(one, rename.new), Missing):
            return other
        gone, came = path, path
        for name in rename.old:
            gone = (gone, name)
        for name in rename.new:
            came = (came, name)
        self._findings.body(gone, Kind.REMOVED, before, MISSING, rename.label)
        self._findings.body(came, Kind.ADDED, MISSING, after, rename.label)
        return with_member(without(other, rename.new), rename.old, after)


def _sides(pairs: list[tuple[Value, Value]]) -> tuple[list[Value], list[Value]]:
    return [one for one, _ in pairs], [other for _, other in pairs]


def _kind(one: Value, other: Value) -> Kind:
    return _VALUE if kind_of(one) == kind_of(other) else _TYPE


def _isolated(one: list[Value], other: list[Value], differing: list[int], *, ruled: bool) -> list[list[str] | None]:
    """Return of each place where arrays of one length differ the members that do; None where these are not known.

    Empty where it is not clear that nothing was moved or inserted. It is clear where no two of the places are
    neighbours, and no differing element of one side stands in another of these places on the other side, and (where
    rules below could hide that) each is an object that has most members in common with its counterpart.
    """
    changes: list[list[str] | None] = []
    before = -2
    for index in differing:
        if index - before == 1:
            return []
        before = index
        value = one[index]
        against = other[index]
        names = unlike(value, against) if type(value) is dict and type(against) is dict else None
        if ruled and not (names is not None and type(value) is dict and len(names) * 2 < len(value)):
            return []
        changes.append(names)
    for index in differing:
        value = one[index]
        for place in differing:
            if index != place and value == other[place]:
                return []
    return changes
