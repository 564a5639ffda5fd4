"""Many paths as one automaton: a step costs the same whether ten rules hold or a thousand.

In: queries, each with what holds where it selects.  Out: states; a state knows what holds at its node and
leads to the states of the node's children.
Holds: a state is made when a document first needs it, and kept; past a bound on states they are made anew each
time, so memory is bounded whatever the queries. A position is (query, segments already matched).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from shadowdiff.rules.jsonpath import Index, Name, Query, Selector, Slice, Wildcard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_STATES: Final = 4096

Effect = TypeVar("Effect")
Position = tuple[int, int]
Positions = frozenset[Position]


class State(Generic[Effect]):
    """What holds at a node, and the way down from it.

    effect: made from the queries that select this node.
    barren: no query selects this node or any below, so nothing need be tracked.
    """

    __slots__ = ("_automaton", "_element", "_names", "_other", "_positions", "_told", "barren", "by_index", "effect")

    def __init__(self, automaton: Automaton[Effect], positions: Positions, effect: Effect) -> None:
        self._automaton = automaton
        self._positions = positions
        self._told = automaton.names(positions)
        self._names: dict[str, State[Effect]] = {}
        self._other: State[Effect] | None = None
        self._element: State[Effect] | None = None
        self.effect = effect
        self.barren = not positions
        self.by_index = automaton.tells_indexes(positions)

    def member(self, name: str) -> State[Effect]:
        """Return the state of the member of that name."""
        if name not in self._told:
            return self._other or self._rest()
        return self._names.get(name) or self._named(name)

    def element(self, index: int, length: int) -> State[Effect]:
        """Return the state of the element at `index` of an array of `length`."""
        if self.by_index:
            return self._automaton.step_index(self._positions, index, length)
        if self._element is None:
            self._element = self._automaton.step_index(self._positions, 0, 1)
        return self._element

    def _named(self, name: str) -> State[Effect]:
        state = self._automaton.step_name(self._positions, name)
        self._names[name] = state
        return state

    def _rest(self) -> State[Effect]:
        self._other = self._automaton.step_other(self._positions)
        return self._other


class Automaton(Generic[Effect]):
    """Queries compiled together.

    inherited: queries that hold for everything below what they select, as well as for that.
    effect: makes what a state carries from the indexes of the queries that hold there.
    """

    def __init__(
        self, queries: Sequence[Query], effect: Callable[[frozenset[int]], Effect], inherited: frozenset[int]
    ) -> None:
        self._queries = queries
        self._effect = effect
        self._inherited = inherited
        self._states: dict[Positions, State[Effect]] = {}
        self.root = self._state(frozenset((query, 0) for query in range(len(queries))))

    def _state(self, positions: Positions) -> State[Effect]:
        known = self._states.get(positions)
        if known is not None:
            return known
        selected = frozenset(query for query, at in positions if at == len(self._queries[query]))
        state = State(self, positions, self._effect(selected))
        if len(self._states) < MAX_STATES:
            self._states[positions] = state
        return state

    def _step(self, positions: Positions, selects: Callable[[Selector], bool]) -> State[Effect]:
        reached: set[Position] = set()
        for query, at in positions:
            segments = self._queries[query]
            if at == len(segments):
                if query in self._inherited:
                    reached.add((query, at))
                continue
            if segments[at].descendant:
                reached.add((query, at))
            if any(selects(selector) for selector in segments[at].selectors):
                reached.add((query, at + 1))
        return self._state(frozenset(reached))

    def step_name(self, positions: Positions, name: str) -> State[Effect]:
        """Return the state of a member that some query names."""
        return self._step(positions, lambda selector: isinstance(selector, Wildcard) or selector == Name(name))

    def step_other(self, positions: Positions) -> State[Effect]:
        """Return the state of a member that no query names."""
        return self._step(positions, lambda selector: isinstance(selector, Wildcard))

    def step_index(self, positions: Positions, index: int, length: int) -> State[Effect]:
        """Return the state of an array's element."""

        def selects(selector: Selector) -> bool:
            if isinstance(selector, (Index, Slice)):
                return selector.selects(index, length)
            return isinstance(selector, Wildcard)

        return self._step(positions, selects)

    def _waiting(self, positions: Positions) -> list[Selector]:
        return [
            selector
            for query, at in positions
            if at < len(self._queries[query])
            for selector in self._queries[query][at].selectors
        ]

    def names(self, positions: Positions) -> frozenset[str]:
        """Return the member names that some query tells apart from here."""
        return frozenset(selector.name for selector in self._waiting(positions) if isinstance(selector, Name))

    def tells_indexes(self, positions: Positions) -> bool:
        """Whether some query tells elements apart by index from here."""
        return any(isinstance(selector, (Index, Slice)) for selector in self._waiting(positions))
