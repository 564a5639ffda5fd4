"""One target's epoch as one process knows it, and what was seen in it since the last look.

In: judged pairs, each with the revision that v2's answer named.  Out: writes that count a pair in the epoch.
Holds: a pair counts in an epoch only where v2 answered after it opened, under its revision and its rules; every
other pair is set aside under its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Comparison, Expire, Headers, Incr, Pair, Result, Write
from shadowdiff.verdict.counts import CountCaps
from shadowdiff.verdict.epoch_store import LIFE_S, counts_key
from shadowdiff.verdict.histogram import BUCKETS, bucket_of
from shadowdiff.verdict.noise import Place, Source
from shadowdiff.verdict.noise_store import NoiseState
from shadowdiff.verdict.triples import Tally, TripleBounds, is_whole, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowdiff.verdict.epoch import Epoch

_REVISIONS_A_LOOK: Final = 20
_REVISION_CHARS: Final = 100
_PATTERN_CHARS: Final = 300
_KEPT: Final = 20_000
CAPS: Final = CountCaps()
BOUNDS: Final = TripleBounds()


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A target as its epochs see it: v2's revision header in lower case, and a digest of what is compared and how.

    latency: whether durations count in the epoch, for a gate on them.
    controlled: whether a control shows v1's own noise.  learn: how many triples its noise is learned from.
    candidate: the address of v2.
    """

    target: str
    revision_header: bytes
    rules: str
    latency: bool = False
    controlled: bool = False
    learn: int = 1000
    candidate: str = ""


class EpochView:
    """One target's epoch as this process knows it, and what was seen in it since the last look."""

    def __init__(
        self,
        watched: Watched,
        wake: Callable[[], None],
        bounds: TripleBounds = BOUNDS,
        caps: CountCaps = CAPS,
    ) -> None:
        self.watched = watched
        self.noise = NoiseState()
        self.learned = 0
        self._known: frozenset[Place] | None = None
        self._calibrates = False
        self._bounds = bounds
        self._tally = Tally(bounds)
        self._routes = caps.names
        self._caps = {"paths": caps.paths, "latency": caps.names * 2 * BUCKETS}
        self.declared: str | None = None
        self.epoch: Epoch | None = None
        self.known: Mapping[str, int] = {}
        self.revisions: dict[str, None] = {}
        self.nameless = False
        self.routes: dict[str, None] = {}
        self._wake = wake
        self._agrees = False
        self._seen_routes: set[str] = set()
        self._made: dict[tuple[str, ...], tuple[Write, ...]] = {}

    def watch(self, watched: Watched) -> None:
        """Compare by other rules from now on: nothing counts until an epoch of theirs is open."""
        self.watched = watched
        self._agrees = self.epoch is not None and self._is_agreed(self.epoch)

    def take_noise(self, state: NoiseState) -> None:
        """Learn, or leave out what is noise, from now on."""
        if state.rev != self.noise.rev:
            known = state.known
            self._known = frozenset(one.place for one in known.places) if known else None
        self.noise = state
        self._calibrates = state.learning is not None and state.source is Source.CALIBRATION
        self._agrees = self.epoch is not None and self._is_agreed(self.epoch)

    def _is_agreed(self, epoch: Epoch) -> bool:
        return epoch.rules == self.watched.rules and epoch.noise == self.noise.version

    def take(self, epoch: Epoch) -> None:
        """Count in this epoch from now on."""
        if self.epoch is None or (epoch.id, epoch.started_ms) != (self.epoch.id, self.epoch.started_ms):
            self.nameless = False
            self.routes.clear()
            self._seen_routes.clear()
            self._made.clear()
        self.epoch = epoch
        self._agrees = self._is_agreed(epoch)

    def writes(self, pair: Pair, comparison: Comparison) -> tuple[Write, ...]:
        """Return the writes that count one pair, or set it aside."""
        counted = self._epoch_writes(pair, comparison)
        return (*counted, *self._calibrated(pair, comparison)) if self._calibrates else counted

    def _epoch_writes(self, pair: Pair, comparison: Comparison) -> tuple[Write, ...]:
        epoch = self.epoch
        if epoch is None:
            return ()
        if aside := self._aside(epoch, pair):
            return self._counted(epoch, "aside", aside)
        if pair.route not in self._seen_routes and len(self._seen_routes) < self._routes:
            self._seen_routes.add(pair.route)
            self.routes[pair.route] = None
        counted = self._counted(epoch, comparison.result, pair.route)
        if self.watched.latency:
            counted += self._durations(epoch, pair)
        if comparison.result is not Result.MISMATCH:
            return counted
        if self._known is not None:
            return counted + self._beyond_noise(epoch, self._known, pair, comparison)
        places = {(d.pattern[:_PATTERN_CHARS], d.kind.value) for d in comparison.differences if d.rule is None}
        for pattern, kind in places:
            counted += self._counted(epoch, "paths", pair.route, pattern, kind)
        return counted

    def _aside(self, epoch: Epoch, pair: Pair) -> str | None:
        """Return why a pair does not count in the epoch; None where it does."""
        if not self._is_of(epoch, pair):
            return "revision"
        if pair.candidate.at_ms < epoch.started_ms:
            return "before"
        return None if self._agrees else "rules"

    def _beyond_noise(
        self, epoch: Epoch, known: frozenset[Place], pair: Pair, comparison: Comparison
    ) -> tuple[Write, ...]:
        """Return the writes of a mismatch where noise is known: left out where it is noise alone."""
        places = [place for place in places_of(pair, comparison, pair.candidate.at_ms) if place not in known]
        if not places and is_whole(comparison, self._bounds):
            return self._counted(epoch, "left_out", pair.route)
        counted = self._counted(epoch, "distinct", pair.route) if self._tally.is_distinct(pair) else ()
        for path, kind in {(place.path, place.kind) for place in places}:
            counted += self._counted(epoch, "paths", pair.route, path, kind)
        return counted

    def triple_writes(self, pair: Pair, raw: Comparison, noise: Comparison) -> tuple[Write, ...]:
        """Return the writes of a pair that the control saw too: into what is learned, or into the epoch."""
        if Result.INCOMPARABLE in {raw.result, noise.result}:
            return ()
        target, learning = self.watched.target, self.noise.learning
        if learning is not None:
            if self._calibrates:
                return ()
            return self._tally.learned(target, learning, pair, raw, noise)
        epoch, known = self.epoch, self._known
        if epoch is None or known is None or not self._agrees or pair.candidate.at_ms < epoch.started_ms:
            return ()
        revision = revision_of(pair.candidate.headers, self.watched.revision_header)
        if None not in (revision, epoch.revision) and revision != epoch.revision:
            return ()
        return self._tally.counted(counts_key(target, epoch.id, ""), known, pair, raw, noise)

    def _calibrated(self, pair: Pair, comparison: Comparison) -> tuple[Write, ...]:
        """Return the writes of a pair whose candidate is v1 for a while; not where it says that it is another."""
        learning, header = self.noise.learning, self.watched.revision_header
        if learning is None or comparison.result is Result.INCOMPARABLE or pair.candidate.failure is not None:
            return ()
        revisions = revision_of(pair.primary.headers, header), revision_of(pair.candidate.headers, header)
        if None not in revisions and revisions[0] != revisions[1]:
            return ()
        return self._tally.learned(self.watched.target, learning, pair, comparison, None)

    def _durations(self, epoch: Epoch, pair: Pair) -> tuple[Write, ...]:
        """Return the writes that count both sides' durations; a v2 that gave no answer has none."""
        counted: tuple[Write, ...] = ()
        if pair.candidate.status and pair.primary.duration_ms >= 0 and pair.candidate.duration_ms >= 0:
            for side in (pair.primary, pair.candidate):
                counted += self._counted(epoch, "latency", pair.route, side.side, str(bucket_of(side.duration_ms)))
        return counted

    def _is_of(self, epoch: Epoch, pair: Pair) -> bool:
        """Return whether v2 answered as the revision that the epoch is about; a failure names none and counts."""
        revision = revision_of(pair.candidate.headers, self.watched.revision_header)
        if revision is None:
            self.nameless = self.nameless or bool(pair.candidate.status)
            return True
        if revision not in self.revisions and len(self.revisions) < _REVISIONS_A_LOOK:
            self.revisions[revision] = None
            if revision != epoch.revision and revision not in self.known:
                self._wake()
        return epoch.revision is None or revision == epoch.revision

    def _counted(self, epoch: Epoch, group: str, *parts: str) -> tuple[Write, ...]:
        """Return the writes of one field, made once an epoch while there is room to keep them."""
        name = (group, *parts)
        known = self._made.get(name)
        if known is not None:
            return known
        key = counts_key(self.watched.target, epoch.id, group)
        field = parts[0] if len(parts) == 1 else msgspec.json.encode(parts).decode()
        made = (Incr(key, field, 1, self._caps.get(group, self._routes)), Expire(key, LIFE_S))
        if len(self._made) < _KEPT:
            self._made[name] = made
        return made


def revision_of(headers: Headers, name: bytes) -> str | None:
    """Return v2's revision as its answer names it."""
    for field, value in headers:
        if field == name:
            return value[:_REVISION_CHARS].decode("utf-8", "replace") or None
    return None
