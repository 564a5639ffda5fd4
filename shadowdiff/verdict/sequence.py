"""Where a true ratio lies, said so that it holds however often somebody looks.

In: n pairs, k of them differing, the ratio that is allowed.  Out: evidence, decisions, an interval.
Holds: over all of time together, an end of the interval is wrong in at most a share `alpha` of all runs.
The method is the beta-binomial mixture: under the ratio p, M(n) = B(a+k, b+n-k) / B(a, b) / (p^k (1-p)^(n-k))
is a martingale of mean 1, so that it ever reaches 1/alpha with a chance of at most alpha (Ville's inequality).
Sources: Robbins, "Statistical methods related to the law of the iterated logarithm" (1970); Howard, Ramdas,
McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences" (2021).
Reads no clock and no store; what is asked again is answered from a bounded memory.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_STEPS: Final = 60
_KEPT: Final = 16_384
MOST_PAIRS: Final = 1 << 40
"""Beyond this no number of pairs is foretold."""


def log_mixture(n: float, k: float, allowed: float, *, broad: bool = False) -> float:
    """Return the logarithm of the mixture's chance of k of n, in the order in which they came.

    The prior is Beta(1, 1/allowed), whose weight lies where the decision is taken: a clean gate of 0.1 % passes
    after 4,800 pairs, where a uniform prior takes 12,500. `broad` gives half of the weight to the uniform prior,
    so that a few pairs that all differ are enough; that is for routes with little traffic.
    """
    near = _log_beta_ratio(n, k, 1 / allowed if allowed > 0 else 1.0)
    if not broad:
        return near
    wide = _log_beta_ratio(n, k, 1.0)
    high = max(near, wide)
    return high + math.log((math.exp(near - high) + math.exp(wide - high)) / 2)


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
    """Return log M(n) at the allowed ratio: how much better than it any other ratio explains what was seen."""
    if allowed <= 0:
        return math.inf if k else 0.0
    return log_mixture(n, k, allowed, broad=broad) - log_chance(n, k, allowed)


def exceeds(n: float, k: float, allowed: float, alpha: float, *, broad: bool = False) -> bool:
    """Return whether the lower end of the interval has passed the allowed ratio."""
    return n > 0 and k / n > allowed and evidence(n, k, allowed, broad=broad) >= -math.log(alpha)


def stays_within(n: float, k: float, allowed: float, alpha: float) -> bool:
    """Return whether the upper end of the interval is at or below the allowed ratio."""
    if allowed >= 1:
        return n > 0
    return n > 0 and allowed > 0 and k / n < allowed and evidence(n, k, allowed) >= -math.log(alpha)


@lru_cache(maxsize=_KEPT)
def lower_end(n: int, k: int, allowed: float, alpha: float, *, broad: bool = False) -> float:
    """Return the smallest ratio that still explains k of n."""
    if n == 0 or k == 0:
        return 0.0
    bar = log_mixture(n, k, allowed, broad=broad) + math.log(alpha)
    return _crossing(n, k, bar, inside=k / n, outside=0.0)


@lru_cache(maxsize=_KEPT)
def upper_end(n: int, k: int, allowed: float, alpha: float) -> float:
    """Return the largest ratio that still explains k of n."""
    if n in {0, k}:
        return 1.0
    bar = log_mixture(n, k, allowed) + math.log(alpha)
    return _crossing(n, k, bar, inside=k / n, outside=1.0)


def _crossing(n: int, k: int, bar: float, *, inside: float, outside: float) -> float:
    """Return where the chance falls to `bar` on the way from the observed ratio outward, to the outer side."""
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if middle > 0 and log_chance(n, k, middle) > bar:
            inside = middle
        else:
            outside = middle
    return outside


def pairs_until_within(n: int, k: int, allowed: float, alpha: float) -> int | None:
    """Return how many more pairs take the upper end to the allowed ratio if they differ as those seen did.

    None where that never comes: what was seen lies at or above the allowed ratio, or nothing is allowed.
    """
    if allowed >= 1:
        return 0 if n else 1
    if allowed <= 0 or (n and k / n >= allowed):
        return None
    return _least(n, lambda total: stays_within(total, k * total / n if n else 0.0, allowed, alpha))


def pairs_until_exceeds(n: int, k: int, allowed: float, alpha: float) -> int | None:
    """Return how many more pairs take the lower end past the allowed ratio if they differ as those seen did."""
    if n == 0 or k / n <= allowed:
        return None
    return _least(n, lambda total: exceeds(total, k * total / n, allowed, alpha))


def _least(n: int, holds: Callable[[int], bool]) -> int | None:
    """Return the least number of further pairs at which `holds`, which once true stays true."""
    if holds(n):
        return 0
    step = 1
    while not holds(n + step):
        step *= 2
        if step > MOST_PAIRS:
            return None
    low, high = step // 2, step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(n + middle) else (middle, high)
    return high


def chance_of_so_many(n: int, k: int, p: float) -> float:
    """Return the chance of k or more of n at the ratio p, by the binomial."""
    if k == 0:
        return 1.0
    if p <= 0:
        return 0.0
    if p >= 1:
        return 1.0
    below = 0.0
    term = n * math.log1p(-p)
    for j in range(k):
        below += math.exp(term)
        term += math.log((n - j) / (j + 1)) + math.log(p) - math.log1p(-p) if j < n else 0.0
    return max(0.0, 1.0 - below)
