"""Compare v2's response with v1's response.

Pure: no I/O, clock or randomness. `compare(pair, rules, limits)` never raises an error, for any response.
`parse_exact` reads JSON without losing a digit. `json_patch` and `deep_diff` export how two values differ.
`by_likeness` pairs the unmatched elements of two arrays.
"""

from shadowdiff.compare.body_types import proposed_type
from shadowdiff.compare.compared_headers import ALL_HEADERS, EXCLUDED_HEADERS, ComparedHeaders, headers_of
from shadowdiff.compare.engine import compare
from shadowdiff.compare.exact import NotJsonError, parse_exact
from shadowdiff.compare.export import NotExportableError, deep_diff, json_patch
from shadowdiff.compare.formats import is_binary, read_value
from shadowdiff.compare.formats.grpc_web import with_web_trailers
from shadowdiff.compare.sequence import by_likeness
from shadowdiff.compare.work import Limits, limits_of

__all__ = [
    "ALL_HEADERS", "EXCLUDED_HEADERS", "ComparedHeaders", "Limits", "NotExportableError",
    "NotJsonError", "by_likeness", "compare", "deep_diff", "headers_of", "is_binary", "json_patch", "limits_of",
    "parse_exact", "proposed_type", "read_value", "with_web_trailers",
]  # fmt: skip
