"""The demo's client of the service's public API."""

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

Counts = dict[str, int]
Shape = TypeVar("Shape")


class Ledger(msgspec.Struct, frozen=True):
    """The parts of the target's ledger that the demo reads."""

    balanced: bool
    mirrored: Counts
    recorded: Counts
    observations: dict[str, Counts]
    pairs: Counts
    coverage: dict[str, float]

    @property
    def unsettled(self) -> int:
        """The number of observations and pairs that are not settled yet."""
        waiting = sum(counts.get("waiting", 0) for counts in self.observations.values())
        return waiting + self.pairs["pending"] + self.mirrored["in_flight"] + self.recorded["in_flight"]


class Difference(msgspec.Struct, frozen=True):
    """One difference of a pair that no rule covers."""

    path: str
    pattern: str
    kind: str


class Sample(msgspec.Struct, frozen=True):
    """A pair that differs."""

    id: str
    request_id: str
    route: str
    differences: list[Difference]


class _Samples(msgspec.Struct, frozen=True):
    samples: list[Sample]


class PathCount(msgspec.Struct, frozen=True):
    """The number of pairs that differ at one path."""

    path: str
    kind: str
    count: int


class Route(msgspec.Struct, frozen=True):
    """One route's counts."""

    route: str
    results: Counts
    paths: list[PathCount]
    latency: dict[str, dict[str, Any]] = {}


class Verdict(msgspec.Struct, frozen=True):
    """The service's verdict on v2."""

    verdict: str
    reason: str
    mismatch_ratio: float | None = None
    top: list[PathCount] = []
    insufficient_reason: str | None = None


class NoisePath(msgspec.Struct, frozen=True):
    """A path where v1 differs from itself."""

    route: str
    path: str
    kind: str
    state: str


class Noise(msgspec.Struct, frozen=True):
    """The noise of v1 that the service learned."""

    phase: str
    learned_from: int
    excluded: int
    triples: int
    places: list[NoisePath]


class Target(msgspec.Struct, frozen=True):
    """One target's report."""

    routes: list[Route]
    verdict: Verdict


class Api:
    """A client of the service. Every call raises DemoError if the service does not return JSON."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self.url = session, url

    async def raw_ledger(self) -> dict[str, Any]:
        """Return the ledger as JSON, unchanged."""
        return await self._get(f"/ledger?target={TARGET}", dict[str, Any])

    async def ledger(self) -> Ledger:
        """Return the ledger."""
        return await self._get(f"/ledger?target={TARGET}", Ledger)

    async def target(self) -> Target:
        """Return the target's routes, counts and verdict."""
        return await self._get(f"/targets/{TARGET}", Target)

    async def noise(self) -> Noise:
        """Return the noise of v1 that the service learned."""
        return await self._get(f"/noise?target={TARGET}", Noise)

    async def samples(self) -> list[Sample]:
        """Return every stored pair that differs."""
        return (await self._get(f"/samples?target={TARGET}&limit={SAMPLES_AT_MOST}", _Samples)).samples

    async def _get(self, path: str, shape: type[Shape]) -> Shape:
        url = f"{self.url}/api/v1{path}"
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise DemoError(f"{url} did not respond: {problem!r}") from problem
        if response.status != 200:
            raise DemoError(f"{url} returned {response.status}: {body[:300].decode(errors='replace')}")
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.DecodeError as problem:
            raise DemoError(f"{url} returned an unknown format: {problem}") from problem


async def wait_settled(api: Api, arrived: Callable[[Ledger], bool], *, within_s: float, quiet_s: float) -> Ledger:
    """Wait until all observations have arrived and are settled, and return the ledger.

    arrived: returns whether all requests that were sent have arrived. If an observation was lost, the wait ends after
    `quiet_s` without a change.
    Raises: DemoError with the last ledger.
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
    return last
