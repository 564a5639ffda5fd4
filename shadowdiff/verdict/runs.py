"""Manage the runs of every target, for one process.

`Runs` reads the store every second, and immediately when a response has an unknown revision. It starts runs that are
due, and counts pairs in the current run. Therefore a pair near the start of a run may count in the previous run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.store import STORE_ERRORS, describe_error, reading
from shadowdiff.verdict.counts import CAPS, CountCaps
from shadowdiff.verdict.ledger_growth import flat
from shadowdiff.verdict.noise_gate import Noise
from shadowdiff.verdict.noise_set import Learned, NoiseState, NoiseStore, Source, extended
from shadowdiff.verdict.run import NewRun, Run, RunInputs, RunState, StartedBy, due, due_for_rollout
from shadowdiff.verdict.run_counter import RunCounter
from shadowdiff.verdict.run_store import RunStore, counts_key
from shadowdiff.verdict.triples import read_cells, read_triples

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from shadowdiff.model import Comparison, Pair, Write
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
EXTEND_EVERY_MS: Final = 10_000
"""How often a process checks whether a run has shown more noise of v1."""


class Runs:
    """The runs of every target, for one process. Coroutine methods can raise redis.exceptions.RedisError."""

    def __init__(
        self,
        store: Store,
        inputs: Callable[[], Sequence[RunInputs]],
        ledger: Callable[[str], Awaitable[Mapping[str, Any]]],
        caps: CountCaps = CAPS,
    ) -> None:
        self._caps = caps
        self._store = RunStore(store, caps.names)
        self._counts_of = store.counts_of
        self._noise = NoiseStore(store)
        self._inputs = inputs
        self._ledger = ledger
        self._counters: dict[str, RunCounter] = {}
        self._woken = asyncio.Event()
        self.ready = asyncio.Event()
        """Set once every target has a run: a pair that is compared earlier would count in none."""

    def writes(self, pair: Pair, comparison: Comparison, _at_ms: int) -> tuple[Write, ...]:
        """Return the writes that count one pair; this is a stage of the worker."""
        counter = self._counters.get(pair.target)
        return counter.writes(pair, comparison) if counter else ()

    def counted(self, pair: Pair) -> tuple[int, str] | None:
        """Return the id of the run in which a pair counts and v2's revision ("" if unknown); None without a run."""
        counter = self._counters.get(pair.target)
        return counter.counted(pair) if counter else None

    def triple_writes(self, pair: Pair, raw: Comparison, noise: Comparison) -> tuple[Write, ...]:
        """Return the writes of a pair that has a control."""
        counter = self._counters.get(pair.target)
        return counter.triple_writes(pair, raw, noise) if counter else ()

    async def run(self) -> None:
        """Refresh the runs every second, or when a response has an unknown revision, until cancelled."""
        while True:
            try:
                await self.refresh()
                self.ready.set()
            except STORE_ERRORS as error:
                log.warning("store unavailable; will retry updating runs", extra={"error": describe_error(error)})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), EVERY_S)
                await asyncio.sleep(EVERY_S / 20)  # many new revisions at once cause one refresh
            self._woken.clear()

    def reload(self) -> None:
        """Use the new configuration, and refresh immediately."""
        for one in self._inputs():
            if one.target in self._counters:
                self._counters[one.target].take_inputs(one)
        self._woken.set()

    async def refresh(self) -> None:
        """Read every target's state once, and start the runs that are due."""
        inputs = {one.target: one for one in self._inputs()}
        for gone in self._counters.keys() - inputs.keys():
            del self._counters[gone]
        for name, one in inputs.items():
            counter = self._counters.setdefault(name, RunCounter(one, self._woken.set, self._caps))
            counter.take_inputs(one)
            await self._refresh(counter)

    async def _refresh(self, counter: RunCounter) -> None:
        target, rules = counter.inputs.target, counter.inputs.rules
        revisions, routes = list(counter.revisions), list(counter.routes)
        state = await self._store.read(target, counter.run.id if counter.run else 0, revisions, routes)
        for appeared, read in ((counter.routes, routes), (counter.revisions, revisions)):
            for name in read:
                appeared.pop(name, None)
        counter.known = state.revisions
        counter.take_noise(await self._learn_on(counter, state.now_ms))
        state = await self._named(counter, state, revisions)
        undeclared = rules if counter.declared != rules else None
        new = due(state, revisions, rules=undeclared, noise=counter.noise.version)
        run = await self._start(counter.inputs, state, new) if new else state.run
        if run is None:
            return
        if run.rules == rules:  # otherwise another process started a run first, so declare the rules again
            counter.declared = rules
        counter.take_run(run)

    async def _learn_on(self, counter: RunCounter, now_ms: int) -> NoiseState:
        """Return the noise state; if there is a control, start learning, and freeze the set once it is learned."""
        inputs, state = counter.inputs, await self._noise.read(counter.inputs.target)
        if state.learning is None:
            if not inputs.controlled:
                return state
            if state.known is not None:
                return await self._extend(counter, state, now_ms)
            await self._noise.learn(inputs.target, state, Source.CONTROL, now_ms)
        elif state.calibrates or await self._noise.learned(inputs.target, state) < inputs.learn:
            return state
        elif made := await self._noise.freeze(inputs.target, state, now_ms, inputs.candidate):
            log.info("noise set frozen", extra={"target": inputs.target, "places": len(made.places)})
        return await self._noise.read(inputs.target)

    async def _extend(self, counter: RunCounter, state: NoiseState, now_ms: int) -> NoiseState:
        """Return the noise state; if the run has shown more noise of v1, add it to the set.

        The run must have as many triples as the set was learned from, so that additions become rarer and rarer.
        """
        run, inputs, known = counter.run, counter.inputs, state.known
        if run is None or known is None or run.noise != state.version or now_ms < counter.extends_at_ms:
            return state
        counter.extends_at_ms = now_ms + EXTEND_EVERY_MS
        groups = [counts_key(inputs.target, run.id, name) for name in ("triples", "cells")]
        triples, cells = await self._counts_of(groups)
        with reading(f"the triples of {inputs.target} in run {run.id}"):
            routes, (places, _) = read_triples(triples), read_cells(cells)
        learned = Learned(
            triples={route: one.all for route, one in routes.items()},
            cells={place: one.cells for place, one in places.items()},
        )
        if learned.total < max(inputs.learn, known.triples):
            return state
        more = extended(
            known,
            learned,
            version=state.generation + 1,
            now_ms=now_ms,
            least_share=inputs.allowed / 4,
            most=self._caps.paths,
        )
        if more is None or not await self._noise.replace(inputs.target, state, more):
            return state
        added = len(more.places) - len(known.places)
        log.info("noise set extended", extra={"target": inputs.target, "places": len(more.places), "added": added})
        return await self._noise.read(inputs.target)

    async def _named(self, counter: RunCounter, state: RunState, revisions: Sequence[str]) -> RunState:
        """Set a run's revision to the first revision in v2's responses, unless a response has no revision."""
        run = state.run
        if run is None or run.revision is not None or not revisions or counter.nameless:
            return state
        named = await self._store.name(counter.inputs.target, run, revisions[0])
        return msgspec.structs.replace(state, run=named, revisions={**state.revisions, revisions[0]: state.now_ms})

    async def _start(self, inputs: RunInputs, state: RunState, new: NewRun) -> Run:
        ledger = flat(await self._ledger(inputs.target))
        new = msgspec.structs.replace(new, noise=(await self._noise.read(inputs.target)).version)
        run = await self._store.start(inputs.target, state, new, inputs.rules, ledger)
        log.info(
            "run started" if run.id == run.serial else "run resumed",
            extra={"target": inputs.target, "run": run.id, "by": run.by, "revision": run.revision},
        )
        return run

    async def noise(self, target: str) -> Noise:
        """Return the state of a target's noise set. Raises: KeyError."""
        inputs, state = self._inputs_of(target), await self._noise.read(target)
        learned = await self._noise.learned(target, state)
        return Noise(
            state=state, learned=learned, learn=inputs.learn, controlled=inputs.controlled, sample=inputs.sample
        )

    async def learn(self, target: str, source: Source, by: str) -> bool:
        """Start to learn again; return whether this call started it."""
        now_ms = (await self._store.read(target)).now_ms
        return self._wake_if(await self._noise.learn(target, await self._noise.read(target), source, now_ms, by))

    async def freeze(self, target: str) -> bool:
        """End a calibration: freeze the learned set; return whether this call froze it."""
        now_ms, state = (await self._store.read(target)).now_ms, await self._noise.read(target)
        made = await self._noise.freeze(target, state, now_ms, self._inputs_of(target).candidate)
        return self._wake_if(made is not None)

    async def forget(self, target: str) -> bool:
        """Delete the noise set; return whether this call deleted it."""
        return self._wake_if(await self._noise.forget(target, await self._noise.read(target)))

    def _wake_if(self, done: bool) -> bool:  # noqa: FBT001 - passed through
        self._woken.set()
        return done

    async def current(self, target: str) -> Run | None:
        """Read the current run from the store."""
        return (await self._store.read(target)).run

    async def start(self, target: str, by: StartedBy = StartedBy.MANUAL, *, renamed: bool = False) -> Run:
        """Start a run now. renamed: because places have new names. Raises: KeyError."""
        state = await self._store.read(target)
        return await self._start_now(target, state, NewRun(by=by, renamed=renamed))

    async def for_rollout(self, target: str, rollout: str) -> Run:
        """Return the run of a rollout; the first request of a rollout starts one. Raises: KeyError."""
        state = await self._store.read(target)
        new = due_for_rollout(state, rollout)
        if new is None and state.run is not None:
            await self._store.note_rollout(target, rollout)
            return state.run
        return await self._start_now(target, state, new or NewRun(by=StartedBy.START, rollout=rollout))

    async def _start_now(self, target: str, state: RunState, new: NewRun) -> Run:
        new = msgspec.structs.replace(new, revision=state.run.revision if state.run else None)
        run = await self._start(self._inputs_of(target), state, new)
        if target in self._counters:
            self._counters[target].take_run(run)
        return run

    def _inputs_of(self, target: str) -> RunInputs:
        return {one.target: one for one in self._inputs()}[target]
