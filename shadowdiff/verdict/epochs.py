"""One process's view of the epochs: which is open, what counts in it, when another is due.

In: judged pairs, each with the revision that v2's answer named.  Out: writes that count a pair in the epoch.
Holds: a pair counts in an epoch only where v2 answered after it opened, under its revision and its rules; every
other pair is set aside under its reason. The epoch is what this process knew when it judged: it looks again
every second, and at once when an unseen revision answers, so that a pair near a border may count for the epoch
that was open a moment ago.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from redis.exceptions import RedisError

from shadowdiff.model import Comparison, Expire, Headers, Incr, Pair, Result, Write
from shadowdiff.store import said
from shadowdiff.verdict.counts import CountCaps
from shadowdiff.verdict.epoch import (
    Epoch,
    OpenedBy,
    Opening,
    Seen,
    due_by_noise,
    due_by_rules,
    due_by_session,
    due_by_traffic,
)
from shadowdiff.verdict.epoch_store import LIFE_S, EpochStore, counts_key
from shadowdiff.verdict.histogram import BUCKETS, bucket_of
from shadowdiff.verdict.noise import Place, Source
from shadowdiff.verdict.noise_gate import Noise
from shadowdiff.verdict.noise_store import NoiseState, NoiseStore
from shadowdiff.verdict.triples import Tally, TripleBounds, is_whole, places_of

if TYPE_CHECKING:
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
_REVISIONS_A_LOOK: Final = 20
_REVISION_CHARS: Final = 100
_PATTERN_CHARS: Final = 300
_CAPS: Final = CountCaps()
_KEPT: Final = 20_000
_BOUNDS: Final = TripleBounds()

ReadLedger = Callable[[str], Awaitable[Mapping[str, Any]]]


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
        bounds: TripleBounds = _BOUNDS,
        caps: CountCaps = _CAPS,
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


class Epochs:
    """The epochs of every target, for one process."""

    def __init__(
        self,
        store: Store,
        watched: Callable[[], Sequence[Watched]],
        ledger: ReadLedger,
        bounds: TripleBounds = _BOUNDS,
        *,
        caps: CountCaps = _CAPS,
    ) -> None:
        self._caps = caps
        self._store = EpochStore(store, caps.names)
        self._noise = NoiseStore(store)
        self._bounds = bounds
        self._watched = watched
        self._ledger = ledger
        self._views: dict[str, EpochView] = {}
        self._woken = asyncio.Event()
        self.ready = asyncio.Event()
        """Set once every target has an epoch: a pair that is judged earlier would count in none."""

    def writes(self, pair: Pair, comparison: Comparison, _at_ms: int) -> tuple[Write, ...]:
        """Return the writes that count one pair: a stage of the worker."""
        view = self._views.get(pair.target)
        return view.writes(pair, comparison) if view else ()

    def triple_writes(self, pair: Pair, raw: Comparison, noise: Comparison) -> tuple[Write, ...]:
        """Return the writes of a pair that the control saw too."""
        view = self._views.get(pair.target)
        return view.triple_writes(pair, raw, noise) if view else ()

    async def run(self) -> None:
        """Look every second, or when something unseen answered, until cancelled."""
        while True:
            try:
                await self.refresh()
                self.ready.set()
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("the epochs wait for the store", extra={"error": said(error)})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), EVERY_S)
                await asyncio.sleep(EVERY_S / 20)  # a flood of new revisions does not become a flood of looks
            self._woken.clear()

    def reload(self) -> None:
        """Take a new configuration, which is in force already, and look at once."""
        for one in self._watched():
            if one.target in self._views:
                self._views[one.target].watch(one)
        self._woken.set()

    async def refresh(self) -> None:
        """Look at every target once, and open what is due; raises redis.exceptions.RedisError."""
        watched = {one.target: one for one in self._watched()}
        for gone in self._views.keys() - watched.keys():
            del self._views[gone]
        for name, one in watched.items():
            view = self._views.setdefault(name, EpochView(one, self._woken.set, self._bounds, self._caps))
            view.watch(one)
            await self._look(view)

    async def _look(self, view: EpochView) -> None:
        target, revisions, routes = view.watched.target, list(view.revisions), list(view.routes)
        seen = await self._store.look(target, view.epoch.id if view.epoch else 0, revisions, routes)
        for route in routes:
            view.routes.pop(route, None)
        for revision in revisions:
            view.revisions.pop(revision, None)
        view.known = seen.revisions
        view.take_noise(await self._learned(view, seen.now_ms))
        seen = await self._named(view, seen, revisions)
        declares = view.declared != view.watched.rules
        opening = due_by_rules(seen, view.watched.rules) if declares else None
        opening = opening or due_by_noise(seen, view.noise.version) or due_by_traffic(seen, revisions)
        epoch = await self._open(view.watched, seen, opening) if opening else seen.epoch
        if epoch is None:
            return
        if epoch.rules == view.watched.rules:  # else another process was quicker: this one says it again
            view.declared = view.watched.rules
        view.take(epoch)

    async def _learned(self, view: EpochView, now_ms: int) -> NoiseState:
        """Return what is known of the noise; begin to learn where a control allows it, and freeze what is learned."""
        watched, state = view.watched, await self._noise.read(view.watched.target)
        if state.learning is not None:
            view.learned = await self._noise.learned(watched.target, state)
            if state.source is Source.CALIBRATION or view.learned < watched.learn:
                return state
            made = await self._noise.freeze(watched.target, state, now_ms, watched.candidate)
            if made is not None:
                log.info("noise is learned", extra={"target": watched.target, "places": len(made.places)})
            return await self._noise.read(watched.target)
        if not watched.controlled or state.known is not None:
            return state
        await self._noise.learn(watched.target, state, Source.CONTROL, now_ms)
        return await self._noise.read(watched.target)

    async def _named(self, view: EpochView, seen: Seen, revisions: Sequence[str]) -> Seen:
        """Let an epoch that does not know its revision take the first one, where none answered without a name."""
        epoch = seen.epoch
        if epoch is None or epoch.revision is not None or not revisions or view.nameless:
            return seen
        named = await self._store.adopt(view.watched.target, epoch, revisions[0])
        known = {**seen.revisions, revisions[0]: seen.now_ms}
        return msgspec.structs.replace(seen, epoch=named, revisions=known)

    async def _open(self, watched: Watched, seen: Seen, opening: Opening) -> Epoch:
        ledger = flat(await self._ledger(watched.target))
        opening = msgspec.structs.replace(opening, noise=(await self._noise.read(watched.target)).version)
        epoch = await self._store.open(watched.target, seen, opening, watched.rules, ledger)
        log.info(
            "an epoch is open",
            extra={"target": watched.target, "epoch": epoch.id, "by": epoch.by, "revision": epoch.revision},
        )
        return epoch

    async def noise(self, target: str) -> Noise:
        """Return what is known of a target's noise; raises redis.exceptions.RedisError, KeyError."""
        watched, state = self._watched_of(target), await self._noise.read(target)
        learned = await self._noise.learned(target, state)
        return Noise(state=state, learned=learned, learn=watched.learn, controlled=watched.controlled)

    async def learn(self, target: str, source: Source, by: str) -> bool:
        """Begin to learn anew; return whether this call did; raises redis.exceptions.RedisError."""
        now_ms = (await self._store.look(target)).now_ms
        return self._heard(await self._noise.learn(target, await self._noise.read(target), source, now_ms, by))

    async def freeze(self, target: str) -> bool:
        """End a calibration: freeze what was learned, and open its epoch; raises redis.exceptions.RedisError."""
        seen, state = await self._store.look(target), await self._noise.read(target)
        made = await self._noise.freeze(target, state, seen.now_ms, self._watched_of(target).candidate)
        return self._heard(made is not None)

    async def forget(self, target: str) -> bool:
        """Have no noise set any more; raises redis.exceptions.RedisError."""
        return self._heard(await self._noise.forget(target, await self._noise.read(target)))

    def _heard(self, done: bool) -> bool:  # noqa: FBT001 - passed through
        self._woken.set()
        return done

    async def current(self, target: str) -> Epoch | None:
        """Return the epoch that is open, asked of the store; raises redis.exceptions.RedisError."""
        return (await self._store.look(target)).epoch

    async def open(self, target: str, by: OpenedBy = OpenedBy.HAND) -> Epoch:
        """Open an epoch now, whatever is open; raises redis.exceptions.RedisError, KeyError."""
        watched = self._watched_of(target)
        seen = await self._store.look(target)
        revision = seen.epoch.revision if seen.epoch else None
        return self._taken(await self._open(watched, seen, Opening(by=by, revision=revision)), target)

    async def ask(self, target: str, session: str) -> Epoch:
        """Return the epoch that a rollout asks about; its first question opens one.

        Raises: redis.exceptions.RedisError, KeyError.
        """
        watched = self._watched_of(target)
        seen = await self._store.look(target)
        opening = due_by_session(seen, session)
        if opening is None and seen.epoch is not None:
            await self._store.note_question(target, session)
            return seen.epoch
        due = opening or Opening(by=OpenedBy.START, session=session)
        if seen.epoch is not None:
            due = msgspec.structs.replace(due, revision=seen.epoch.revision)
        return self._taken(await self._open(watched, seen, due), target)

    def _taken(self, epoch: Epoch, target: str) -> Epoch:
        view = self._views.get(target)
        if view is not None:
            view.take(epoch)
        return epoch

    def _watched_of(self, target: str) -> Watched:
        return next(one for one in self._watched() if one.target == target)


def flat(ledger: Mapping[str, Any], prefix: str = "") -> dict[str, int]:
    """Return the whole numbers of a ledger by dotted name."""
    found: dict[str, int] = {}
    for name, value in ledger.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")  # pyright: ignore[reportUnknownArgumentType] - JSON
        elif isinstance(value, int) and not isinstance(value, bool):
            found[prefix + name] = value
    return found
