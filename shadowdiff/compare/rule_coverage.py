"""Decide whether rules cover every difference between two values.

The decision is exact: values are covered if some assignment of array elements (in order, or one to one if order does
not matter) leaves only differences that rules cover. Therefore adding a rule never uncovers a difference. Work is
charged to the budget of the comparison: a decision is exact, or ends the comparison as too complex.
"""

from __future__ import annotations

from itertools import chain, compress, product
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.documents import Documents
from shadowdiff.compare.renames import Reading, applies, crossing, in_names, joined, read
from shadowdiff.compare.unordered import match_elements
from shadowdiff.compare.value_rules import covering
from shadowdiff.compare.value_tokens import Tokens
from shadowdiff.rules.json_values import MISSING, Missing, Repeated, Value, kind_of, member_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.compare.sequence import Match
    from shadowdiff.compare.work import Budget
    from shadowdiff.rules.compiled import Key, Names, Node, Rename

PAIR_UNITS: Final = 20
"""The cost of a comparison of two containers, whose result is stored in memory."""
_STEP_UNITS: Final = 16
_COPIED_A_UNIT: Final = 32
"""Members of an object that are copied in one unit."""


class Coverage:
    """Decides which differences rules cover in one comparison, and caches the decisions."""

    __slots__ = ("_answers", "budget", "documents", "tokens")

    def __init__(self, budget: Budget, documents: Documents | None = None) -> None:
        self.budget = budget
        self.documents = documents or Documents(budget)
        self._answers: dict[tuple[int, int, int], tuple[bool, Value, Value, Node]] = {}
        self.tokens = Tokens(budget, self.documents)

    def covers(self, one: Value, other: Value, state: Node) -> bool:
        """Whether the values are equal, or rules cover every difference between them."""
        self.budget.spend(2)
        container = isinstance(one, (dict, list)) or isinstance(other, (dict, list))
        if not container and type(one) is type(other) and one == other:
            return True
        effect = state.effect
        if effect.ignore or (effect.value_rules and covering(effect.value_rules, one, other, self.budget)):
            return True
        if not container:
            by_schema = bool(effect.schema) and kind_of(one) == kind_of(other)
            return by_schema or (type(one) is str and type(other) is str and self._covers_documents(one, other, state))
        if type(one) is not type(other) and not effect.envelopes:
            return False
        exact = self.tokens.exact
        if exact(one) == exact(other):
            return True
        may_hold = self.tokens.may_hold_documents
        return (not state.barren or (may_hold(one) and may_hold(other))) and self._answer(one, other, state)

    def _covers_documents(self, one: str, other: str, state: Node) -> bool:
        both = self.documents.both(one, other)
        if both is None:
            return False
        with self.documents.inside():
            return self.covers(both[0].value, both[1].value, state.member(both[0].step))

    def _answer(self, one: Value, other: Value, state: Node) -> bool:
        key = (id(one), id(other), id(state))
        known = self._answers.get(key)
        if known is None:
            self.budget.spend(PAIR_UNITS)
            if state.effect.renames:
                covered = any(self._covers_reading(reading, state) for reading in self.readings(one, other, state))
            else:
                covered = self._covers_inside(one, other, state)
            covered = covered or (bool(state.effect.shape) and self.covers_by_shape(one, other, state))
            known = self._answers[key] = covered, one, other, state  # the values keep ids unique
        return known[0]

    def _covers_reading(self, reading: Reading, state: Node) -> bool:
        return all(
            self.covers(one, other, joined(state, rename)) for rename, one, other in reading.pairs
        ) and self._covers_inside(reading.one, reading.other, state)

    def _covers_inside(self, one: Value, other: Value, state: Node) -> bool:
        if isinstance(one, dict) and isinstance(other, dict):
            return self.members(one, other, state)
        if isinstance(one, Repeated) and isinstance(other, Repeated):
            return len(one) == len(other) and all(
                self.covers(value, against, state) for value, against in zip(one, other, strict=True)
            )
        if isinstance(one, list) and isinstance(other, list):
            return self.assignment(one, other, state) is not None
        return False

    def covers_by_shape(self, one: Value, other: Value, state: Node) -> bool:
        """Whether the `schema` rule at a place covers the other differences; `ShapeCoverage` decides."""
        raise NotImplementedError

    def absence(self, one: Value | Missing, other: Value | Missing, state: Node, subset: str | None) -> str | None:
        """Return the rule that covers a value that only one side has.

        subset: the rule that covers additions of v2 to the container.
        """
        rules = state.effect.value_rules
        return state.effect.ignore or subset or (covering(rules, one, other, self.budget) if rules else None)

    def may_stay_alone(self, side: int, values: list[Value], at: int, state: Node) -> bool:
        """Whether a rule allows v2 to lack an element of v1's array (side 0), or to add an element (side 1)."""
        below = state.element(at, len(values))
        if side:
            return self.absence(MISSING, values[at], below, state.effect.subset) is not None
        return self.absence(values[at], MISSING, below, None) is not None

    def members(self, one: dict[str, Value], other: dict[str, Value], state: Node) -> bool:
        """Whether rules cover every difference between two objects, if no member is renamed."""
        self.budget.spend(2 * (len(one) + len(other)))
        subset = state.effect.subset
        for name, value in one.items():
            against = other.get(name, MISSING)
            below = state.member(name)
            if isinstance(against, Missing):
                if not self.absence(value, MISSING, below, None):
                    return False
            elif value is not against and not self.covers(value, against, below):
                return False
        return bool(subset) or all(
            name in one or self.absence(MISSING, value, state.member(name), None) for name, value in other.items()
        )

    def reading(self, one: Value, other: Value, state: Node) -> Reading:
        """Return the reading whose differences rules cover, or else the most likely reading."""
        readings = self.readings(one, other, state)
        first, second = next(readings), next(readings, None)
        if second is None or self._covers_reading(first, state):
            return first
        return next((each for each in chain((second,), readings) if self._covers_reading(each, state)), first)

    def readings(self, one: Value, other: Value, state: Node) -> Iterator[Reading]:
        """Yield the readings of two values, most likely reading first.

        A reading may omit a rename that would create a difference, so a rename rule never uncovers a difference.
        """
        found = [each for rename in state.effect.renames for each in in_names(rename, one, other)]
        found = [rename for rename in found if applies(rename, one, other)]
        size = sum(len(value) for value in (one, other) if isinstance(value, (dict, list)))
        step = _STEP_UNITS + (1 + len(found)) * (1 + size // _COPIED_A_UNIT)
        for rename in found:
            if rename.is_envelope:
                self.budget.spend(step)
                yield read(one, other, (rename,))
        found = sorted(
            (each for each in found if not each.is_envelope), key=lambda each: (-len(each.old), -len(each.new))
        )
        if not found:
            yield Reading((), one, other)
            return
        shared = crossing([rename.old for rename in found]), crossing([rename.new for rename in found])
        choices = [self._choices(rename, shared, one, other, state) for rename in found]
        for chosen in product(*choices):
            self.budget.spend(step)
            yield read(one, other, compress(found, chosen))

    def _choices(
        self, rename: Rename, shared: tuple[set[Names], set[Names]], one: Value, other: Value, state: Node
    ) -> tuple[bool, ...]:
        """Return whether to use a rename; return both choices if another rename has a part of its paths."""
        old, new = rename.old, rename.new
        if old in shared[0] or new in shared[1]:
            return True, False
        before, after = member_at(one, old), member_at(other, new)
        if (
            isinstance(before, Missing)
            or isinstance(after, Missing)
            or self.covers(before, after, joined(state, rename))
        ):
            return (True,)
        above = state.joined(new[:-1], new[:-1])
        removed = self.absence(before, MISSING, state.joined(old, old), None)
        added = self.absence(MISSING, after, above.member(new[-1]), above.effect.subset)
        if not (removed and added):
            return (True,)
        return (False,) if len(old) == len(new) == 1 else (True, False)

    def has_same_key(self, one: Value, other: Value, key: Key, state: Node) -> bool:
        """Whether both elements have all members of a key, and rules cover the differences between these members."""
        for names in key.by:
            before, after = member_at(one, names), member_at(other, names)
            if isinstance(before, Missing) or isinstance(after, Missing):
                if before is not after:
                    return False
                continue
            below = state
            for name in names:
                below = below.member(name)
            if not self.covers(before, after, below):
                return False
        return True

    def assignment(self, one: list[Value], other: list[Value], state: Node) -> list[Match] | None:
        """Return index pairs in v1's order that leave only covered differences; None if that is impossible."""
        effect = state.effect
        if effect.unordered or effect.key:
            matching, complete = match_elements(self, one, other, state)
            return matching.pairs() if complete else None
        return self._in_order(one, other, state)

    def _in_order(self, one: list[Value], other: list[Value], state: Node) -> list[Match] | None:
        length, length_other = len(one), len(other)
        if length == length_other and all(
            self.covers(one[index], other[index], state.element(index, length)) for index in range(length)
        ):
            return [(index, index) for index in range(length)]
        subset = state.effect.subset
        if not subset and not state.by_index and not state.element(0, 1).effect.vanishes:
            return None
        self.budget.spend(length if subset else length + length_other)
        gaps = [self.may_stay_alone(0, one, index, state) for index in range(length)]
        gaps_other = [bool(subset) or self.may_stay_alone(1, other, index, state) for index in range(length_other)]
        if all(gaps_other) and not any(gaps):
            return self._embedded(one, other, state)
        return self._with_gaps(one, other, state, gaps, gaps_other)

    def _embedded(self, one: list[Value], other: list[Value], state: Node) -> list[Match] | None:
        """Pair each element of v1 with the first one that fits, in order. If this fails, all other choices fail."""
        pairs: list[Match] = []
        rest = iter(range(len(other)))
        for index, value in enumerate(one):
            below = state.element(index, len(one))
            against = next((at for at in rest if self.covers(value, other[at], below)), None)
            if against is None:
                return None
            pairs.append((index, against))
        return pairs

    def _with_gaps(
        self, one: list[Value], other: list[Value], state: Node, gaps: list[bool], gaps_other: list[bool]
    ) -> list[Match] | None:
        """Search for a path through both arrays that pairs elements or skips elements that may be missing."""
        length, length_other = len(one), len(other)
        width = length_other + 1
        came_by: dict[int, int] = {0: 0}  # the step that led to each place (index * width + against)
        stack = [0]
        while stack:
            place = stack.pop()
            index, against = divmod(place, width)
            if index == length and against == length_other:
                break
            self.budget.spend(_STEP_UNITS)
            steps: list[int] = []
            if index < length and gaps[index]:
                steps.append(width)
            if against < length_other and gaps_other[against]:
                steps.append(1)
            ahead = index < length and against < length_other and place + width + 1 not in came_by
            if ahead and self.covers(one[index], other[against], state.element(index, length)):
                steps.append(width + 1)
            for step in steps:
                if place + step not in came_by:
                    came_by[place + step] = step
                    stack.append(place + step)
        else:
            return None
        pairs: list[Match] = []
        while place:
            step = came_by[place]
            place -= step
            if step == width + 1:
                pairs.append(divmod(place, width))
        return pairs[::-1]
