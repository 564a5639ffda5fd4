"""What the demo reads from the service: its public API, as anybody would.

In: the address of the web port.  Out: the ledger, one target's counts, the newest samples.
Holds: nothing is read in another way; what the demo says of the service, a user can read too.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import msgspec

from shadowdiff.demo.process import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET = "recommendation"
SAMPLES_AT_MOST = 10_000
POLL_S = 0.25
TIMEOUT_S = 10.0

Row = dict[str, int]
Shape = TypeVar("Shape")


class Ledger(msgspec.Struct, frozen=True):
    """The books of the target, as far as they are read here."""

    balanced: bool
    mirrored: Row
    recorded: Row
    observations: dict[str, Row]
    pairs: Row
    coverage: dict[str, float]

    @property
    def unsettled(self) -> int:
        """What still moves."""
        waiting = sum(row.get("waiting", 0) for row in self.observations.values())
        return waiting + self.pairs["pending"] + self.mirrored["in_flight"] + self.recorded["in_flight"]


class Difference(msgspec.Struct, frozen=True):
    """One place where a pair differs, not covered by any rule."""

    path: str
    pattern: str
    kind: str


class Sample(msgspec.Struct, frozen=True):
    """A pair that differs."""

    id: str
    request_id: str
    route: str
    differences: list[Difference]


class Samples(msgspec.Struct, frozen=True):
    """The newest pairs that differ."""

    samples: list[Sample]


class PathCount(msgspec.Struct, frozen=True):
    """How many pairs of a route differ in one place."""

    path: str
    kind: str
    count: int


class Latency(msgspec.Struct, frozen=True):
    """How long one side takes."""

    p50_ms: float | None
    p99_ms: float | None


class Route(msgspec.Struct, frozen=True):
    """One route's counts."""

    route: str
    results: Row
    paths: list[PathCount]
    latency: dict[str, Latency] = {}


class Verdict(msgspec.Struct, frozen=True):
    """What the service says of v2."""

    verdict: str
    reason: str
    mismatch_ratio: float | None = None
    top: list[TopPath] = []
    lack: str | None = None


class NoisePlace(msgspec.Struct, frozen=True):
    """A place that v1 differs in from itself."""

    route: str
    path: str
    kind: str
    state: str


class Noise(msgspec.Struct, frozen=True):
    """What the service learned of v1's noise."""

    phase: str
    learned_from: int
    left_out: int
    triples: int
    places: list[NoisePlace]


class TopPath(msgspec.Struct, frozen=True):
    """A place that counts in the verdict."""

    path: str
    kind: str


class Target(msgspec.Struct, frozen=True):
    """One target's report."""

    routes: list[Route]
    verdict: Verdict


class Api:
    """A client of the service."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self.url = session, url

    async def raw_ledger(self) -> dict[str, Any]:
        """Return the ledger as it stands in the API."""
        return await self._get(f"/ledger?target={TARGET}", dict[str, Any])

    async def ledger(self) -> Ledger:
        """Return the ledger."""
        return await self._get(f"/ledger?target={TARGET}", Ledger)

    async def target(self) -> Target:
        """Return the target's routes, counts and verdict."""
        return await self._get(f"/targets/{TARGET}", Target)

    async def noise(self) -> Noise:
        """Return what the service learned of v1's noise."""
        return await self._get(f"/noise?target={TARGET}", Noise)

    async def samples(self) -> list[Sample]:
        """Return every pair that differs, as far as the service keeps them."""
        return (await self._get(f"/samples?target={TARGET}&limit={SAMPLES_AT_MOST}", Samples)).samples

    async def _get(self, path: str, shape: type[Shape]) -> Shape:
        """Read one answer.

        Raises: DemoError, naming the address and what came.
        """
        url = f"{self.url}/api/v1{path}"
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise DemoError(f"{url} gave no answer: {problem!r}") from problem
        if answer.status != 200:
            raise DemoError(f"{url} answered {answer.status}: {body[:300].decode(errors='replace')}")
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.DecodeError as problem:
            raise DemoError(f"{url} answered in a shape this demo does not know: {problem}") from problem


async def settled(
    api: Api, arrived: Callable[[Ledger], bool], *, within_s: float, quiet_s: float, tell: Callable[[Ledger], None]
) -> Ledger:
    """Wait until everything that was sent has arrived and nothing moves any more, and return the ledger.

    arrived: whether all that was sent is in; where something was lost on the way, `quiet_s` without a change will do.
    tell: is shown every ledger read.
    Raises: DemoError, naming what still moves.
    """
    deadline = time.monotonic() + within_s
    last, changed_at = await api.ledger(), time.monotonic()
    while last.unsettled or not (arrived(last) or time.monotonic() - changed_at > quiet_s):
        if time.monotonic() > deadline:
            raise DemoError(f"not settled after {within_s:g} s: {last}")
        await asyncio.sleep(POLL_S)
        now = await api.ledger()
        if now != last:
            last, changed_at = now, time.monotonic()
        tell(now)
    return last
