r"""Fuzz the comparison, guided by coverage. Any bodies and headers must give a result quickly and within limits.

The section on fuzzing in CONTRIBUTING.md describes how to run the fuzzer. The first three bytes of an input select
format, coding and rules; then come two bodies separated by `\\xff\\xfe`.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

from shadowdiff.compare import Limits, compare
from shadowdiff.compare.formats import FORMATS, format_of
from shadowdiff.compare.protobuf import Descriptors
from shadowdiff.compare.work import TOO_COMPLEX
from shadowdiff.model import Headers, Pair, Result, Side
from shadowdiff.rules import compile_rules, parse_rules
from tests.fakes.responses import pair_of, response
from tests.fakes.shop_proto import descriptor_set

KEPT_TYPES: Final = (
    b"application/json",
    b"application/x-ndjson",
    b"text/event-stream",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data; boundary=b",
    b"application/xml",
    b"text/plain",
    b"text/html; charset=latin-1",
    b"application/octet-stream",
    b"application/json; charset=utf-16",
)
"""Inputs of the corpus refer to these types by position."""
GRAPHQL_TYPE: Final = b"application/graphql-response+json"
"""The route of a response with this type has a GraphQL operation."""


def example_type(media_type: str) -> bytes:
    """Return an example Content-Type for a format."""
    return f"{'application/x' if media_type.startswith('+') else ''}{media_type.replace('*', 'x')}".encode()


_KEPT_FORMATS: Final = {format_of(content_type)[0] for content_type in KEPT_TYPES}
CONTENT_TYPES: Final = (
    *KEPT_TYPES,
    *(example_type(one.media_types[0]) for one in FORMATS if one not in _KEPT_FORMATS),
    b"application/json-seq",
    b"application/cbor-seq",
    b"application/grpc-web-text",
    GRAPHQL_TYPE,
    b"multipart/mixed; boundary=b",
)
"""This includes at least one type of every registered format, and types that a format reads in another way."""
CODINGS: Final = (b"", b"gzip", b"deflate", b"br", b"zstd", b"br, gzip", b"zap")
DECLARED: Final[tuple[list[dict[str, Any]], ...]] = (
    [],
    [{"ignore": "$..a"}, {"unordered": "$..*"}],
    [{"key": {"path": "$", "by": ["a"]}}, {"tolerance": {"path": "$..*", "abs": 1, "time": "1s", "digits": 2}}],
    [{"schema": "$"}, {"mask": {"path": "text", "pattern": r"\d+"}}, {"mask": {"path": "$..*", "pattern": "a*"}}],
    [
        {"equivalent": {"path": "$..*", "as": ["null", "missing", "empty", "case", "number", "zero"]}},
        {"subset": "$"},
        {"rename": {"from": "$..*", "to": "camelCase"}},
    ],
    [
        {"ignore": "$..{json}.a"},
        {"rename": {"from": "$.a", "to": "$.b"}},
        {"rename": {"from": "$", "to": "$.c"}},
        {"require": "$..c"},
        {"ignore": "$[1:]"},
        {"join": "$[*]..a"},
    ],
)
RULES: Final = tuple(compile_rules(parse_rules(declared), datetime(2026, 1, 1, tzinfo=UTC)) for declared in DECLARED)
LIMITS: Final = Limits(decoded_bytes=1 << 20)
ROUTES: Final = ("POST /x", "POST /x#Items")
MESSAGES: Final = Descriptors(descriptor_set(), [(ROUTES[0], "google.protobuf.Value")])
LONGEST_S: Final = 2.0
_NO_EVIDENCE: Final = frozenset({TOO_COMPLEX, "primary_grpc_failed", "primary_graphql_failed"})
"""Why a response is not comparable with itself: v1 failed, or there is too much work."""


def run(data: bytes, limits: Limits = LIMITS) -> None:
    """Compare the two bodies of an input in both directions, and compare the first body with itself."""
    form, coding, rules = (*data[:3], 0, 0, 0)[:3]
    one, _, other = data[3:].partition(b"\xff\xfe")
    headers = (
        (b"content-type", CONTENT_TYPES[form % len(CONTENT_TYPES)]),
        (b"content-encoding", CODINGS[coding % len(CODINGS)]),
        (b"set-cookie", one[:40]),
        (b"cache-control", other[:40]),
    )
    chosen = RULES[rules % len(RULES)]
    there = compare(_pair(one, other, headers), chosen, limits, MESSAGES)
    back = compare(_pair(other, one, headers), RULES[0], limits, MESSAGES)
    same = compare(_pair(one, one, headers), chosen, limits, MESSAGES)
    if same.result is not Result.MATCH and same.reason not in _NO_EVIDENCE:
        raise AssertionError("a response differs from itself")
    if (there.result is Result.MATCH) != (back.result is Result.MATCH) and Result.INCOMPARABLE not in {
        there.result,
        back.result,
    }:
        raise AssertionError("rules or sides decide what matches")


def _pair(one: bytes, other: bytes, headers: Headers) -> Pair:
    sides = (
        response(which, body, fields, method="POST", path="/x")
        for which, body, fields in ((Side.PRIMARY, one, headers), (Side.CANDIDATE, other, (*headers, (b"date", b"x"))))
    )
    return pair_of(*sides, route=ROUTES[headers[0][1] == GRAPHQL_TYPE])


def timed(data: bytes) -> None:
    """Compare one input, and fail if it takes too much CPU time."""
    began_s = time.process_time()
    run(data)
    if time.process_time() - began_s > LONGEST_S:
        raise AssertionError(f"took more than {LONGEST_S:.0f} s")


def main() -> None:
    """Run the fuzzer until a signal or a limit stops it."""
    import atheris  # pyright: ignore[reportMissingImports, reportUnknownVariableType]  # not on every machine

    fuzzer: Any = atheris  # pyright: ignore[reportUnknownVariableType]
    fuzzer.instrument_all()
    fuzzer.Setup(sys.argv, timed)
    fuzzer.Fuzz()


if __name__ == "__main__":
    main()
