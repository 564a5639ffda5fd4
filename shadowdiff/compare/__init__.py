"""Compare v2's response with the one that v1 really gave.

Pure: no I/O, clock or randomness. `compare(pair, rules, limits)` never raises for what a response may hold.
`parse_exact` reads JSON without losing a digit; `json_patch` and `deep_diff` say how two values differ in the forms
that other tools read; `by_likeness` pairs what is left over between two arrays.
"""

from shadowdiff.compare.engine import compare
from shadowdiff.compare.exact import NotJsonError, parse_exact
from shadowdiff.compare.export import NotExportableError, deep_diff, json_patch
from shadowdiff.compare.limits import COMPARED_HEADERS, Limits
from shadowdiff.compare.messages import Messages, is_packed, read_message
from shadowdiff.compare.nearest import by_likeness

__all__ = [
    "COMPARED_HEADERS",
    "Limits",
    "Messages",
    "NotExportableError",
    "NotJsonError",
    "by_likeness",
    "compare",
    "deep_diff",
    "is_packed",
    "json_patch",
    "parse_exact",
    "read_message",
]
