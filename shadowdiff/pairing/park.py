"""Gather observations for a few milliseconds and park them in Redis, one script call a flush.

In: observations, in any order, from either intake. Out: each one's fate, told once through its `settled`.
Holds: at most `queue` observations and `queue_bytes` wait in memory; a flush whose answer was lost is sent
again under the same number, which the script refuses to run twice, for as long as the store is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from redis.exceptions import RedisError

from shadowdiff.model import Observation, Side
from shadowdiff.pairing import names
from shadowdiff.pairing.dictionaries import KEPT_S, Dictionaries
from shadowdiff.pairing.key import is_shared, key_of
from shadowdiff.store import dictionary_of, said

if TYPE_CHECKING:
    from shadowdiff.pairing.codec import Codec
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

Settled = Callable[[bool], None]

SHARED, RETRIABLE, CONTROLLED = 1, 2, 4
ROWS = {"mirrored": 8, "recorded": 16}
"""Which row of the books an observation came by; the script books it there in the call that parks it."""
RETRIABLE_STATUSES = frozenset({0, 409, 429})
SERVER_ERROR = 500
_NO_DICTIONARY = 1
MAX_ATTEMPT = 0xFFFF
MAX_WAIT_MS = 0xFFFFFFFF
_HEAD = struct.Struct(">c2xBHIIIII")
"""Side, the target's index, flags, attempt, control wait in ms; then the digest: checksums of the body and of its end,
size and status."""
_END_BYTES = 2048
RETRY_FIRST_S = 0.05
RETRY_MOST_S = 1.0


@dataclass(frozen=True, slots=True)
class ParkSettings:
    """Bounds and times of parking.

    window_s: how long an observation waits for its partner.
    settle_s: how long a pair waits for a better attempt where one may come.
    gather_s: how long a flush gathers before it is sent, longer where there are many shards.
    flush: the most observations in one script call.
    queue, queue_bytes: what may wait in memory, being sent included.
    store_depth: ready pairs plus waiting observations in the store past which nothing more is taken.
    remembered_s: how long the store remembers a sender's last flush; longer than any outage that is ridden out.
    orphan_grace_s: how long a waiting value outlives its window where no service sweeps.
    """

    window_s: float = 30.0
    settle_s: float = 1.0
    gather_s: float = 0.025
    flush: int = 512
    queue: int = 20_000
    queue_bytes: int = 256 << 20
    store_depth: int = 1_000_000
    remembered_s: int = 86_400
    orphan_grace_s: float = 3600.0

    def times_ms(self) -> tuple[int, int, int]:
        """Return window, settle, and how long a waiting value lives, in ms."""
        life_s = self.window_s + self.settle_s + self.orphan_grace_s
        return int(self.window_s * 1000), int(self.settle_s * 1000), int(life_s * 1000)


@dataclass(slots=True)
class Flush:
    """What one script call parks, under a number that its shard sees once."""

    shard: int
    number: int
    items: list[Item]

    def dictionaries(self) -> list[bytes]:
        """Return the ids of the dictionaries that its observations are encoded by: one, or two when a new one came."""
        needed = (dictionary_of(item.payload) for item in self.items)
        return list(dict.fromkeys(one for one in needed if one is not None))


@dataclass(slots=True)
class Item:
    """One observation, encoded."""

    key: bytes
    target: str
    head: bytes
    payload: bytes
    settled: Settled


def is_retriable(observation: Observation) -> bool:
    """Return whether a proxy may try again after this answer, so that a later attempt may replace it.

    Source: Envoy's retry policies 5xx, gateway-error, reset, retriable-4xx (409), rate limits and gRPC statuses.
    """
    if observation.status >= SERVER_ERROR or observation.status in RETRIABLE_STATUSES or observation.failure:
        return True
    fields = (*observation.headers, *observation.trailers)
    return any(name == b"grpc-status" and value != b"0" for name, value in fields)


def head_of(observation: Observation, control_wait_s: float, row: int = 0) -> bytes:
    """Return the 26-byte head that state.lua reads, with the target's index left at 0."""
    flags = row | (SHARED if is_shared(observation.id_source) else 0)
    if observation.side is Side.PRIMARY and is_retriable(observation):
        flags |= RETRIABLE
    if control_wait_s > 0:
        flags |= CONTROLLED
    body = observation.body
    return _HEAD.pack(
        names.SIDE_LETTERS[observation.side],
        flags,
        min(observation.attempt, MAX_ATTEMPT),
        min(int(control_wait_s * 1000), MAX_WAIT_MS),
        zlib.crc32(body),
        zlib.adler32(body[-_END_BYTES:]),
        min(observation.body_bytes, MAX_WAIT_MS),
        observation.status,
    )


class Parker:
    """The way of an observation into the store; `process` names the sender."""

    def __init__(self, store: Store, codec: Codec, settings: ParkSettings, process: str) -> None:
        self._store = store
        self._codec = codec
        self._settings = settings
        self._process = process
        self._dictionaries = Dictionaries(store, codec)
        self._gather_s = settings.gather_s * store.patience
        self._queues: list[list[Item]] = [[] for _ in range(store.shards)]
        self._sent: list[Flush | None] = [None] * store.shards
        self._wakes = [asyncio.Event() for _ in range(store.shards)]
        self._draining = False
        self._is_closed = False
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.queued = 0
        self.queued_bytes = 0
        self.store_depth = 0
        """Ready pairs and waiting observations in the store; whoever sweeps says how many."""

    def __repr__(self) -> str:
        """State the queue, so that logs and tests read it."""
        return f"<Parker queued={self.queued} bytes={self.queued_bytes} store_depth={self.store_depth}>"

    @property
    def fill(self) -> float:
        """How full the fullest of its bounds is: 0 empty, 1 full."""
        settings = self._settings
        return max(
            self.queued / settings.queue,
            self.queued_bytes / settings.queue_bytes,
            self.store_depth / settings.store_depth,
        )

    def sink(self, row: str) -> Callable[[Observation, Settled, float], bool]:
        """Return `offer` for what comes by one row of the books: `mirrored` or `recorded`.

        A control's answer is no request of its own, and stands in neither.
        """
        flag = ROWS[row]

        def offer(observation: Observation, settled: Settled, control_wait_s: float) -> bool:
            booked = 0 if row == "mirrored" and observation.side is Side.CONTROL else flag
            return self.offer(observation, settled, control_wait_s, booked)

        return offer

    def offer(self, observation: Observation, settled: Settled, control_wait_s: float = 0.0, row: int = 0) -> bool:
        """Queue `observation`; `settled` is called once with whether it was parked.

        Returns False at once, and calls nothing, where a bound turns it away.
        """
        settings = self._settings
        if (
            self._is_closed
            or self.queued >= settings.queue
            or self.queued_bytes >= settings.queue_bytes
            or self.store_depth >= settings.store_depth
        ):
            return False
        key = key_of(observation.target, observation.id, observation.id_source, observation.method, observation.path)
        payload = self._codec.encode(key, observation)
        head = head_of(observation, control_wait_s, row)
        shard = self._store.keys.shard_of(key)
        self._queues[shard].append(Item(key, observation.target, head, payload, settled))
        self.queued += 1
        self.queued_bytes += len(payload)
        self._emptied.clear()
        self._wakes[shard].set()
        return True

    async def run(self) -> None:
        """Flush until cancelled. One flush a shard is on its way at any time."""
        async with asyncio.TaskGroup() as group:
            for shard in range(self._store.shards):
                group.create_task(self._flush_shard(shard), name=f"park-{shard}")

    async def drain(self, deadline_s: float) -> int:
        """Send what is queued, for at most `deadline_s`, then take nothing more; return how many were left.

        What is left is told as lost. A flush that was sent and never answered is among it, and may be parked.
        """
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while self.queued:
                    await self._emptied.wait()
        self._is_closed = True
        left = self.queued
        for shard, queue in enumerate(self._queues):
            flush, self._sent[shard] = self._sent[shard], None
            self._settle([*(flush.items if flush else ()), *queue], parked=False)
            queue.clear()
        return left

    async def _flush_shard(self, shard: int) -> None:
        queue, wake = self._queues[shard], self._wakes[shard]
        for number in itertools.count(1):
            await wake.wait()
            if len(queue) < self._settings.flush and not self._draining:
                await asyncio.sleep(self._gather_s)
            items = queue[: self._settings.flush]
            del queue[: len(items)]
            if not queue:
                wake.clear()
            flush = self._sent[shard] = Flush(shard, number, items)
            await self.send(flush)
            if self._sent[shard] is flush:
                self._sent[shard] = None
                self._settle(items, parked=True)

    def _settle(self, items: Sequence[Item], *, parked: bool) -> None:
        for item in items:
            self.queued -= 1
            self.queued_bytes -= len(item.payload)
            item.settled(parked)
        if not self.queued:
            self._emptied.set()

    async def send(self, flush: Flush) -> None:
        """Send one flush, again and again under its number while the store is away."""
        keys, args = self._call(flush)
        wait_s = RETRY_FIRST_S
        while True:
            try:
                odd = await self._run(flush, keys, args)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("parking waits for the store", extra={"error": said(error), "queued": self.queued})
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MOST_S)
            else:
                for told in odd if isinstance(odd, list) else ():
                    self._note_odd(flush, told)
                return

    async def _run(self, flush: Flush, keys: Sequence[str | bytes], args: Sequence[bytes | int]) -> list[bytes] | int:
        """Run the script, once its shard holds the dictionaries that the flush is encoded by."""
        while True:
            answer = cast("list[bytes] | int", await self._store.run(names.PARK, flush.shard, keys, args))
            if answer != _NO_DICTIONARY:
                return answer
            for dictionary_id in flush.dictionaries():
                await self._dictionaries.publish(flush.shard, dictionary_id)

    def _note_odd(self, flush: Flush, told: bytes) -> None:
        """Leave an example of an observation that fits no pair: a record that came twice, too late, or was forged."""
        place, _, what = told.decode().partition(":")
        item = flush.items[int(place)]
        seen = self._codec.decode(item.key, item.payload)
        log.info(
            "an observation of %s fits no pair: %s",  # so that a kind which repeats silences no other one
            item.target,
            what,
            extra={"target": item.target, "side": seen.side.value, "as": what, "attempt": seen.attempt}
            | {"method": seen.method, "path": seen.path.partition("?")[0], "status": seen.status, "id": seen.id},
        )

    def _call(self, flush: Flush) -> tuple[list[str | bytes], list[bytes | int]]:
        settings = self._settings
        targets = list(dict.fromkeys(item.target for item in flush.items))
        index = {target: place.to_bytes(2) for place, target in enumerate(targets)}
        keys: list[str | bytes] = [names.last_flush(self._process)]
        for target in targets:
            keys.extend(names.of_target(target))
        dictionaries = flush.dictionaries()
        keys.extend(names.dictionary(one) for one in dictionaries)
        window_ms, settle_ms, life_ms = settings.times_ms()
        args: list[bytes | int] = [flush.number, settings.remembered_s, window_ms, settle_ms, life_ms]
        args += [len(targets), len(dictionaries), KEPT_S]
        for item in flush.items:
            keys.append(names.waiting(item.key))
            args.append(item.head[:1] + index[item.target] + item.head[3:])
            args.append(item.payload)
        return keys, args
