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

from shadowdiff.store import said
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
from shadowdiff.verdict.epoch_store import EpochStore
from shadowdiff.verdict.epoch_view import BOUNDS, CAPS, EpochView, Watched
from shadowdiff.verdict.noise import Source
from shadowdiff.verdict.noise_gate import Noise
from shadowdiff.verdict.noise_store import NoiseState, NoiseStore

if TYPE_CHECKING:
    from shadowdiff.model import Comparison, Pair, Write
    from shadowdiff.store import Store
    from shadowdiff.verdict.counts import CountCaps
    from shadowdiff.verdict.triples import TripleBounds

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0

ReadLedger = Callable[[str], Awaitable[Mapping[str, Any]]]


class Epochs:
    """The epochs of every target, for one process."""

    def __init__(
        self,
        store: Store,
        watched: Callable[[], Sequence[Watched]],
        ledger: ReadLedger,
        bounds: TripleBounds = BOUNDS,
        *,
        caps: CountCaps = CAPS,
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
