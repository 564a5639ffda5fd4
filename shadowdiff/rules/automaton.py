"""Many paths as one automaton: a step costs the same whether ten rules hold or a thousand.

In: queries, each with what holds where it selects.  Out: states; a state knows what holds at its node and
leads to the states of the node's children.
Holds: a state is made when a document first needs it, and kept; past a bound on states they are made anew each
time, so memory is bounded whatever the queries. A position is (query, segments already matched).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from shadowdiff.rules.jsonpath import Index, Name, Query, Slice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_STATES: Final = 4096

Effect = TypeVar("Effect")
Position = tuple[int, int]


class _Ways(msgspec.Struct, frozen=True):
    """Where one step leads from a set of positions.

    always: whatever the child is called.  names: beside that, for members of a name.  indexed: for some elements.
    """

    always: frozenset[Position]
    names: dict[str, set[Position]]
    indexed: tuple[tuple[Index | Slice, Position], ...]


class State(Generic[Effect]):
    """What holds at a node, and the way down from it.

    effect: made from the queries that select this node.
    barren: no query selects this node or any below, so nothing need be tracked.
    by_index: whether some query tells elements apart by index from here.
    """

    __slots__ = ("_automaton", "_named", "_rest", "_ways", "barren", "by_index", "effect")

    def __init__(self, automaton: Automaton[Effect], ways: _Ways, effect: Effect, *, barren: bool) -> None:
        self._automaton = automaton
        self._ways = ways
        self._named: dict[str, State[Effect]] = {}
        self._rest: State[Effect] | None = None
        self.effect = effect
        self.barren = barren
        self.by_index = bool(ways.indexed)

    def member(self, name: str) -> State[Effect]:
        """Return the state of the member of that name."""
        if name not in self._ways.names:
            return self._rest or self._other()
        return self._named.get(name) or self._name(name)

    def element(self, index: int, length: int) -> State[Effect]:
        """Return the state of the element at `index` of an array of `length`."""
        if not self.by_index:
            return self._rest or self._other()
        chosen = {position for selector, position in self._ways.indexed if selector.selects(index, length)}
        return self._automaton.state(self._ways.always | chosen)

    def _name(self, name: str) -> State[Effect]:
        state = self._automaton.state(self._ways.always | self._ways.names[name])
        self._named[name] = state
        return state

    def _other(self) -> State[Effect]:
        self._rest = self._automaton.state(self._ways.always)
        return self._rest


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
        self._states: dict[frozenset[Position], State[Effect]] = {}
        self.root = self.state(frozenset((query, 0) for query in range(len(queries))))

    def state(self, positions: frozenset[Position]) -> State[Effect]:
        """Return the state of a set of positions, the one made before if there is one."""
        known = self._states.get(positions)
        if known is not None:
            return known
        selected = frozenset(query for query, at in positions if at == len(self._queries[query]))
        state = State(self, self._ways(positions), self._effect(selected), barren=not positions)
        if len(self._states) < MAX_STATES:
            self._states[positions] = state
        return state

    def _ways(self, positions: frozenset[Position]) -> _Ways:
        always: set[Position] = set()
        names: dict[str, set[Position]] = {}
        indexed: list[tuple[Index | Slice, Position]] = []
        for query, at in positions:
            segments = self._queries[query]
            if at == len(segments):
                if query in self._inherited:
                    always.add((query, at))
                continue
            if segments[at].descendant:
                always.add((query, at))
            onward = (query, at + 1)
            for selector in segments[at].selectors:
                if isinstance(selector, Name):
                    names.setdefault(selector.name, set()).add(onward)
                elif isinstance(selector, (Index, Slice)):
                    indexed.append((selector, onward))
                else:
                    always.add(onward)
        return _Ways(frozenset(always), names, tuple(indexed))
