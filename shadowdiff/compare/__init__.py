"""Compare v2's response with the one that v1 really gave.

Pure: no I/O, clock or randomness. `compare(pair, rules, limits)` never raises for what a response may hold.
"""

from shadowdiff.compare.engine import compare
from shadowdiff.compare.limits import COMPARED_HEADERS, Limits

__all__ = ["COMPARED_HEADERS", "Limits", "compare"]
