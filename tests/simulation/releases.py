"""Simulate releases, and find the number of pairs after which each method first fails or passes a release.

Every method is checked after every pair. A verdict can become `fail` only at a mismatch, so the simulation jumps from
one mismatch to the next. Bisection finds the first pass between two mismatches.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shadowdiff.verdict.decide import ALPHA, ALPHA_TARGET, Decision, find
from shadowdiff.verdict.evidence import Evidence, RouteEvidence
from shadowdiff.verdict.sequence import log_chance, log_mixture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Z_95 = 1.959964
DIFFY_RELATIVE = 20.0
DIFFY_ABSOLUTE = 0.03


@dataclass(frozen=True)
class Route:
    """A route: its share of the traffic, its true ratio of differing pairs, and the length of its bursts."""

    share: float
    ratio: float
    burst: int = 1


@dataclass
class Release:
    """One run: the pairs of each route, with routes in order of first appearance."""

    counted: dict[int, list[int]] = field(default_factory=dict[int, list[int]])

    @property
    def n(self) -> int:
        """The number of pairs."""
        return sum(n for n, _ in self.counted.values())

    @property
    def k(self) -> int:
        """The number of pairs that differ."""
        return sum(k for _, k in self.counted.values())

    def add(self, route: int, *, differs: bool, times: int = 1) -> None:
        """Count one pair, or several equal pairs."""
        counted = self.counted.setdefault(route, [0, 0])
        counted[0] += times
        counted[1] += times * differs

    def evidence(self) -> Evidence:
        """Return the evidence that the product reads from these pairs."""
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
    """Yield each pair's route and whether the pair differs."""
    shares = [route.share for route in routes]
    drawn = 0
    while drawn < n:
        for route in dice.choices(range(len(routes)), shares, k=min(512, n - drawn)):
            yield route, dice.random() < routes[route].ratio
        drawn += 512


def first_fail(routes: Sequence[Route], n: int, allowed: float, seed: int) -> dict[str, int | None]:
    """For each method, return the number of pairs after which it first fails the release, or None after `n` pairs.

    `sequence` is the product's method. `fixed` is Wilson's 95 % interval, which is valid for one check. The simulation
    checks the interval after every pair. `ratio` compares the plain ratio with the limit, starting at the hundredth
    pair.
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
    """Return the lower end of Wilson's 95 % interval, which is valid for one check."""
    p, z2 = k / n, Z_95 * Z_95
    middle = p + z2 / (2 * n)
    return (middle - Z_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)


def misses(ratio: float, n: int, allowed: float, seed: int, *, broad: bool) -> dict[str, bool]:
    """For each interval, return whether it excludes the true ratio after any of `n` pairs.

    `sequence` is the product's interval. Its lower end uses half of the error level (`broad` for a route). `fixed` is
    the lower end of Wilson's interval, which is valid for one check. The function reads only M, because the product
    computes both ends of its interval from M. `tests/unit/verdict/test_sequence.py` checks that M and the interval
    agree.
    """
    dice, k = random.Random(seed), 0
    found = {"sequence": False, "fixed": False}
    for seen in range(1, n + 1):
        k += dice.random() < ratio
        alpha = ALPHA_TARGET if k / seen > ratio else ALPHA
        log_m = log_mixture(seen, k, allowed, broad=broad) - log_chance(seen, k, ratio)
        found["sequence"] |= log_m >= -math.log(alpha)
        found["fixed"] |= k > 0 and wilson_lower(seen, k) > ratio
    return found


def verdicts(
    routes: Sequence[Route], n: int, allowed: float, seed: int, every: int = 1
) -> Iterator[tuple[int, Release, Decision]]:
    """Yield the verdict after every pair that differs, and at regular intervals between them."""
    release, dice = Release(), random.Random(seed)
    for seen, (route, differs) in enumerate(pairs(routes, n, dice), start=1):
        release.add(route, differs=differs)
        if differs or seen % every == 0:
            yield seen, release, find(release.evidence(), allowed, None).decision


def diffy_fails(raw: int, noise: int, n: int) -> bool:
    """Return whether Diffy reports a field of an endpoint as different, by its two default thresholds.

    Source: Diffy's defaults `threshold.relative=20.0` and `threshold.absolute=0.03`, in per cent. Diffy subtracts the
    second primary's differences (the noise) from v2's, and divides the rest by the sum of both, and by the number of
    requests.
    """
    if raw <= noise:
        return False
    relative = (raw - noise) / (raw + noise) * 100
    absolute = (raw - noise) / n * 100
    return relative > DIFFY_RELATIVE and absolute > DIFFY_ABSOLUTE


def binomial_bound(runs: int, level: float, sure: float = 3.09) -> float:
    """Return a share of failures that chance exceeds once in 1,000 times if each run fails with probability `level`."""
    return level + sure * math.sqrt(level * (1 - level) / runs)
