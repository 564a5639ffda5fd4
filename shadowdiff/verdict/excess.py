"""Whether v2 differs oftener than v1 does from itself, by more than is allowed, said so that it holds at every look.

In: of n triples, how often v2 alone differs (b) and how often the control alone does (c).  Out: evidence, decisions.
Holds: each triple gives X = 1 (v2 alone), -1 (the control alone) or 0. Where v2's own excess is at most `allowed`,
the mean of X is too, whatever noise both share, and whoever bets a share of the stake on X - allowed wins nothing on
average: M(n) = (1 + s(1-a))^b (1 - s(1+a))^c (1 - sa)^(n-b-c) is a supermartingale for each share s, a weighted mean
of several as well, and it ever reaches 1/alpha with a chance of at most alpha (Ville's inequality). At a = 0 it is
the sequential form of McNemar's test of b against c. The largest share loses all with the first c; it finds what
never is noise soonest, so that it has most of the weight.
Sources: McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12
(1947); Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

_HALVINGS: Final = 8
_ALL_IN: Final = 0.6
_KEPT: Final = 16_384


@lru_cache(maxsize=_KEPT)
def log_excess(n: int, b: int, c: int, allowed: float) -> float:
    """Return log M(n)."""
    if b <= c:  # no share of the stake gains then
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
    """Return whether v2 differs oftener than v1 from itself by more than `allowed`, at the level `alpha`."""
    return b > c and log_excess(n, b, c, allowed) >= -math.log(alpha)
