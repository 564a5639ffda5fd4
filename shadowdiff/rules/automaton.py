"""Match many paths with one automaton. The cost of a step does not depend on the number of rules.

A position is one segment of one query. A set of positions is an integer with one bit for each position. States are
built when a document first needs them. States are kept until they fill `STATES_BYTES`; after that, new states are built
each time. A state is charged to `Meter.spend` when a comparison first enters it, even if another comparison built it.
So equal comparisons have equal costs, and memory and work are limited for all queries and documents.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from shadowdiff.rules.jsonpath import Index, Name, Query, Selector, Slice, Wildcard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_POSITIONS: Final = 131_072
"""Maximum number of segments in all paths of a target's rules. Larger rule sets are not compiled or checked."""
STATES_BYTES: Final = 16 << 20
"""Maximum memory of all states of one automaton."""
BITS_A_UNIT: Final = 4096
"""Number of positions that cost one unit of the work budget."""
_STATE_BYTES: Final = 500
_EDGE_BYTES: Final = 110
_RULE_BYTES: Final = 40
_DENSE: Final = 256
"""A selector has its own mask only if at least one in this many positions has it. This limits the masks' memory."""

Effect = TypeVar("Effect")


class Positions:
    """The positions of all queries, with their selectors.

    starts: each query's first position.  ends: the position after each query's last segment.
    selectors: the positions of each selector.  descendant: the set of positions with a descendant segment.
    """

    def __init__(self, queries: Sequence[Query]) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.selectors: dict[Selector, list[int]] = {}
        descendant: list[int] = []
        at = 0
        for query in queries:
            self.starts.append(at)
            for segment in query:
                if segment.descendant:
                    descendant.append(at)
                for selector in segment.selectors:
                    self.selectors.setdefault(selector, []).append(at)
                at += 1
            self.ends.append(at)
            at += 1
        self.size = at
        self.descendant = self.mask(descendant)
        self._dense = {
            one: self.mask(positions) for one, positions in self.selectors.items() if len(positions) * _DENSE >= at
        }

    def mask(self, positions: Iterable[int]) -> int:
        """Return these positions as a set of bits."""
        flags = bytearray(self.size // 8 + 1)
        for at in positions:
            flags[at >> 3] |= 1 << (at & 7)
        return int.from_bytes(flags, "little")

    def having(self, selector: Selector) -> int:
        """Return the set of positions that have a selector."""
        mask = self._dense.get(selector)
        return self.mask(self.selectors.get(selector, ())) if mask is None else mask


def bits(mask: int) -> list[int]:
    """Return the positions that a set of bits contains."""
    return [found.start() for found in re.finditer("1", f"{mask:b}"[::-1])]


def _free(_units: int) -> None:
    """Charge nothing."""


class Meter:
    """Charges the work of an automaton. spend: receives the units of work; raises an error to stop the work."""

    __slots__ = ("spend", "turn")

    def __init__(self) -> None:
        self.spend: Callable[[int], None] = _free
        self.turn = 0

    def charge(self, spend: Callable[[int], None]) -> None:
        """Start charging a comparison. Each state is charged once."""
        self.spend = spend
        self.turn += 1

    def free(self) -> None:
        """Stop charging."""
        self.spend = _free


class State(Generic[Effect]):
    """The effect of the queries at a node, and the states of the node's children.

    effect: made from the queries that select this node.  by_index: whether a query selects a child by index.
    barren: whether no query selects this node or a node below it.
    """

    __slots__ = (
        "_always", "_automaton", "_indexed", "_meter", "_named", "_names", "_positions", "_rest", "barren", "by_index",
        "effect", "is_kept", "turn", "units",
    )  # fmt: skip

    def __init__(
        self, automaton: Automaton[Effect], positions: int, effect: Effect, units: int, *, is_kept: bool
    ) -> None:
        self._automaton = automaton
        self._meter = automaton.meter
        self.turn = 0
        self._positions = positions
        self._always = (positions & automaton.stay) | (positions & automaton.wild) << 1
        self._names = automaton.names
        self._named: dict[str, State[Effect]] = {}
        self._rest: State[Effect] | None = None
        self._indexed: tuple[tuple[Index | Slice, int], ...] | None = None
        self.effect = effect
        self.barren = not positions
        self.by_index = bool(positions & automaton.by_index)
        self.is_kept = is_kept
        self.units = units

    def member(self, name: str) -> State[Effect]:
        """Return the state for the member with this name."""
        if name in self._names:  # noqa: SIM108 - one line with two conditions and two `or` is hard to read
            state = self._named.get(name) or self._name(name)
        else:
            state = self._rest or self._other()
        if state.turn != self._meter.turn:
            state.enter()
        return state

    def element(self, index: int, length: int) -> State[Effect]:
        """Return the state for the element at `index` of an array of `length`."""
        if self.by_index:
            automaton = self._automaton
            indexed = self._indexed or self._look_up_indexed()
            automaton.charge_step(len(indexed))
            chosen = self._always
            for selector, onward in indexed:
                if selector.selects(index, length):
                    chosen |= 1 << onward
            state = automaton.state(chosen)
        else:
            state = self._rest or self._other()
        if state.turn != self._meter.turn:
            state.enter()
        return state

    def joined(self, one: Sequence[str], other: Sequence[str], but: Sequence[int] = ()) -> State[Effect]:
        """Return the state of a value that has two paths of names from here: the queries of both paths select it.

        but: queries that do not select the value.
        """
        automaton = self._automaton
        automaton.charge_step(len(one) + len(other))
        positions = automaton.reach(self._positions, one) | automaton.reach(self._positions, other)
        for query in but:
            positions &= ~(1 << automaton.at.ends[query])
        state = automaton.state(positions)
        if state.turn != self._meter.turn:
            state.enter()
        return state

    def enter(self) -> None:
        """Charge this state to the current comparison."""
        self.turn = self._meter.turn
        self._meter.spend(self.units)

    def _look_up_indexed(self) -> tuple[tuple[Index | Slice, int], ...]:
        automaton = self._automaton
        here = bits(self._positions & automaton.by_index)
        found = tuple((selector, at + 1) for at in here for selector in automaton.indexes[at])
        if self.is_kept and automaton.has_room(_EDGE_BYTES * len(found)):
            self._indexed = found
        return found

    def _name(self, name: str) -> State[Effect]:
        automaton = self._automaton
        if not self.is_kept:
            automaton.charge_step(0)
        state = automaton.state(automaton.reach(self._positions, (name,)))
        if self.is_kept and state.is_kept and automaton.has_room(_EDGE_BYTES):
            self._named[name] = state
        return state

    def _other(self) -> State[Effect]:
        if not self.is_kept:
            self._automaton.charge_step(0)
        state = self._automaton.state(self._always)
        if state.is_kept:
            self._rest = state
        return state


class Automaton(Generic[Effect]):
    """Queries compiled together.

    effect: makes a state's effect from the indexes of the queries that select its node.  inherited: queries that also
    apply to everything below the selected nodes.  meter: charges the work.  at: the positions of the queries.
    names: all names in selectors. stay: positions that remain in the set for every child. wild: positions that advance
    for every child. by_index: positions with an index or a slice. indexes: these indexes and slices.
    """

    def __init__(
        self,
        queries: Sequence[Query],
        effect: Callable[[frozenset[int]], Effect],
        inherited: frozenset[int],
        meter: Meter | None = None,
    ) -> None:
        self._effect = effect
        self.meter = meter or Meter()
        self._states: dict[int, State[Effect]] = {}
        self._effects: dict[int, Effect] = {}
        self._bytes = 0
        at = self.at = Positions(queries)
        self._query_of = {end: number for number, end in enumerate(at.ends)}
        self.names = frozenset(one.name for one in at.selectors if isinstance(one, Name))
        self.indexes: dict[int, list[Index | Slice]] = {}
        for selector, positions in at.selectors.items():
            if isinstance(selector, (Index, Slice)):
                for place in positions:
                    self.indexes.setdefault(place, []).append(selector)
        self._step_units = 1 + at.size // BITS_A_UNIT
        self.stay, self.wild = at.descendant | at.mask(at.ends[number] for number in inherited), at.having(Wildcard())
        self._ends, self.by_index = at.mask(at.ends), at.mask(self.indexes)
        self.root = self.start(range(len(queries)))

    def start(self, queries: Iterable[int]) -> State[Effect]:
        """Return the root's state if only these queries apply."""
        return self.state(self.at.mask(self.at.starts[query] for query in queries))

    def state(self, positions: int) -> State[Effect]:
        """Return the automaton's state for a set of positions."""
        known = self._states.get(positions)
        if known is not None:
            return known
        selected = positions & self._ends
        effect = self._effect_of(selected)
        units = 2 + 3 * self._step_units + selected.bit_count()
        is_kept = self.has_room(_STATE_BYTES + 2 * (positions.bit_length() // 8))
        state = State(self, positions, effect, units, is_kept=is_kept)
        if is_kept:
            self._states[positions] = state
        return state

    def reach(self, positions: int, names: Iterable[str]) -> int:
        """Return the set of positions at the end of a path of names from these positions."""
        for name in names:
            positions = (
                (positions & self.stay) | (positions & self.wild) << 1 | (positions & self.at.having(Name(name))) << 1
            )
        return positions

    def _effect_of(self, selected: int) -> Effect:
        known = self._effects.get(selected)
        if known is not None:
            return known
        queries = frozenset(self._query_of[at] for at in bits(selected))
        made = self._effect(queries)
        if self.has_room(_STATE_BYTES + selected.bit_length() // 8 + _RULE_BYTES * len(queries)):
            self._effects[selected] = made
        return made

    def has_room(self, size_bytes: int) -> bool:
        """Return whether there is memory for this size, and reserve it."""
        if self._bytes + size_bytes > STATES_BYTES:
            return False
        self._bytes += size_bytes
        return True

    def charge_step(self, more: int) -> None:
        """Charge one step between states, and `more` units for the search that the step needs."""
        self.meter.spend(self._step_units + more)
