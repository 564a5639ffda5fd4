"""Confidence sequences: bounds of a ratio, and bets on a difference. Both stay valid if they are read many times.

Pure functions with a limited cache. Given the true ratio p, the beta-binomial mixture M(n) = B(a+k, b+n-k) / B(a, b) /
(p^k (1-p)^(n-k)) is a martingale of mean 1, and so is a weighted mean of several. By Ville's inequality, it ever
reaches 1/alpha with probability at most alpha, so each bound is wrong in at most a share `alpha` of all runs.

Sources: Robbins, "Statistical methods related to the law of the iterated logarithm" (1970); Howard, Ramdas, McAuliffe
and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences" (2021); McNemar, "Note on the sampling
error of the difference between correlated proportions", Psychometrika 12 (1947); Waudby-Smith and Ramdas, "Estimating
means of bounded random variables by betting", JRSS B 86 (2024).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FLAT: Final = 0.01
"""The flat prior's share: narrow intervals far from the limit, for few further pairs until a pass. docs/verdict.md has
the measurements."""
FLAT_OF_ROUTES: Final = 0.5
_STEPS: Final = 60
_KEPT: Final = 16_384
_HALVINGS: Final = 8
_ALL_IN: Final = 0.6
_STAKES: Final = 12
"""How many stakes bet on a small excess. Their sizes are halved; the weight of the nth is proportional to 1/n."""
_STAKE_WEIGHTS: Final = tuple(1 / n / sum(1 / m for m in range(1, _STAKES + 1)) for n in range(1, _STAKES + 1))
MOST_PAIRS: Final = 1 << 40
"""The maximum number of pairs that is predicted."""


def log_mixture(n: float, k: float, allowed: float, *, broad: bool = False) -> float:
    """Return the log probability of k mismatches in n pairs, in order of arrival, under the mixture.

    Most of the prior is Beta(1, 1/allowed), which has its weight near the limit. The share `FLAT` is uniform, so that
    the interval is also narrow far from the limit. With `broad`, the uniform share is 1/2, so that a few pairs that all
    differ are enough on a route with little traffic.
    """
    flat = FLAT_OF_ROUTES if broad else FLAT
    near = math.log1p(-flat) + _log_beta_ratio(n, k, 1 / allowed if allowed > 0 else 1.0)
    wide = math.log(flat) + _log_beta_ratio(n, k, 1.0)
    high = max(near, wide)
    return high + math.log(math.exp(near - high) + math.exp(wide - high))


def _log_beta_ratio(n: float, k: float, b: float) -> float:
    """Return log B(1+k, b+n-k) - log B(1, b)."""
    return math.lgamma(1 + k) + math.lgamma(b + n - k) - math.lgamma(1 + b + n) + math.log(b)


def log_chance(n: float, k: float, p: float) -> float:
    """Return the logarithm of p^k (1-p)^(n-k)."""
    differing = k * math.log(p) if k else 0.0
    if n == k:
        return differing
    return differing + ((n - k) * math.log1p(-p) if p < 1 else -math.inf)


def evidence(n: float, k: float, allowed: float, *, broad: bool = False) -> float:
    """Return log M(n) at the allowed ratio; it measures how much better other ratios explain the counts."""
    if allowed <= 0:
        return math.inf if k else 0.0
    return log_mixture(n, k, allowed, broad=broad) - log_chance(n, k, allowed)


def exceeds(n: float, k: float, allowed: float, alpha: float, *, broad: bool = False) -> bool:
    """Return whether the lower end of the interval is above the allowed ratio."""
    return n > 0 and k / n > allowed and evidence(n, k, allowed, broad=broad) >= -math.log(alpha)


def stays_within(n: float, k: float, allowed: float, alpha: float) -> bool:
    """Return whether the upper end of the interval is at or below the allowed ratio."""
    if allowed >= 1:
        return n > 0
    return n > 0 and allowed > 0 and k / n < allowed and evidence(n, k, allowed) >= -math.log(alpha)


@lru_cache(maxsize=_KEPT)
def lower_end(n: int, k: int, allowed: float, alpha: float, *, broad: bool = False) -> float:
    """Return the lower end of the interval for k mismatches in n pairs."""
    if n == 0 or k == 0:
        return 0.0
    bar = log_mixture(n, k, allowed, broad=broad) + math.log(alpha)
    return _crossing(n, k, bar, inside=k / n, outside=0.0)


@lru_cache(maxsize=_KEPT)
def upper_end(n: int, k: int, allowed: float, alpha: float) -> float:
    """Return the upper end of the interval for k mismatches in n pairs."""
    if n in {0, k}:
        return 1.0
    bar = log_mixture(n, k, allowed) + math.log(alpha)
    return _crossing(n, k, bar, inside=k / n, outside=1.0)


def _crossing(n: int, k: int, bar: float, *, inside: float, outside: float) -> float:
    """Return the ratio where the probability falls to `bar`, searching outward from the observed ratio."""
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if middle > 0 and log_chance(n, k, middle) > bar:
            inside = middle
        else:
            outside = middle
    return outside


def pairs_until_within(n: int, k: int, allowed: float, alpha: float) -> int | None:
    """Return how many more pairs lower the upper end to the allowed ratio, if the mismatch ratio stays the same.

    None if no number of pairs does so: the current ratio is not below the allowed ratio, or the allowed ratio is 0.
    """
    if allowed >= 1:
        return 0 if n else 1
    if allowed <= 0 or (n and k / n >= allowed):
        return None
    return _least(n, lambda total: stays_within(total, k * total / n if n else 0.0, allowed, alpha))


def pairs_until_exceeds(n: int, k: int, allowed: float, alpha: float) -> int | None:
    """Return how many more pairs raise the lower end above the allowed ratio, if the mismatch ratio stays the same."""
    if n == 0 or k / n <= allowed:
        return None
    return _least(n, lambda total: exceeds(total, k * total / n, allowed, alpha))


def _least(n: int, holds: Callable[[int], bool]) -> int | None:
    """Return the smallest number of further pairs for which `holds` is true, and stays true for larger numbers."""
    more = bisect_left(range(MOST_PAIRS + 1), x=True, key=lambda more: holds(n + more))
    return more if more <= MOST_PAIRS else None


def chance_of_so_many(n: int, k: int, p: float) -> float:
    """Return the binomial probability of k or more of n at the ratio p."""
    if k == 0 or p >= 1:
        return 1.0
    if p <= 0:
        return 0.0
    below = 0.0
    term = n * math.log1p(-p)
    for j in range(k):
        below += math.exp(term)
        term += math.log((n - j) / (j + 1)) + math.log(p) - math.log1p(-p) if j < n else 0.0
    return max(0.0, 1.0 - below)


@lru_cache(maxsize=_KEPT)
def log_excess(n: int, b: int, c: int, allowed: float) -> float:
    """Return log M(n) of a bet that v2 differs more often than v1 differs from itself.

    In n triples, only v2 differs in b triples, and only the control in c. Each triple gives X = 1 (only v2), -1 (only
    the control) or 0, whose mean is at most `allowed` under the null hypothesis. Then betting a share s of the stake on
    X - allowed gains nothing on average: M(n) = (1+s(1-a))^b (1-s(1+a))^c (1-sa)^(n-b-c) is a supermartingale for each
    s, and so is a weighted mean over several s. At a = 0, M(n) is the sequential form of McNemar's test of b against c.
    The largest share loses its whole stake in the first triple in which only the control differs. It has the highest
    weight, because in places without noise it needs the fewest triples to prove that v2 differs.
    """
    if b <= c:  # in this case no bet gains
        return 0.0
    most = 1 / (1 + allowed)
    terms: list[float] = []
    for halving in range(_HALVINGS):
        if halving == 0 and c:
            continue
        share = most / 2**halving
        weight = _ALL_IN if halving == 0 else (1 - _ALL_IN) / (_HALVINGS - 1)
        won = b * math.log1p(share * (1 - allowed))
        lost = c * math.log1p(-share * (1 + allowed)) if c else 0.0
        terms.append(math.log(weight) + won + lost + (n - b - c) * math.log1p(-share * allowed))
    high = max(terms)
    return high + math.log(sum(math.exp(term - high) for term in terms))


def is_excess(n: int, b: int, c: int, allowed: float, alpha: float) -> bool:
    """Return whether v2 differs more often than v1 differs from itself, by more than `allowed`."""
    return b > c and log_excess(n, b, c, allowed) >= -math.log(alpha)


def log_no_excess(n: float, b: float, c: float, allowed: float) -> float:
    """Return log M(n) of a bet that v2 differs at most `allowed` more often than v1 differs from itself.

    It is the opposite bet of `log_excess`. If the mean of X is at least `allowed`, betting a share s of the stake on
    allowed - X gains nothing on average: M(n) = (1-s(1-a))^b (1+s(1+a))^c (1+sa)^(n-b-c) is a supermartingale for each
    s below 1/(1-a), and so is a weighted mean over several s. If the sides differ equally often, in a share q of the
    triples, it needs about 11 q / a² of them.
    """
    terms: list[float] = []
    for number, weight in enumerate(_STAKE_WEIGHTS, start=1):
        share = 0.5**number / (1 - allowed)
        lost, won = b * math.log1p(-share * (1 - allowed)), c * math.log1p(share * (1 + allowed))
        terms.append(math.log(weight) + lost + won + (n - b - c) * math.log1p(share * allowed))
    high = max(terms)
    return high + math.log(sum(math.exp(term - high) for term in terms))


def has_no_excess(n: float, b: float, c: float, allowed: float, alpha: float) -> bool:
    """Return whether v2 differs at most `allowed` more often than v1 differs from itself."""
    if not 0 < allowed < 1:
        return False
    return n > 0 and (b - c) / n < allowed and log_no_excess(n, b, c, allowed) >= -math.log(alpha)


def triples_until_no_excess(n: int, b: int, c: int, allowed: float, alpha: float) -> int | None:
    """Return how many more triples prove that v2 has no excess, if from now on both sides differ equally often.

    None if no number of triples does so, because the allowed excess is 0.
    """
    if not 0 < allowed < 1 or n == 0:
        return None
    each = (b + c) / (2 * n)
    return _least(0, lambda more: has_no_excess(n + more, b + each * more, c + each * more, allowed, alpha))
