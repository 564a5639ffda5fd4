"""Write observations to Redis: collect observations for a few milliseconds, and send them in one script call per flush.

At most `queue` observations and `queue_bytes` wait in memory. If a flush gets no reply, the writer resends the flush
with the same number until the store replies; the script does not run the same number twice.
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

from shadowdiff.model import Backoff, Failure, Observation, Side
from shadowdiff.pairing import names
from shadowdiff.pairing.codec import KEPT_S, Dictionaries
from shadowdiff.pairing.request_id import UNIQUE_SOURCES, key_of
from shadowdiff.store import STORE_ERRORS, describe_error, dictionary_id_of

if TYPE_CHECKING:
    from shadowdiff.model import ObservationSink
    from shadowdiff.pairing.codec import Codec
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

Settled = Callable[[bool], None]
"""Called once, with whether the observation was stored."""

SHARED, RETRIABLE, CONTROLLED = 1, 2, 4
ROWS = {"mirrored": 8, "recorded": 16}
WITHHELD_ROW = 32
"""The flags of the ledger's rows. The script counts an observation there when it stores it."""
RETRIABLE_STATUSES = frozenset({0, 409, 429, *range(500, 600)})
_NO_DICTIONARY = 1
MAX_ATTEMPT = 0xFFFF
MAX_UINT32 = 0xFFFFFFFF
_HEAD = struct.Struct(">c2xBHIIIII")
"""Side, the target's index, flags, attempt, control wait in ms; then the digest: checksums of the body and of its end,
size and status."""
_TARGET_END = 3
_END_BYTES = 2048
RETRY_FIRST_S = 0.05
RETRY_MOST_S = 1.0


@dataclass(frozen=True, slots=True)
class PairingSettings:
    """Limits and times of pairing.

    window_s: how long an observation waits for its partner.
    settle_s: how long a pair waits for a better attempt if a retry may come.
    gather_s: how long a flush collects observations; longer with many shards.
    flush: the most observations in one script call.
    queue, queue_bytes: the limits of observations in memory, including those that are being sent.
    store_depth: the limit of ready pairs and waiting observations in the store; beyond it, observations are rejected.
    remembered_s: how long the store remembers a sender's last flush; longer than any tolerated outage.
    orphan_grace_s: how long a waiting value stays after its window if no service sweeps.
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
        """Return the window, the settling time, and the lifetime of a waiting value, in ms."""
        life_s = self.window_s + self.settle_s + self.orphan_grace_s
        return int(self.window_s * 1000), int(self.settle_s * 1000), int(life_s * 1000)


@dataclass(slots=True)
class QueuedObservation:
    """One observation, encoded."""

    key: bytes
    target: str
    head: bytes
    payload: bytes
    settled: Settled


@dataclass(slots=True)
class Flush:
    """The observations of one script call, with a number that the shard runs only once."""

    shard: int
    number: int
    items: list[QueuedObservation]

    def dictionaries(self) -> list[bytes]:
        """Return the ids of the payloads' compression dictionaries: usually one, but two during a replacement."""
        return list(dict.fromkeys(one for item in self.items if (one := dictionary_id_of(item.payload))))


def is_retriable(observation: Observation) -> bool:
    """Return whether a proxy may retry after this response, so that a later attempt can replace it.

    Source: Envoy's retry policies 5xx, gateway-error, reset, retriable-4xx (409), rate limits and gRPC statuses.
    """
    if observation.status in RETRIABLE_STATUSES or observation.failure:
        return True
    fields = (*observation.headers, *observation.trailers)
    return any(name == b"grpc-status" and value != b"0" for name, value in fields)


def head_of(observation: Observation, control_wait_s: float, row: int = 0) -> bytes:
    """Return the 26-byte head that state.lua reads, with target index 0."""
    flags = row if observation.id_source in UNIQUE_SOURCES else row | SHARED
    if observation.side is Side.PRIMARY and is_retriable(observation):
        flags |= RETRIABLE
    if control_wait_s > 0:
        flags |= CONTROLLED
    body = observation.body
    return _HEAD.pack(
        names.SIDE_LETTERS[observation.side],
        flags,
        min(observation.attempt, MAX_ATTEMPT),
        min(int(control_wait_s * 1000), MAX_UINT32),
        zlib.crc32(body),
        zlib.adler32(body[-_END_BYTES:]),
        min(observation.body_bytes, MAX_UINT32),
        observation.status,
    )


class ObservationWriter:
    """A process's queue of observations, which is flushed to each shard of the store; `process` is the sender's name.

    redact: removes secrets from the path and the id of a logged request.
    store_depth: ready pairs and waiting observations in the store, set by the sweep.
    """

    def __init__(
        self, store: Store, codec: Codec, settings: PairingSettings, process: str, *, redact: Callable[[str], str]
    ) -> None:
        self._redact = redact
        self._store = store
        self._codec = codec
        self._settings = settings
        self._process = process
        self._dictionaries = Dictionaries(store, codec)
        self._gather_s = settings.gather_s * store.gather_stretch
        self._queues: list[list[QueuedObservation]] = [[] for _ in range(store.shards)]
        self._sent: list[Flush | None] = [None] * store.shards
        self._wakes = [asyncio.Event() for _ in range(store.shards)]
        self._draining = self._is_closed = False
        self._emptied = asyncio.Event()
        self.queued = self.queued_bytes = self.store_depth = 0

    @property
    def fill(self) -> float:
        """The used share, from 0 to 1, of the queue limit that is used most."""
        of = self._settings
        return max(self.queued / of.queue, self.queued_bytes / of.queue_bytes, self.store_depth / of.store_depth)

    def sink(self, row: str) -> ObservationSink:
        """Return `offer` for one row of the ledger: `mirrored` or `recorded`.

        A control's response is not a separate request, so it counts in neither row.
        """
        flag = ROWS[row]

        def offer(observation: Observation, settled: Settled, control_wait_s: float) -> bool:
            counted = 0 if row == "mirrored" and observation.side is Side.CONTROL else flag
            counted = WITHHELD_ROW if observation.failure is Failure.WITHHELD else counted
            return self.offer(observation, settled, control_wait_s, counted)

        return offer

    def offer(self, observation: Observation, settled: Settled, control_wait_s: float = 0.0, row: int = 0) -> bool:
        """Queue `observation`. If a limit is exceeded, return False immediately, and never call `settled`."""
        if self._is_closed or self.fill >= 1.0:
            return False
        key = key_of(observation.target, observation.id, observation.id_source, observation.method, observation.path)
        payload = self._codec.encode(key, observation)
        head = head_of(observation, control_wait_s, row)
        shard = self._store.keys.shard_of(key)
        self._queues[shard].append(QueuedObservation(key, observation.target, head, payload, settled))
        self.queued += 1
        self.queued_bytes += len(payload)
        self._wakes[shard].set()
        return True

    async def run(self) -> None:
        """Flush until cancelled. Each shard has at most one flush in flight."""
        async with asyncio.TaskGroup() as group:
            for shard in range(self._store.shards):
                group.create_task(self._flush_shard(shard), name=f"write-observations-{shard}")

    async def drain(self, deadline_s: float) -> int:
        """Send queued observations for at most `deadline_s`, then accept no more; return how many are left.

        The remaining observations are settled as not stored, although the store may have run a flush that got no reply.
        """
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while self.queued:
                    self._emptied.clear()
                    await self._emptied.wait()
        self._is_closed = True
        left = self.queued
        for shard, queue in enumerate(self._queues):
            flush, self._sent[shard] = self._sent[shard], None
            self._settle([*(flush.items if flush else ()), *queue], stored=False)
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
                self._settle(items, stored=True)

    def _settle(self, items: Sequence[QueuedObservation], *, stored: bool) -> None:
        for item in items:
            self.queued -= 1
            self.queued_bytes -= len(item.payload)
            item.settled(stored)
        if not self.queued:
            self._emptied.set()

    async def send(self, flush: Flush) -> None:
        """Send a flush, and dictionaries that its shard lacks; retry with the same number until the store replies."""
        keys, args = self._call(flush)
        backoff = Backoff(RETRY_FIRST_S, RETRY_MOST_S)
        while True:
            try:
                reply = cast("list[bytes] | int", await self._store.run(names.PARK, flush.shard, keys, args))
                if reply == _NO_DICTIONARY:
                    for dictionary_id in flush.dictionaries():
                        await self._dictionaries.publish(flush.shard, dictionary_id)
                    continue
            except STORE_ERRORS as error:
                extra = {"error": describe_error(error), "queued": self.queued}
                log.warning("store unavailable; will retry writing observations", extra=extra)
                await asyncio.sleep(backoff.next_s())
            else:
                for example in reply if isinstance(reply, list) else ():
                    self._log_odd(flush, example)
                return

    def _log_odd(self, flush: Flush, example: bytes) -> None:
        """Log an observation that does not fit a pair because it arrived twice, arrived too late, or was forged."""
        index, _, kind = example.decode().partition(":")
        item = flush.items[int(index)]
        observation = self._codec.decode(item.key, item.payload)
        log.info(
            "observation of %s does not fit a pair: %s",  # the kind is in the text, because each kind has its own limit
            item.target,
            kind,
            extra={
                "target": item.target,
                "side": observation.side.value,
                "kind": kind,
                "attempt": observation.attempt,
                "method": observation.method,
                "path": self._redact(observation.path.partition("?")[0]),
                "status": observation.status,
                "id": self._redact(observation.id),
            },
        )

    def _call(self, flush: Flush) -> tuple[list[str | bytes], list[bytes | int]]:
        targets = dict.fromkeys(item.target for item in flush.items)
        indexes = {target: index.to_bytes(2) for index, target in enumerate(targets)}
        dictionaries = flush.dictionaries()
        keys: list[str | bytes] = [
            f"flush:{self._process}",
            *(name for target in targets for name in names.of_target(target)),
            *map(names.dictionary, dictionaries),
            *(b"o:" + item.key for item in flush.items),
        ]
        times_ms = self._settings.times_ms()
        args: list[bytes | int] = [flush.number, self._settings.remembered_s, *times_ms]
        args += [len(targets), len(dictionaries), KEPT_S]
        for item in flush.items:
            args += (item.head[:1] + indexes[item.target] + item.head[_TARGET_END:], item.payload)
        return keys, args
