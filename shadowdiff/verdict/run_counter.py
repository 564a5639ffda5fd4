"""Count pairs in one target's current run, for one process.

`exclusion_of` (in `run`) decides which pairs count; excluded pairs are counted by reason. This module also records new
revisions and routes, which `runs` reports to the store.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from shadowdiff.model import Comparison, Expire, Incr, Pair, Result, Write
from shadowdiff.verdict.counts import CAPS, PATTERN_CHARS, CountCaps, field_of
from shadowdiff.verdict.latency_buckets import BUCKETS, bucket_of
from shadowdiff.verdict.noise_set import NoiseState, Place
from shadowdiff.verdict.run import Run, RunInputs, exclusion_of, inputs_match, revision_of
from shadowdiff.verdict.run_store import LIFE_S, counts_key
from shadowdiff.verdict.triples import Recent, Tally, is_whole, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_REVISIONS_A_LOOK: Final = 20


class RunCounter:
    """One target's current run in this process, and the revisions and routes since the store was last read.

    revisions, routes: new revisions and routes.  nameless: whether a response without a revision appeared.
    declared: the rules digest for which this process last ensured that a run exists.  extends_at_ms: when this process
    next checks whether the run has shown more noise of v1.
    """

    def __init__(self, inputs: RunInputs, wake: Callable[[], None], caps: CountCaps = CAPS) -> None:
        self.inputs = inputs
        self.run: Run | None = None
        self.noise = NoiseState()
        self.declared: str | None = None
        self.known: Mapping[str, int] = {}
        self.revisions: dict[str, None] = {}
        self.routes: dict[str, None] = {}
        self.nameless = False
        self.extends_at_ms = 0
        self._wake = wake
        self._caps = caps
        self._tally = Tally(caps)
        self._recent_mismatches = Recent()
        self._cap_of = {"paths": caps.paths, "latency": caps.names * 2 * BUCKETS}
        self._counted = lru_cache(maxsize=20_000)(self._made)
        self._noise_places: frozenset[Place] | None = None
        self._inputs_match = False
        self._seen_routes: set[str] = set()

    def take_inputs(self, inputs: RunInputs) -> None:
        """Use a new configuration; pairs do not count until a run with its rules starts."""
        self.inputs = inputs
        self._match()

    def take_noise(self, state: NoiseState) -> None:
        """Use a new noise set, or learn a noise set."""
        if state.rev != self.noise.rev:
            self._noise_places = frozenset(one.place for one in state.known.places) if state.known else None
        self.noise = state
        self._match()

    def take_run(self, run: Run) -> None:
        """From now on, count pairs in this run."""
        if self.run is None or (run.id, run.started_ms) != (self.run.id, self.run.started_ms):
            self.nameless = False
            self.routes.clear()
            self._seen_routes.clear()
        self.run = run
        self._match()

    def _match(self) -> None:
        self._inputs_match = self.run is not None and inputs_match(self.run, self.inputs, self.noise.version)

    def writes(self, pair: Pair, comparison: Comparison) -> tuple[Write, ...]:
        """Return the writes that count one pair."""
        counted = self._pair_writes(self.run, pair, comparison) if self.run else ()
        return (*counted, *self._calibration_writes(pair, comparison)) if self.noise.calibrates else counted

    def counted(self, pair: Pair) -> tuple[int, str] | None:
        """Return the id of the run and v2's revision ("" if unknown) if a pair counts in the run."""
        run, revision = self.run, self._revision(pair)
        if run is None or self._exclusion(run, pair, revision):
            return None
        return run.id, revision or run.revision or ""

    def triple_writes(self, pair: Pair, raw: Comparison, noise: Comparison) -> tuple[Write, ...]:
        """Return the writes that count a pair with a control, for learning or for the run."""
        if Result.INCOMPARABLE in {raw.result, noise.result}:
            return ()
        target, learning = self.inputs.target, self.noise.learning
        if learning is not None:
            return () if self.noise.calibrates else self._tally.learned(target, learning, pair, raw, noise)
        run, known = self.run, self._noise_places
        if run is None or known is None or self._exclusion(run, pair, self._revision(pair)):
            return ()
        return self._tally.counted(counts_key(target, run.id, ""), known, pair, raw, noise)

    def _pair_writes(self, run: Run, pair: Pair, comparison: Comparison) -> tuple[Write, ...]:
        revision = self._revision(pair)
        self._note_revision(run, revision, pair)
        if exclusion := self._exclusion(run, pair, revision):
            return self._counted(run.id, "excluded", exclusion)
        if pair.route not in self._seen_routes and len(self._seen_routes) < self._caps.names:
            self._seen_routes.add(pair.route)
            self.routes[pair.route] = None
        counted = self._counted(run.id, comparison.result, pair.route)
        is_timed = pair.primary.duration_ms >= 0 and pair.candidate.duration_ms >= 0
        if self.inputs.latency and pair.candidate.status and is_timed:
            for side in (pair.primary, pair.candidate):
                counted += self._counted(run.id, "latency", pair.route, side.side, str(bucket_of(side.duration_ms)))
        if comparison.result is Result.MISMATCH:
            counted += self._mismatch_writes(run, pair, comparison)
        return counted

    def _mismatch_writes(self, run: Run, pair: Pair, comparison: Comparison) -> tuple[Write, ...]:
        """Return the writes for the places where a pair differs; a pair that differs only in noise is excluded."""
        counted: tuple[Write, ...] = ()
        if self._noise_places is None:
            paths = {(d.pattern[:PATTERN_CHARS], d.kind.value) for d in comparison.differences if d.rule is None}
        else:
            found = places_of(pair, comparison, pair.candidate.at_ms)
            paths = {(place.path, place.kind) for place in found if place not in self._noise_places}
            if not paths and is_whole(comparison, self._caps):
                return self._counted(run.id, "left_out", pair.route)
            if self._recent_mismatches.is_new(pair):
                counted = self._counted(run.id, "distinct", pair.route)
        for path, kind in paths:
            counted += self._counted(run.id, "paths", pair.route, path, kind)
        return counted

    def _revision(self, pair: Pair) -> str | None:
        return revision_of(pair.candidate.headers, self.inputs.revision_header)

    def _exclusion(self, run: Run, pair: Pair, revision: str | None) -> str | None:
        return exclusion_of(run, revision=revision, responded_ms=pair.candidate.at_ms, inputs_match=self._inputs_match)

    def _note_revision(self, run: Run, revision: str | None, pair: Pair) -> None:
        """Record the revision; if it is unknown, request an immediate read of the store."""
        if revision is None:
            self.nameless = self.nameless or bool(pair.candidate.status)
        elif revision not in self.revisions and len(self.revisions) < _REVISIONS_A_LOOK:
            self.revisions[revision] = None
            if revision != run.revision and revision not in self.known:
                self._wake()

    def _calibration_writes(self, pair: Pair, comparison: Comparison) -> tuple[Write, ...]:
        """Return the writes of a pair during calibration; a pair with two different revisions is ignored."""
        learning = self.noise.learning
        if learning is None or comparison.result is Result.INCOMPARABLE or pair.candidate.failure is not None:
            return ()
        revisions = {revision_of(pair.primary.headers, self.inputs.revision_header), self._revision(pair)}
        if len(revisions - {None}) > 1:
            return ()
        return self._tally.learned(self.inputs.target, learning, pair, comparison, None)

    def _made(self, run_id: int, group: str, *parts: str) -> tuple[Write, ...]:
        """Return the writes that increment one field of a run."""
        key = counts_key(self.inputs.target, run_id, group)
        field = parts[0] if len(parts) == 1 else field_of(*parts)
        return Incr(key, field, 1, self._cap_of.get(group, self._caps.names)), Expire(key, LIFE_S)
