"""Simulate v1, v2 and a control. v1 has noise on some of 40 paths, requests come in bursts, and v2 may have a fault.

After every pair, every decision method may decide. The simulation skips pairs that cannot change a verdict, by an upper
bound on the evidence. The product decides all other pairs. Each path of a response has an unusual value with a
probability for which two v1 responses differ at the requested rate. In a burst of equal requests, each side repeats its
response.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shadowdiff.verdict.decide import ALPHA_TARGET, Decision, Finding, find
from shadowdiff.verdict.evidence import Evidence, RouteEvidence
from shadowdiff.verdict.noise_gate import Noise, with_noise
from shadowdiff.verdict.noise_set import Cells, Learned, NoiseSet, NoiseState, Place, Source, choose
from shadowdiff.verdict.sequence import exceeds
from shadowdiff.verdict.triples import TripleCounts
from tests.simulation.releases import Z_95, diffy_fails

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATHS = 40
LEARN = 1000
ROUTE = "GET /"
_NEEDED = 6.5
"""Less evidence than this, of all tests here, never fails: each level is below exp(-6.5)."""


def place(path: int) -> Place:
    """Return the path as a difference's location."""
    return Place(ROUTE, f"$['{path:02}']", "value", "text")


def odd(rates: Sequence[float], n: int, dice: random.Random) -> list[int]:
    """Draw the changed paths of each of n responses. Two responses differ in a path at the path's given rate."""
    found = [0] * n
    for path, rate in enumerate(rates):
        if rate <= 0:
            continue
        chance = 1 - math.sqrt(1 - rate)
        miss = math.log1p(-chance)
        at = int(math.log(1 - dice.random()) / miss)
        while at < n:
            found[at] |= 1 << path
            at += 1 + int(math.log(1 - dice.random()) / miss)
    return found


def bits(word: int) -> Iterator[int]:
    """Yield the index of each bit that is set in an integer."""
    while word:
        low = word & -word
        yield low.bit_length() - 1
        word ^= low


def learned(rates: Sequence[float], dice: random.Random) -> NoiseSet:
    """Return the noise set that the product freezes after the given number of triples, if v1 and v2 are equal."""
    sides = [odd(rates, LEARN, dice) for _ in range(3)]
    halves: tuple[dict[Place, Cells], dict[Place, Cells]] = ({}, {})
    for number, (ours, theirs, control) in enumerate(zip(*sides, strict=True)):
        raw, noise = ours | theirs, ours | control
        for word, cell in ((raw & ~noise, "raw"), (noise & ~raw, "noise"), (raw & noise, "both")):
            for path in bits(word):
                into, name = halves[number & 1], place(path)
                into[name] = into.get(name, Cells()) + Cells(**{cell: 1})
    made = (
        Learned(triples={ROUTE: LEARN // 2}, cells=halves[0]),
        Learned(triples={ROUTE: LEARN // 2}, cells=halves[1]),
    )
    return choose(made, version=1, source=Source.CONTROL, now_ms=0, candidate="")


@dataclass
class Counts:
    """The counts of one run."""

    known: NoiseSet
    n: int = 0
    mismatches: int = 0
    distinct: int = 0
    triples: int = 0
    outside: list[int] = field(default_factory=lambda: [0, 0, 0])
    raw: list[int] = field(default_factory=lambda: [0] * PATHS)
    noise: list[int] = field(default_factory=lambda: [0] * PATHS)
    both: list[int] = field(default_factory=lambda: [0] * PATHS)

    def verdict(self, allowed: float) -> Finding:
        """Return the product's decision."""
        triples = TripleCounts(all=self.triples, cells=Cells(*self.outside))
        route = RouteEvidence(
            route=ROUTE,
            results={"match": self.n - self.mismatches, "ignored": 0, "mismatch": self.mismatches, "incomparable": 0},
            distinct=self.distinct,
            triples=triples,
        )
        cells = {
            place(path): TripleCounts(cells=Cells(self.raw[path], self.noise[path], self.both[path]))
            for path in range(PATHS)
            if self.raw[path] or self.noise[path]
        }
        evidence = Evidence(target="simulated", routes=(route,), cells=cells)
        state = NoiseState(rev=1, known=self.known)
        return with_noise(find(evidence, allowed, None), evidence, allowed, Noise(state=state, controlled=True), "1")


def first_fail(
    rates: Sequence[float],
    n: int,
    allowed: float,
    seed: int,
    *,
    wrong: float = 0.0,
    share: float = 1.0,
    bursts: float = 0.0,
) -> dict[str, int | None]:
    """For each method, return the number of pairs after which the method first fails v2.

    wrong: how often v2 is wrong in a path without noise. share: the share of requests that the control also receives.
    bursts: the share of requests that come 5 to 50 times within a second. The method `sequence` is the product's.
    `fixed` is McNemar's test of the same triples on any path, at the 95 % level of a single check. It starts at the
    tenth discordant triple. `diffy` uses Diffy's thresholds on any path, starting at the hundredth triple. A run with a
    wrong path ends when the product detects it.
    """
    dice = random.Random(seed)
    counts = Counts(learned(rates, dice))
    inside = sum(1 << int(one.path[3:5]) for one in counts.known.places)
    ours, theirs, control = (odd(rates, n, dice) for _ in range(3))
    found: dict[str, int | None] = {"sequence": None, "fixed": None, "diffy": None}
    number = 0
    while counts.n < n and not (wrong and found["sequence"]):
        p, v, c = ours[number], theirs[number], control[number]
        number += 1
        if wrong and dice.random() < wrong:
            v |= 1 << (PATHS - 1)
        times = dice.randint(5, 50) if bursts and dice.random() < bursts else 1
        counts.n += times
        has_control = share >= 1 or dice.random() < share
        counts.triples += has_control
        if p or v or c:
            _count(counts, (p | v, p | c), inside, times, has_control=has_control)
            _look(counts, found, allowed, has_control=has_control, changed=(p | v) & ~p)
    return found


def _count(counts: Counts, words: tuple[int, int], inside: int, times: int, *, has_control: bool) -> None:
    raw, noise = words
    ours, theirs = raw & ~inside, noise & ~inside
    if ours:
        counts.mismatches += times
        counts.distinct += 1
    if has_control:
        if ours or theirs:
            counts.outside[2 if ours and theirs else 0 if ours else 1] += 1
        for word, into in ((raw & ~noise, counts.raw), (noise & ~raw, counts.noise), (raw & noise, counts.both)):
            for path in bits(word):
                into[path] += 1


def _look(counts: Counts, found: dict[str, int | None], allowed: float, *, has_control: bool, changed: int) -> None:
    for path in bits(changed if has_control and found["fixed"] is None else 0):
        b, c = counts.raw[path], counts.noise[path]
        if b + c >= 10 and b - c > Z_95 * math.sqrt(b + c):
            found["fixed"] = counts.n
    if has_control and counts.triples >= 100 and found["diffy"] is None:
        for path in bits(changed):
            raw, noise = counts.raw[path] + counts.both[path], counts.noise[path] + counts.both[path]
            if diffy_fails(raw, noise, counts.triples):
                found["diffy"] = counts.n
    may_fail = found["sequence"] is None and _may_fail(counts, allowed, changed)
    if may_fail and counts.verdict(allowed).decision is Decision.FAIL:
        found["sequence"] = counts.n


def _may_fail(counts: Counts, allowed: float, changed: int) -> bool:
    """Return whether the product can fail v2 with these counts. For any limit, log M is at most (b-c)²/(b+c)."""
    outside = changed & ~sum(1 << int(one.path[3:5]) for one in counts.known.places)
    if outside and counts.mismatches >= 3 and exceeds(counts.n, counts.mismatches, allowed, ALPHA_TARGET):
        return True
    for path in bits(changed):
        b, c = counts.raw[path], counts.noise[path]
        if b > c and (b - c) ** 2 > _NEEDED * (b + c):
            return True
    return False
