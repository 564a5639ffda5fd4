"""Put load on a running service, and count the responses, for comparison with the ledger.

A few senders send one pair after another. Requests whose connection broke before a response are counted separately.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.integration.service.conftest import JSON, balanced_and_still, metrics_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tests.integration.service.conftest import World

MIRRORED, RECORDED = "mirrored", "recorded"
TAKEN, SHED = 202, 503
MATCHES = "match-"
"""The prefix of the ids of pairs that must match."""
REASONS = frozenset({"overload", "records_queue", "busy"})
"""The reasons for shedding while the store is unavailable, slow or full."""
LARGE = 32 << 10
GROWS_AT_MOST_MIB = 64
"""The maximum growth: the queue, and one batch of pairs with large bodies."""
SHED_AT_LEAST = 2 * (GROWS_AT_MOST_MIB << 20) // LARGE
"""The number of large records that would need twice that memory if they were stored."""


def large(side: str) -> bytes:
    """Return JSON that contains the side's name and is hard to compress."""
    return json.dumps({"side": side, "noise": os.urandom(LARGE // 2).hex()}).encode()


@dataclass
class Load:
    """Senders of pairs. A sender waits `pace_s` seconds after each pair. Every id starts with `name`."""

    world: World
    senders: int = 4
    pace_s: float = 0.005
    body: bytes = b'{"side": "v1"}'
    answers: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    acknowledged: dict[str, list[str]] = field(default_factory=lambda: {MIRRORED: [], RECORDED: []})
    unanswered: int = 0
    slowest_s: float = 0.0
    name: str = "pair"
    on_acknowledged: Callable[[], None] | None = None
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Send pairs while the block runs, and then wait for the last responses."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.senders):
                group.create_task(self._send(over))
            try:
                yield
            finally:
                over.set()

    async def _send(self, over: asyncio.Event) -> None:
        while not over.is_set():
            await self.pair(f"{self.name}-{next(self.numbers)}", self.body)
            await asyncio.sleep(self.pace_s)

    async def pair(self, request_id: str, body: bytes) -> None:
        """Send the record and the mirrored request of one pair."""
        mesh = self.world.mesh
        await self.one(RECORDED, request_id, mesh.record(request_id, body, h_content_type=JSON))
        await self.one(MIRRORED, request_id, mesh.mirror(request_id))

    async def compared(self, body: bytes, within_s: float = 150.0) -> None:
        """Send matching pairs one after another until the service has compared one. body: v2's response."""
        before = (await self.world.service.until(lambda _: True))["pairs"]["match"]
        async with asyncio.timeout(within_s):
            while (await self.world.service.until(lambda _: True))["pairs"]["match"] == before:
                await self.pair(f"{MATCHES}{next(self.numbers)}", body)

    async def one(self, row: str, request_id: str, sending: Any) -> None:
        """Send one half of a pair, and record the response."""
        begun_s = time.monotonic()
        try:
            status = await sending
        except (aiohttp.ClientError, OSError):
            self.unanswered += 1
            return
        self.slowest_s = max(self.slowest_s, time.monotonic() - begun_s)
        self.answers[row, status] += 1
        if status == TAKEN:
            self.acknowledged[row].append(request_id)
            if self.on_acknowledged is not None:
                self.on_acknowledged()

    def most_pairs(self, within_s: float) -> int:
        """Return how many pairs the senders send in this time if every response is immediate."""
        return math.ceil(self.senders * within_s / self.pace_s)

    def answered_count(self, row: str) -> int:
        """Return how many requests of a row got a response, with any status."""
        return sum(count for (of, _), count in self.answers.items() if of == row)

    async def until(self, condition: Callable[[], bool], within_s: float = 150.0) -> None:
        """Wait until the responses so far satisfy `condition`."""
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - tests wait on conditions
                await asyncio.sleep(0.01)

    async def books(self, within_s: float = 150.0) -> Any:
        """Return the ledger when no request is in flight, and check that the ledger equals the senders' counts."""
        answered = {row: self.answered_count(row) for row in self.acknowledged}
        books = await self.world.service.until(
            lambda books: (
                balanced_and_still(books) and all(books[row]["received"] == answered[row] for row in answered)
            ),
            within_s,
        )
        mirrored, recorded = books[MIRRORED], books[RECORDED]
        assert set(self.answers) <= {(MIRRORED, TAKEN), (RECORDED, TAKEN), (RECORDED, SHED)}, self.answers
        assert self.answers[RECORDED, SHED] == recorded["shed"], (self.answers, books)
        assert self.answers[RECORDED, TAKEN] == recorded["accepted"] + recorded["store_lost"], (self.answers, books)
        assert answered[MIRRORED] == mirrored["forwarded"] + mirrored["shed"] + mirrored["store_lost"], (
            self.answers,
            books,
        )
        for row, side, taken in ((MIRRORED, "candidate", "forwarded"), (RECORDED, "primary", "accepted")):
            assert books[row][taken] == books["observations"][side]["parked"], (row, books)
        await self._agree_on_reasons(mirrored["shed"], recorded["shed"])
        return books

    async def _agree_on_reasons(self, mirrored: int, recorded: int) -> None:
        """Check the reasons of sheds: `busy` for requests, `records_queue` for records, `overload` for both."""
        reasons = await sheds(self.world)
        assert reasons.keys() <= REASONS
        assert reasons.total() == mirrored + recorded, reasons
        assert reasons["busy"] <= mirrored, reasons
        assert reasons["records_queue"] <= recorded, reasons


async def sheds(world: World) -> Counter[str]:
    """Return how many of a target's requests and records were shed, by reason."""
    return Counter(
        {
            dict(labels)["reason"]: int(count)
            for (name, labels), count in (await metrics_of(world.service)).items()
            if name == "shadowdiff_shed_total" and ("target", world.target) in labels and count
        }
    )


async def sent(world: World, name: str, body: bytes, path: str = "/", within_s: float = 150.0) -> list[str]:
    """Send one pair, and retry its record under a new id if it is shed. Return the ids, with the accepted id last."""
    ids: list[str] = []
    status = 0
    async with asyncio.timeout(within_s):
        while status != TAKEN:
            ids.append(f"{name}-{len(ids)}")
            status = await world.mesh.record(ids[-1], body, path, h_content_type=JSON)
            assert status in {TAKEN, SHED}
    assert TAKEN == await world.mesh.mirror(ids[-1], path)
    return ids
