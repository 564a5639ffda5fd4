"""Walk through two values, and note where they differ and which rule covers each place.

`==` compares equal parts at C speed. Python treats `1`, `1.0` and `True` as equal, so skipped parts must afterwards be
proved to have equal types. If the proof fails, the walk runs again and checks types at every step. A rule covers
differences and never creates a difference.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.alignment import Alignments
from shadowdiff.compare.arrays import Aligner
from shadowdiff.compare.documents import STARTS
from shadowdiff.compare.excerpt import from_change
from shadowdiff.compare.renames import joined
from shadowdiff.compare.type_proof import alike, alike_but, alike_sorted, is_settled, whole_alike_but
from shadowdiff.compare.value_rules import covering
from shadowdiff.compare.value_tokens import dump_token, exact_token
from shadowdiff.model import Kind
from shadowdiff.rules.builtin import SAME_DOCUMENT
from shadowdiff.rules.json_values import MISSING, Missing, Repeated, Value, kind_of, same, unlike

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from shadowdiff.compare.arrays import Aligned
    from shadowdiff.compare.documents import Documents
    from shadowdiff.compare.finding import Findings, Path
    from shadowdiff.compare.shapes import Clash
    from shadowdiff.compare.type_proof import Cut, Parsed
    from shadowdiff.rules.compiled import Node

_VALUE: Final = Kind.VALUE
_LEAVES: Final = frozenset((str, int, float, bool, Decimal, type(None)))
FLOATS: Final = 1
DECIMALS: Final = 2
STRICT: Final = 3


class Walker:
    """One walk through two values that one parsing tier read.

    Tiers 1 and 2 have a JSON writer that distinguishes types; for tier 3 the walk checks types at every step.
    """

    __slots__ = ("_arrays", "_by_shape", "_cuts", "_findings", "_left", "_rest", "_strict", "_token")

    def __init__(self, findings: Findings, tier: int, documents: Documents | None = None) -> None:
        self._findings = findings
        self._strict = tier == STRICT
        self._token: Callable[[Value], Hashable] = dump_token if tier == FLOATS else exact_token
        self._arrays: Final = Alignments(findings.budget, documents)
        self._by_shape = 0
        self._left: list[tuple[Value, Value]] = []
        self._rest: list[tuple[Value, Value]] = []
        self._cuts: list[Cut] = []

    def explain(self, parsed: Parsed, root: Node) -> bool:
        """Note where two values differ; return whether it is proved that all skipped parts have equal types.

        Otherwise both values are unchanged.
        """
        one, other = parsed.primary, parsed.candidate
        if self._strict:
            if not same(one, other):
                self.node(one, other, None, root)
            return True
        if (type(one) is not dict or root.effect.some) and one == other:  # equal objects have no differing member
            return is_settled(parsed) and alike_sorted(one, other)
        apart = self.node(one, other, None, root)
        if not (apart or self._left or self._rest):
            return whole_alike_but(self._cuts, parsed)
        if not is_settled(parsed):
            return False
        if not apart:
            self._rest.append((one, other))
        # Prove that skipped parts have equal types: first whole values, then the parts around differences.
        if self._left and not alike(*_sides(self._left)):
            return False
        return not self._rest or alike_but(self._cuts, *_sides(self._rest))

    def equal(self, one: Value, other: Value) -> bool:
        """Whether two values are equal; records what must still be proved."""
        if self._strict:
            return same(one, other)
        if one != other:
            return False
        self._left.append((one, other))
        return True

    def node(self, one: Value, other: Value, path: Path, state: Node) -> bool:
        """Note what differs at and below a place where something differs.

        Returns: whether the proof skips this place, because the walk skipped no part of the place, or recorded the
        skipped parts separately.
        """
        effect = state.effect
        if effect.some:
            rules = effect.value_rules
            rule = effect.ignore or (covering(rules, one, other, self._findings.budget) if rules else None)
            if rule is not None:
                self._findings.note_value(path, _kind(one, other), one, other, rule)
                return True
            if effect.shape and type(one) is type(other) and isinstance(one, (dict, list)):
                return self._shaped(one, other, path, state, effect.shape)
            if effect.renames:
                return self._renamed(one, other, path, state)
        return self._inside(one, other, path, state)

    def _inside(self, one: Value, other: Value, path: Path, state: Node) -> bool:
        effect = state.effect
        if type(one) is not type(other):
            kind = _kind(one, other)
            self._findings.note_value(path, kind, one, other, effect.schema if kind is _VALUE else None)
            return True
        if type(one) is dict and type(other) is dict:
            apart = self._object(one, other, path, state)
        elif type(one) is list and type(other) is list:
            apart = self._array(one, other, path, state)
        elif isinstance(one, Repeated) and isinstance(other, Repeated) and len(one) == len(other):
            for index, (value, against) in enumerate(zip(one, other, strict=True)):
                if not self.equal(value, against):
                    self._apart(value, against, (path, index), state)
            apart = True
        else:
            if type(one) is str and type(other) is str:
                if not effect.schema and self._documents(one, other, path, state):
                    return True
                if effect.value_rules and self._findings.cuts(one, other):
                    one, other = from_change(one, other, effect.value_rules, self._findings.budget)
            rule = None if isinstance(one, Repeated) else effect.schema
            self._findings.note_value(path, _VALUE, one, other, rule)
            return True
        return apart

    def _documents(self, one: str, other: str, path: Path, state: Node) -> bool:
        """Note where the documents differ that two strings hold; return False if they hold none."""
        documents = self._arrays.documents
        both = documents.both(one, other)
        if both is None:
            return False
        document, against = both
        if same(document.value, against.value):
            rule = SAME_DOCUMENT.label if self._findings.limits.uses(SAME_DOCUMENT) else None
            self._findings.note_value(path, _VALUE, one, other, rule)
            return True
        with documents.inside():
            below = state.member(document.step)
            Walker(self._findings, STRICT, documents).node(document.value, against.value, (path, document.step), below)
        return True

    def _apart(self, one: Value, other: Value, path: Path, state: Node) -> None:
        """Note the differences at a place if its surroundings are not proved as a whole."""
        if not self.node(one, other, path, state):
            self._rest.append((one, other))

    def _object(self, one: dict[str, Value], other: dict[str, Value], path: Path, state: Node) -> bool:
        if not self._strict and (names := unlike(one, other)) is not None:
            self._members(one, other, names, path, state)
            return False
        self._findings.budget.spend(len(one) + len(other))
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
        self._findings.budget.spend(2 * len(names))
        cuts = self._cuts
        for name in names:
            value = one[name]
            against = other[name]
            below = state.member(name)
            # A string may hold a document if it begins like JSON, or if it looks like a form.
            if below.effect.some or (type(value) is str and (value[:1] in STARTS or "&" in value)):
                apart = self.node(value, against, (path, name), below)
            elif type(value) in _LEAVES and type(against) in _LEAVES:  # as in `node`, with fewer calls
                kind = _VALUE if type(value) is type(against) else _kind(value, against)
                self._findings.note_value((path, name), kind, value, against, None)
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
        """Note a value that only one side has."""
        rule = self._arrays.coverage.absence(one, other, state, subset)
        self._findings.note_value(path, Kind.REMOVED if isinstance(other, Missing) else Kind.ADDED, one, other, rule)

    def _array(self, one: list[Value], other: list[Value], path: Path, state: Node) -> bool:
        self._findings.budget.spend(len(one) + len(other))
        if len(one) == len(other) and not self._strict and not state.effect.some:
            changes = self._arrays.changed_in_place(one, other, state)
            for index, names in changes or ():
                below = state.element(index, len(one))
                if below.effect.some or names is None:
                    if self.node(one[index], other[index], (path, index), below):
                        self._cuts.append((other, index, one[index]))
                else:
                    self._members(one[index], other[index], names, (path, index), below)  # pyright: ignore[reportArgumentType]  # only objects have names
            if changes is not None:
                return False
        aligner = Aligner(self.equal, self._token, self._findings.budget)
        aligned = self._arrays.align(one, other, state, aligner)
        if aligned is not None:
            self._aligned(aligned, one, other, path, state)
        elif clash := self._arrays.coverage.shape_clash(one, other, path, state):
            self._note_clash(clash)
        else:
            self._by_shape += 1
            self._findings.note_value(path, _VALUE, one, other, state.effect.schema)
        return True

    def _aligned(self, aligned: Aligned, one: list[Value], other: list[Value], path: Path, state: Node) -> None:
        effect = state.effect
        if aligned.moved:
            rule = effect.key.label if effect.key else effect.unordered
            self._findings.note_value(path, Kind.ORDER, one, other, rule)
        length, length_other = len(one), len(other)
        for index, against in aligned.pairs:
            self._apart(one[index], other[against], (path, index), state.element(index, length))
        for index in aligned.removed:
            self.absent(one[index], MISSING, (path, index), state.element(index, length))
        for index in aligned.added:
            self.absent(MISSING, other[index], (path, index), state.element(index, length_other), effect.subset)

    def _shaped(self, one: Value, other: Value, path: Path, state: Node, rule: str) -> bool:
        """Note the differences at the place of a `schema` rule, where the shapes of the whole value decide."""
        findings = self._findings
        mark, cuts, rest, by_shape = findings.mark(), len(self._cuts), len(self._rest), self._by_shape
        apart = (self._renamed if state.effect.renames else self._inside)(one, other, path, state)
        counted = findings.counts_since(mark)
        if not counted and self._by_shape == by_shape:
            return apart
        clash = self._arrays.coverage.shape_clash(one, other, path, state)
        self._by_shape = by_shape  # the rule at this place has priority over a rule above
        if counted and clash is None:
            findings.rewind(mark)
            del self._cuts[cuts:], self._rest[rest:]
            findings.note_value(path, _VALUE, one, other, rule)
            return True
        if clash is not None and not counted:
            self._note_clash(clash)
        return apart

    def _note_clash(self, clash: Clash) -> None:
        """Note where shapes differ: inside both values if both are objects or arrays."""
        path, before, after, state = clash
        if isinstance(before, Missing) or isinstance(after, Missing):
            self._findings.note_value(
                path, Kind.REMOVED if isinstance(after, Missing) else Kind.ADDED, before, after, None
            )
            return
        mark = self._findings.mark()
        if type(before) is type(after) and isinstance(before, (dict, list)):
            self._apart(before, after, path, state)
        if not self._findings.counts_since(mark):
            self._findings.note_value(path, _kind(before, after), before, after, None)

    def _renamed(self, one: Value, other: Value, path: Path, state: Node) -> bool:
        """Note the renames that are used, and what differs in the renamed values and in the rest."""
        reading = self._arrays.coverage.reading(one, other, state)
        for rename, before, after in reading.pairs:
            gone, came = path, path
            for name in rename.old:
                gone = (gone, name)
            for name in rename.new:
                came = (came, name)
            if rename.old:
                self._findings.note_value(gone, Kind.REMOVED, before, MISSING, rename.label)
            if rename.new:
                self._findings.note_value(came, Kind.ADDED, MISSING, after, rename.label)
            if not self.equal(before, after):
                self._apart(before, after, gone, joined(state, rename))
        if not reading.pairs:
            return self._inside(one, other, path, state)
        if not self._inside(reading.one, reading.other, path, state):
            self._rest.append((reading.one, reading.other))
        return True


def _sides(pairs: list[tuple[Value, Value]]) -> tuple[list[Value], list[Value]]:
    return [one for one, _ in pairs], [other for _, other in pairs]


def _kind(one: Value, other: Value) -> Kind:
    return _VALUE if kind_of(one) == kind_of(other) else Kind.TYPE
