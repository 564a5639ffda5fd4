"""The users of the demo. Users send requests at a steady rate, even if responses are late.

A request is sent when it is due, even if an earlier request is slow (open loop). The latency of a request is measured
from its due time. Only a throttle delays requests, because an overloaded proxy drops copies and records, and the demo
is not a load test. Every request has a unique id, which is the same in every run with the same seed.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from shadowdiff.demo.shop import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableSequence

TIMEOUT_S = 20.0
CONNECTIONS = 256
OPEN_AT_MOST = 2000
HOST_HEADER = "recommendation"
LATENCIES_KEPT = 50_000
CHECK_S = 0.1
CHECK_WITHIN_S = 0.1
MAX_IN_FLIGHT = 20
"""Well below the recorder's circuit breaker limit of 64, because more requests are sent before the next check."""
RAMP_S = 3.0
WEIGHTS = {"/": 25, "/products/": 60, "/slow": 5, "/orders": 10}


class UserRequest(NamedTuple):
    """One request of a user."""

    method: str
    path: str
    id: str


@dataclass(slots=True)
class UserCounts:
    """The users' counts."""

    sent: int = 0
    answered: int = 0
    errors: int = 0
    writes: int = 0
    latencies_ms: MutableSequence[float] = field(default_factory=lambda: deque[float](maxlen=LATENCIES_KEPT))


def random_requests(seed: int) -> Iterator[UserRequest]:
    """Yield random requests forever."""
    dice = random.Random(seed)
    paths, weights = list(WEIGHTS), list(WEIGHTS.values())
    while True:
        path = dice.choices(paths, weights)[0]
        if path == "/products/":
            path += str(dice.randrange(PRODUCTS))
        request_id = str(uuid.UUID(int=dice.getrandbits(128), version=4))
        yield UserRequest("POST" if path == "/orders" else "GET", path, request_id)


class Throttle:
    """Delays users while the proxy has too many copies or records in flight, or responds slowly."""

    def __init__(self, in_flight: Callable[[], Awaitable[int]]) -> None:
        self._in_flight = in_flight
        self._open = asyncio.Event()
        self._open.set()

    async def wait(self) -> float:
        """Wait until users may send requests. Return the wait in seconds."""
        if self._open.is_set():
            return 0.0
        began = time.perf_counter()
        _ = await self._open.wait()
        return time.perf_counter() - began

    async def watch(self) -> None:
        """Check the proxy forever. A slow response of the proxy also delays users."""
        async with asyncio.TaskGroup() as group:
            while True:
                check = group.create_task(self._check())
                _, late = await asyncio.wait({check}, timeout=CHECK_WITHIN_S)
                if late:
                    self._open.clear()
                await check
                await asyncio.sleep(CHECK_S)

    async def _check(self) -> None:
        if await self._in_flight() > MAX_IN_FLIGHT:
            self._open.clear()
        else:
            self._open.set()


def due_s(number: int, rate: float) -> float:
    """Return when a request is due. The rate rises slowly at first, because all parts have just started."""
    ramp = RAMP_S * rate / 2
    return (2 * number * RAMP_S / rate) ** 0.5 if number < ramp else RAMP_S + (number - ramp) / rate


async def _send(
    session: aiohttp.ClientSession, room: asyncio.Semaphore, counts: UserCounts, request: UserRequest, due: float
) -> None:
    data = b'{"sku":"SD-00001"}' if request.method == "POST" else None
    headers = {"x-request-id": request.id}
    async with room:
        try:
            async with session.request(request.method, request.path, headers=headers, data=data) as response:
                _ = await response.read()
        except (aiohttp.ClientError, TimeoutError):
            counts.errors += 1
        else:
            counts.answered += 1
            counts.errors += response.status >= 500
    counts.latencies_ms.append((time.perf_counter() - due) * 1000)


async def send_requests(
    url: str, counts: UserCounts, requests: Iterable[UserRequest], rate: float, throttle: Throttle
) -> None:
    """Send `rate` requests per second (fewer at first, or if `throttle` delays them), and wait for the responses."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    headers, room = {"host": HOST_HEADER}, asyncio.Semaphore(OPEN_AT_MOST)
    async with (
        aiohttp.ClientSession(url, connector=connector, timeout=timeout, headers=headers) as session,
        asyncio.TaskGroup() as open_requests,
    ):
        began = time.perf_counter()
        for number, request in enumerate(requests):
            due = began + due_s(number, rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            delay_s = await throttle.wait()
            began += delay_s
            counts.sent += 1
            counts.writes += request.method == "POST"
            _ = open_requests.create_task(_send(session, room, counts, request, due + delay_s))
