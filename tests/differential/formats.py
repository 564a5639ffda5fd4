"""Compare cases in other formats than JSON, and streams under `join` rules, with the reference."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.compare.protobuf import Descriptors
from shadowdiff.model import Comparison, Side
from tests.differential import streams
from tests.differential.check import INSTANT, inconsistent
from tests.differential.encode import ENCODERS
from tests.differential.reference import ROUTE, expected
from tests.fakes.responses import compared, response
from tests.fakes.shop_proto import descriptor_set

if TYPE_CHECKING:
    from tests.differential.encode import Encoded
    from tests.differential.generate import Case
    from tests.differential.streams import Stream

MESSAGES: Final = Descriptors(descriptor_set(), [(ROUTE, "google.protobuf.Value")])
JOIN: Final = "join"
FORMATS: Final = (*ENCODERS, JOIN)


class Checked(NamedTuple):
    """The format and the result of a case; what is wrong with the result, and then the encoded case."""

    format: str
    result: str
    fault: str = ""
    encoded: str = ""


def check(seed: int, case: Case) -> Checked:
    """Encode a case in one of the formats that can express it, and compare it. The seed chooses the format."""
    random = Random(seed)
    for name in random.sample(FORMATS, len(FORMATS)):
        if name == JOIN:
            break
        if encoded := ENCODERS[name](random, case):
            return _checked(name, encoded)
    stream = streams.drawn(random)
    return _checked(JOIN, streams.encoded(random, stream), stream)


def _checked(name: str, encoded: Encoded, stream: Stream | None = None) -> Checked:
    try:
        comparison = run(encoded)
    except Exception as error:  # noqa: BLE001  any exception is a fault of the comparison
        return Checked(name, "", f"{name}: raised {type(error).__name__}", repr(encoded))
    allowed = _allowed(encoded, stream, strict=True)
    if allowed == {"mismatch"} and not encoded.decided:
        allowed |= _allowed(encoded, stream, strict=False)
    wrong = _wrong(comparison, allowed)
    return Checked(name, str(comparison.result), f"{name}: {wrong}" if wrong else "", repr(encoded) if wrong else "")


def _allowed(encoded: Encoded, stream: Stream | None, *, strict: bool) -> set[str]:
    if encoded.decided:
        return {encoded.decided}
    return {streams.expected(stream, strict=strict) if stream else expected(*encoded.case, strict=strict)}


def _wrong(comparison: Comparison, allowed: set[str]) -> str:
    got = str(comparison.result)
    if got not in allowed:
        return f"{' or '.join(sorted(allowed))} expected, {got} {comparison.reason}".strip()
    return "" if got == "incomparable" else inconsistent(comparison)


def run(encoded: Encoded) -> Comparison:
    """Compare the bodies as the product does."""
    sides = [
        response(which, body, _headers(encoded.type, sent.headers), status=sent.status)
        for which, body, sent in (
            (Side.PRIMARY, encoded.bodies[0], encoded.case.one),
            (Side.CANDIDATE, encoded.bodies[1], encoded.case.other),
        )
    ]
    return compared(*sides, *encoded.rules, messages=MESSAGES, route=encoded.route, now=INSTANT)


def _headers(kind: str, headers: dict[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    fields = {"content-type": kind, **headers}
    return tuple((name.encode(), line.encode()) for name, value in fields.items() for line in value.split("\n"))
