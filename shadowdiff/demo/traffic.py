"""The users of the demo: requests at a steady rate, whether or not answers come.

In: where to ask, what, how fast.  Out: a tally of what was asked and what came back.
Holds: a request is sent when it is due, never later because an earlier one was slow (open loop), and its latency
counts from when it was due; only a pace holds all of them back. Every request has an id of its own, the same in
every run with the same seed.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from shadowdiff.demo.pace import Pace, due_s
from shadowdiff.demo.shop import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TIMEOUT_S = 20.0
CONNECTIONS = 256
OPEN_AT_MOST = 2000
HOST_HEADER = "recommendation"
WEIGHTS = {"/": 25, "/products/": 60, "/slow": 5, "/orders": 10}


class Ask(NamedTuple):
    """One request of a user."""

    method: str
    path: str
    id: str


@dataclass(slots=True)
class Tally:
    """What the users counted themselves."""

    sent: int = 0
    answered: int = 0
    errors: int = 0
    writes: int = 0
    latencies_ms: list[float] = field(default_factory=list[float])
    problems: dict[str, int] = field(default_factory=dict[str, int])

    def failed(self, why: str) -> None:
        """Count a request that a user would call broken."""
        self.errors += 1
        self.problems[why] = self.problems.get(why, 0) + 1


def asks(seed: int) -> Iterator[Ask]:
    """Draw requests without end."""
    dice = random.Random(seed)
    paths, weights = list(WEIGHTS), list(WEIGHTS.values())
    while True:
        path = dice.choices(paths, weights)[0]
        if path == "/products/":
            path += str(dice.randrange(PRODUCTS))
        name = str(uuid.UUID(int=dice.getrandbits(128), version=4))
        yield Ask("POST" if path == "/orders" else "GET", path, name)


class Users:
    """Everybody who asks."""

    def __init__(self, session: aiohttp.ClientSession, url: str, tally: Tally, *, keep: bool) -> None:
        self._session, self._url, self._tally, self._keep = session, url, tally, keep
        self._room = asyncio.Semaphore(OPEN_AT_MOST)

    async def ask(self, ask: Ask, due: float) -> None:
        """Send one request and count what comes back."""
        async with self._room:
            try:
                await self._exchange(ask)
            except (aiohttp.ClientError, TimeoutError) as problem:
                self._tally.failed(type(problem).__name__)
        if self._keep:
            self._tally.latencies_ms.append((time.perf_counter() - due) * 1000)

    async def _exchange(self, ask: Ask) -> None:
        data = b'{"sku":"SD-00001"}' if ask.method == "POST" else None
        named = {"x-request-id": ask.id}
        async with self._session.request(ask.method, self._url + ask.path, headers=named, data=data) as answer:
            _ = await answer.read()
        self._tally.answered += 1
        if answer.status >= 500:
            self._tally.failed(f"status {answer.status}")


async def drive(
    url: str, tally: Tally, asked: Iterable[Ask], *, rate: float, keep: bool = True, pace: Pace | None = None
) -> None:
    """Send what is asked at `rate` a second, and wait for the answers.

    keep: whether each latency is kept; not for traffic without end.
    pace: begins slowly and holds users back at times; without it every request is sent when it is due.
    """
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    headers = {"host": HOST_HEADER}
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session,
        asyncio.TaskGroup() as open_requests,
    ):
        users = Users(session, url, tally, keep=keep)
        began = time.perf_counter()
        for number, ask in enumerate(asked):
            due = began + (due_s(number, rate) if pace else number / rate)
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            held_s = await pace.hold() if pace else 0.0
            began += held_s
            tally.sent += 1
            tally.writes += ask.method == "POST"
            _ = open_requests.create_task(users.ask(ask, due + held_s))
