"""Match the elements of two unordered arrays so that rules cover their differences. The match is always exact.

Equal elements are paired first, then elements with neighboring values. Augmenting paths pair the rest: they exchange
partners until no further element can get one. Augmenting paths are needed because "near" is not transitive (1 is near
2, and 2 is near 3), so pairing equal elements first can leave other elements without a partner.
Source: H. Kuhn, The Hungarian method, 1955; N. Mendelsohn and A. Dulmage, 1958 (both sides at once).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from shadowdiff.compare.sequence import equal_pairs, grouped

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from shadowdiff.compare.sequence import Match
    from shadowdiff.compare.value_tokens import Tokens
    from shadowdiff.compare.work import Budget
    from shadowdiff.rules.compiled import Node
    from shadowdiff.rules.json_values import Value

_NEAREST: Final = 4
"""How many neighbors by value are tried on each side."""
_RANKED_MEMBERS: Final = 8
FREE: Final = -1


class Matching:
    """Partners of the elements of two sides, v1 (0) and v2 (1); `FREE` means that an element has no partner.

    partners: for each side, the index of each element's partner.
    """

    __slots__ = ("_budget", "partners")

    def __init__(self, length: int, length_other: int, budget: Budget) -> None:
        self._budget = budget
        self.partners = [FREE] * length, [FREE] * length_other

    def join(self, index: int, against: int) -> None:
        """Make two elements partners."""
        self.partners[0][index], self.partners[1][against] = against, index

    def join_equal(self, forms: Sequence[Hashable], forms_other: Sequence[Hashable]) -> None:
        """Pair free elements that have equal forms, in order."""
        free, free_other = self.free(), self.free(1)
        for index, against in equal_pairs([forms[at] for at in free], [forms_other[at] for at in free_other]):
            self.join(free[index], free_other[against])

    def free(self, side: int = 0) -> list[int]:
        """Return the elements of a side without a partner."""
        return [index for index, partner in enumerate(self.partners[side]) if partner == FREE]

    def pairs(self) -> list[Match]:
        """Return the partners, in v1's order."""
        return [(index, against) for index, against in enumerate(self.partners[0]) if against != FREE]

    def find_partner(
        self, start: int, candidates: Callable[[int], Iterable[int]], is_optional: Callable[[int], bool], side: int = 0
    ) -> bool:
        """Pair a free element of one side, so that every element that needs a partner still has one.

        Search breadth first for a path that ends at a free candidate, or at an element that may stay alone.
        """
        mine, theirs = self.partners[side], self.partners[1 - side]
        reached_from: dict[int, int] = {}
        queue = deque([start])
        while queue:
            here = queue.popleft()
            for candidate in candidates(here):
                self._budget.spend(1)
                if candidate in reached_from:
                    continue
                reached_from[candidate] = here
                owner = theirs[candidate]
                if owner != FREE and not is_optional(owner):
                    queue.append(owner)
                    continue
                if owner != FREE:
                    mine[owner] = FREE
                given = candidate
                while given != FREE:  # each element on the path exchanges its old partner for a new one
                    here = reached_from[given]
                    theirs[given] = here
                    mine[here], given = given, mine[here]
                return True
        return False


class Relation(Protocol):
    """Decides which elements fit. `Coverage` implements it."""

    tokens: Tokens
    budget: Budget

    def covers(self, one: Value, other: Value, state: Node) -> bool:
        """Whether rules cover every difference between two values."""
        ...

    def may_stay_alone(self, side: int, values: list[Value], at: int, state: Node) -> bool:
        """Whether a rule allows the other side to lack this element."""
        ...


def match_elements(coverage: Relation, one: list[Value], other: list[Value], state: Node) -> tuple[Matching, bool]:
    """Match elements in any order; return whether only covered differences are left.

    An incomplete matching has the partners that the search found before it failed.
    """
    matching = Matching(len(one), len(other), coverage.budget)
    tokens, tokens_other = list(map(coverage.tokens.exact, one)), list(map(coverage.tokens.exact, other))
    for index, (mine, theirs) in enumerate(zip(tokens, tokens_other, strict=False)):
        if mine == theirs:
            matching.join(index, index)
    matching.join_equal(tokens, tokens_other)
    rest, rest_other = matching.free(), matching.free(1)
    if not rest and not rest_other:
        return matching, True
    search = _Search(coverage, (one, other), state)
    if len(one) == len(other) and (decided := search.join_ranked(matching)) is not None:
        return matching, decided
    if rest and rest_other:
        search.join_fitting(matching, rest, rest_other)
    return matching, search.complete(matching)


_Rank = tuple[int, "float | Decimal", str]
_Ranked = tuple[int, tuple[_Rank, ...], int]
"""A coarse token, the order by value, and the index."""


class _Search:
    """Candidates for a matching: elements with equal coarse tokens whose differences rules cover."""

    __slots__ = ("_by_form", "_coverage", "_sides", "_state")

    def __init__(self, coverage: Relation, sides: tuple[list[Value], list[Value]], state: Node) -> None:
        self._coverage, self._sides, self._state = coverage, sides, state
        for values in sides:
            coverage.tokens.will_match(values)
        self._by_form = [
            grouped((self._form(side, at), at) for at in range(len(values))) for side, values in enumerate(sides)
        ]

    def _form(self, side: int, at: int) -> int:
        """Return the coarse token; 0 if a rule applies to a single index, because partners' indexes may differ."""
        if self._state.by_index:
            return 0
        return self._coverage.tokens.coarse(self._sides[side][at], self._state.element(0, 1))

    def _fits(self, index: int, against: int) -> bool:
        one, other = self._sides
        return self._coverage.covers(one[index], other[against], self._state.element(index, len(one)))

    def _candidates(self, side: int, at: int) -> Iterable[int]:
        """Yield the elements of the other side that fit an element of this side."""
        among = self._by_form[1 - side].get(self._form(side, at), ())
        return (each for each in among if (self._fits(each, at) if side else self._fits(at, each)))

    def complete(self, matching: Matching) -> bool:
        """Find a partner for each element that needs a partner; return whether all these elements have a partner."""
        for side in (0, 1):
            candidates, values = partial(self._candidates, side), self._sides[side]
            may_stay_alone = partial(self._coverage.may_stay_alone, side, values, state=self._state)
            for at in matching.free(side):
                if not may_stay_alone(at) and not matching.find_partner(at, candidates, may_stay_alone, side):
                    return False
        return True

    def join_ranked(self, matching: Matching) -> bool | None:
        """Pair both sides in order of value; return whether all are paired, None if this does not decide the match."""
        pairs: list[Match] = []
        ranked, ranked_other = (self._in_rank(side, range(len(values))) for side, values in enumerate(self._sides))
        for (form, _, index), (form_other, _, against) in zip(ranked, ranked_other, strict=True):
            if form != form_other or not self._fits(index, against):
                return False if self._rank_decides() else None
            pairs.append((index, against))
        for index, against in pairs:
            matching.join(index, against)
        return True

    def _rank_decides(self) -> bool:
        """Whether the ranked pairs decide the match: all elements are numbers, with only tolerance rules.

        The numbers near a number form an interval whose ends increase with it, so crossing pairs can be exchanged.
        """
        effect = self._state.element(0, 1).effect
        return (
            not (self._state.by_index or effect.ignore or effect.subset or effect.schema)
            and all(rule.is_interval for rule in effect.value_rules)
            and all(_is_number(value) for values in self._sides for value in values)
        )

    def join_fitting(self, matching: Matching, rest: list[int], rest_other: list[int]) -> None:
        """Pair elements that fit among their nearest neighbors in order of value."""
        waiting = self._in_rank(1, rest_other)
        for ranked in self._in_rank(0, rest):
            form, _, index = ranked
            at = bisect_left(waiting, ranked)
            nearest = range(max(0, at - _NEAREST), min(len(waiting), at + _NEAREST))
            for near in sorted(nearest, key=lambda place: abs(place - at)):
                if waiting[near][0] == form and self._fits(index, waiting[near][2]):
                    matching.join(index, waiting.pop(near)[2])
                    break

    def _in_rank(self, side: int, indexes: Iterable[int]) -> list[_Ranked]:
        ranked = sorted((self._form(side, index), _rank(self._sides[side][index]), index) for index in indexes)
        self._coverage.budget.spend(12 * len(ranked))
        return ranked


def _rank(value: Value) -> tuple[_Rank, ...]:
    """Return a sort key that places near values next to each other."""
    if isinstance(value, dict):
        return tuple(_rank_scalar(value[name]) for name in sorted(value)[:_RANKED_MEMBERS])
    return (_rank_scalar(value),)


def _rank_scalar(value: Value) -> _Rank:
    if _is_number(value):
        return 1, value, ""  # pyright: ignore[reportReturnType]
    return (2, 0, value) if type(value) is str else (0, 0, "")


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
