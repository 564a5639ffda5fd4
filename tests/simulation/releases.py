"""Releases drawn by chance, and what different ways of deciding say of each while everyone looks.

In: true ratios per route, a seed.  Out: after how many pairs each way fails or passes a release for the first time.
Holds: every way is asked after every pair. Between two mismatches nothing that could fail happens, so the runs jump
from mismatch to mismatch; a pass can come in between, and is found by bisection.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shadowdiff.verdict.decide import Decision, find
from shadowdiff.verdict.evidence import Evidence, RouteEvidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Z_95 = 1.959964
DIFFY_RELATIVE = 20.0
DIFFY_ABSOLUTE = 0.03


@dataclass(frozen=True)
class Route:
    """A route: its share of the traffic, the true ratio of pairs that differ, how long a burst of one request is."""

    share: float
    ratio: float
    burst: int = 1


@dataclass
class Release:
    """One run: the pairs so far, by route in the order of first appearance."""

    counted: dict[int, list[int]] = field(default_factory=dict[int, list[int]])

    @property
    def n(self) -> int:
        """Pairs so far."""
        return sum(n for n, _ in self.counted.values())

    @property
    def k(self) -> int:
        """Pairs that differ."""
        return sum(k for _, k in self.counted.values())

    def add(self, route: int, *, differs: bool, times: int = 1) -> None:
        """Count one pair, or several alike."""
        counted = self.counted.setdefault(route, [0, 0])
        counted[0] += times
        counted[1] += times * differs

    def evidence(self) -> Evidence:
        """Return what the product reads of these pairs."""
        return Evidence(
            target="simulated",
            routes=tuple(
                RouteEvidence(
                    route=f"GET /{route}",
                    results={"match": n - k, "ignored": 0, "mismatch": k, "incomparable": 0},
                )
                for route, (n, k) in self.counted.items()
            ),
        )


def pairs(routes: Sequence[Route], n: int, dice: random.Random) -> Iterator[tuple[int, bool]]:
    """Yield each pair's route and whether it differs."""
    shares = [route.share for route in routes]
    drawn = 0
    while drawn < n:
        for route in dice.choices(range(len(routes)), shares, k=min(512, n - drawn)):
            yield route, dice.random() < routes[route].ratio
        drawn += 512


def first_fail(routes: Sequence[Route], n: int, allowed: float, seed: int) -> dict[str, int | None]:
    """Return after how many of `n` pairs each way of deciding fails the release for the first time; None if never.

    Ways: `sequence` is the product's; `fixed` is the 95 % interval of Wilson for a number of pairs fixed
    beforehand, looked at after every pair; `ratio` is the plain ratio above the limit, from the hundredth pair on.
    """
    release, dice = Release(), random.Random(seed)
    found: dict[str, int | None] = {"sequence": None, "fixed": None, "ratio": None}
    k = 0
    for seen, (route, differs) in enumerate(pairs(routes, n, dice), start=1):
        release.add(route, differs=differs)
        if not differs:
            continue
        k += 1
        if found["fixed"] is None and wilson_lower(seen, k) > allowed:
            found["fixed"] = seen
        if found["ratio"] is None and seen >= 100 and k / seen > allowed:
            found["ratio"] = seen
        if found["sequence"] is None and find(release.evidence(), allowed, None).decision is Decision.FAIL:
            found["sequence"] = seen
    return found


def wilson_lower(n: int, k: int) -> float:
    """Return the lower end of Wilson's 95 % interval, for a number of pairs that is fixed beforehand."""
    p, z2 = k / n, Z_95 * Z_95
    middle = p + z2 / (2 * n)
    return (middle - Z_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)


def verdicts(
    routes: Sequence[Route], n: int, allowed: float, seed: int, every: int = 1
) -> Iterator[tuple[int, Release, Decision]]:
    """Yield the verdict after every pair that differs, and otherwise after every so many."""
    release, dice = Release(), random.Random(seed)
    for seen, (route, differs) in enumerate(pairs(routes, n, dice), start=1):
        release.add(route, differs=differs)
        if differs or seen % every == 0:
            yield seen, release, find(release.evidence(), allowed, None).decision


def diffy_fails(raw: int, noise: int, n: int) -> bool:
    """Return whether Diffy would call an endpoint's field different: both of its default thresholds passed.

    Source: Diffy's defaults `threshold.relative=20.0` and `threshold.absolute=0.03`, in per cent, of raw differences
    over noise (the second primary's), relative to both, and over all requests.
    """
    if raw <= noise:
        return False
    relative = (raw - noise) / (raw + noise) * 100
    absolute = (raw - noise) / n * 100
    return relative > DIFFY_RELATIVE and absolute > DIFFY_ABSOLUTE


def binomial_bound(runs: int, level: float, sure: float = 3.09) -> float:
    """Return the share of `runs` that a true rate of `level` passes with a chance of 1 in 1,000 only (normal bound)."""
    return level + sure * math.sqrt(level * (1 - level) / runs)
