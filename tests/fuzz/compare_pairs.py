r"""Fuzz the comparison, guided by coverage: any bytes under any headers give a result, soon and within bounds.

Run: CONTRIBUTING.md says how, in the section on fuzzing.
An input is a byte each for form, coding and rules, then two bodies parted by `\\xff\\xfe`.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

from shadowdiff.compare import Limits, compare
from shadowdiff.model import Observation, Pair, Result, Side
from shadowdiff.rules import compile_rules, parse_rules

FORMS: Final = (
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
CODINGS: Final = (b"", b"gzip", b"deflate", b"br", b"zstd", b"br, gzip", b"zap")
DECLARED: Final[tuple[list[dict[str, Any]], ...]] = (
    [],
    [{"ignore": "$..a"}, {"unordered": "$..*"}],
    [{"key": {"path": "$", "by": ["a"]}}, {"tolerance": {"path": "$..*", "abs": 1, "time": "1s", "digits": 2}}],
    [{"schema": "$"}, {"mask": {"path": "text", "pattern": r"\d+"}}, {"mask": {"path": "$..*", "pattern": "a*"}}],
    [{"equivalent": {"path": "$..*", "as": ["null", "missing", "empty", "case", "number"]}}, {"subset": "$"}],
    [{"rename": {"from": "$.a", "to": "$.b"}}, {"require": "$..c"}, {"ignore": "$[1:]"}],
)
RULES: Final = tuple(compile_rules(parse_rules(declared), datetime(2026, 1, 1, tzinfo=UTC)) for declared in DECLARED)
LIMITS: Final = Limits(decoded_bytes=1 << 20)
LONGEST_S: Final = 2.0


def run(data: bytes) -> None:
    """Compare the two bodies that one input holds, both ways round and each with itself."""
    form, coding, rules = (*data[:3], 0, 0, 0)[:3]
    one, _, other = data[3:].partition(b"\xff\xfe")
    headers = (
        (b"content-type", FORMS[form % len(FORMS)]),
        (b"content-encoding", CODINGS[coding % len(CODINGS)]),
        (b"set-cookie", one[:40]),
        (b"cache-control", other[:40]),
    )
    chosen = RULES[rules % len(RULES)]
    there = compare(_pair(one, other, headers), chosen, LIMITS)
    back = compare(_pair(other, one, headers), RULES[0], LIMITS)
    if compare(_pair(one, one, headers), chosen, LIMITS).result is not Result.MATCH:
        raise AssertionError("a response differs from itself")
    if (there.result is Result.MATCH) != (back.result is Result.MATCH) and Result.INCOMPARABLE not in {
        there.result,
        back.result,
    }:
        raise AssertionError("rules or sides decide what matches")


def _pair(one: bytes, other: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> Pair:
    return Pair(
        key=b"",
        target="t",
        route="GET /x",
        primary=_observation(Side.PRIMARY, one, headers),
        candidate=_observation(Side.CANDIDATE, other, (*headers, (b"date", b"x"))),
    )


def _observation(side: Side, body: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> Observation:
    return Observation(
        side=side,
        target="t",
        id="i",
        id_source="x-request-id",
        method="GET",
        path="/x",
        host="h",
        status=200,
        headers=headers,
        body=body,
        body_bytes=len(body),
    )


def timed(data: bytes) -> None:
    """Compare what one input holds within its time: the process's own, so that a busy machine is no fault."""
    began_s = time.process_time()
    run(data)
    if time.process_time() - began_s > LONGEST_S:
        raise AssertionError(f"took more than {LONGEST_S:.0f} s")


def main() -> None:
    """Fuzz until told to stop."""
    import atheris  # pyright: ignore[reportMissingImports, reportUnknownVariableType]  # not on every machine

    fuzzer: Any = atheris  # pyright: ignore[reportUnknownVariableType]
    fuzzer.instrument_all()
    fuzzer.Setup(sys.argv, timed)
    fuzzer.Fuzz()


if __name__ == "__main__":
    main()
