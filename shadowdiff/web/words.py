"""Say in words what differs, how long ago, how much.

In: differences, numbers, times.  Out: plain text, cut to a length that fits a line.
Holds: pure; what it returns is text and never markup.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

from shadowdiff.model import Difference, Failure, Kind, Severity
from shadowdiff.report import Fingerprint, Sample, Summary

if TYPE_CHECKING:
    from collections.abc import Sequence


VALUE_CHARS: Final = 80
NESTED_CHARS: Final = 32
PATH_CHARS: Final = 90
_NAME: Final = re.compile(r"\['((?:[^'\\]|\\.)*)'\]")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$][\w$-]*")
_SEVERITIES: Final = (Severity.BREAKING, Severity.VALUE, Severity.ADDITIVE)
_SECONDS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))

FAILURES: Final = {
    Failure.REFUSED: "refused the connection",
    Failure.UNRESOLVED: "could not be found by its name",
    Failure.TIMEOUT: "did not answer in time",
    Failure.RESET: "broke the connection off",
    Failure.MALFORMED: "sent something that is not HTTP",
    Failure.SATURATED: "was saturated, and not asked",
    Failure.BREAKER_OPEN: "kept failing, and was not asked",
}

REASONS: Final = {
    "primary_failed": "v1 itself gave no whole answer",
    "primary_5xx": "v1 itself answered with 5xx",
    "primary_429": "v1 itself answered 429",
    "primary_grpc_failed": "v1's gRPC call failed by its status",
    "truncated": "as far as the bodies were kept they agree, but they were cut short",
    "poison": "three workers in turn did not get through it",
    "undecodable_observation": "what the store held of it could not be read",
    "unknown_target": "its target is no longer configured",
    "comparison_failed": "the comparison failed, and its log line says how",
    "comparison_crashed": "the process that compared it ended",
    "comparison_timed_out": "comparing it took too long",
}
_BRACED: Final = re.compile(r"{(\w+)}")
_SENTENCES: Final = {
    Kind.STATUS: "v2 answered with status {candidate} where v1 answered {primary}",
    Kind.HEADER: "v2 sent header {where}: {candidate} where v1 sent {primary}",
    Kind.TYPE: "v2 answered {where} as {candidate_type}{candidate} where v1 answered {primary_type}{primary}",
    Kind.VALUE: "v2 answered {where} {candidate} where v1 answered {primary}",
    Kind.ADDED: "v2 added {where} {candidate}, which v1 does not answer",
    Kind.REMOVED: "v2 left out {where}, which v1 answered as {primary}",
    Kind.ORDER: "v2 answered {where} in another order than v1",
    Kind.TEXT: "v2's text says {candidate} where v1's says {primary}",
    Kind.BYTES: "v2's bytes are not v1's",
}


class Said(NamedTuple):
    """A stretch of a sentence; `code` where it quotes what a side wrote."""

    text: str
    code: bool = False


def short_path(path: str) -> str:
    """Return a path as people write it: `items[3].price` for `$['items'][3]['price']`."""
    if not path.startswith("$"):
        return path

    def plain(name: re.Match[str]) -> str:
        return f".{name[1]}" if _PLAIN_NAME.fullmatch(name[1]) else name[0]

    return _NAME.sub(plain, path[1:]).removeprefix(".") or "the whole body"


def cut(text: str | None, limit: int = VALUE_CHARS) -> str:
    """Return text that fits a line; nothing is said as `nothing`."""
    if text is None:
        return "nothing"
    line = " ".join(text.split()) if "\n" in text else text
    return line if len(line) <= limit else line[: limit - 1] + "…"


def worst(differences: Sequence[Difference]) -> Difference | None:
    """Return the difference that counts and matters most to a client of v1, the first of several."""
    counted = [found for found in differences if found.rule is None]
    return min(counted, key=lambda found: _SEVERITIES.index(found.severity), default=None)


def rank(differences: Sequence[Difference]) -> int:
    """Return how bad the worst is that counts, 0 for what breaks clients."""
    found = worst(differences)
    return len(_SEVERITIES) if found is None else _SEVERITIES.index(found.severity)


def sentence(found: Difference) -> list[Said]:
    """Return one difference as a sentence."""
    quoted = {
        "where": short_path(found.path).removeprefix("header."),
        "primary": _quoted(found.primary),
        "candidate": _quoted(found.candidate),
    }
    named = {"primary_type": _type(found.primary), "candidate_type": _type(found.candidate)}
    parts = _BRACED.split(_SENTENCES[found.kind])
    said = (Said(quoted[part], code=True) if part in quoted else Said(named.get(part, part)) for part in parts if part)
    return list(said)


_PLACES: Final = {
    Kind.STATUS: "v2 answers with another status",
    Kind.HEADER: "v2 sends another {where}",
    Kind.TYPE: "v2 answers {where} as another type",
    Kind.VALUE: "v2 answers another {where}",
    Kind.ADDED: "v2 adds {where}",
    Kind.REMOVED: "v2 leaves out {where}",
    Kind.ORDER: "v2 answers {where} in another order",
    Kind.TEXT: "v2's text is another",
    Kind.BYTES: "v2's bytes are others",
}
_TOLD_PLACES: Final = 2


def place(path: str, kind: str) -> list[Said]:
    """Return how a place differs, whatever the values, as a sentence."""
    where = Said(cut(short_path(path).removeprefix("header."), PATH_CHARS), code=True)
    parts = _BRACED.split(_PLACES[Kind(kind)])
    return [where if part == "where" else Said(part) for part in parts if part]


def fingerprint(found: Fingerprint) -> list[Said]:
    """Return what differs in a group of mismatches, as one sentence."""
    said: list[Said] = []
    for one in found.places[:_TOLD_PLACES]:
        told = place(one.path, one.kind)
        said += [Said(" and "), Said(told[0].text.removeprefix("v2 ")), *told[1:]] if said else told
    more = len(found.places[_TOLD_PLACES:]) + found.more_places
    return [*said, Said(f", and differs in {more:,} more {'place' if more == 1 else 'places'}")] if more else said


def headline(sample: Sample | Summary) -> list[Said]:
    """Return what differs in a sample, the worst first, as one sentence."""
    found = worst(sample.differences)
    if found is None:
        return [Said(f"not compared: {reason(sample.reason)}" if sample.reason else "nothing that counts differs")]
    failure = sample.candidate.failure if isinstance(sample, Sample) else sample.failure
    said = [Said(f"v2 {FAILURES[failure]}")] if failure else sentence(found)
    more = sum(1 for other in sample.differences if other.rule is None) - 1 + sample.unlisted
    return [*said, Said(f", and {more:,} more {'difference' if more == 1 else 'differences'}")] if more else said


def plain(said: Sequence[Said]) -> str:
    """Return a sentence without marks, for titles and terminals."""
    return "".join(part.text for part in said)


def reason(code: str) -> str:
    """Return why a pair could not be compared, in words."""
    return REASONS.get(code, code.replace("_", " "))


def percent(ratio: float | None) -> str:
    """Return a share so that a small one is not shown as none."""
    if ratio is None:
        return "–"
    # 99.996 % must not read as all of it.
    return ">99.9%" if 0.9995 <= ratio < 1 else f"{100 * ratio:.3g}%"  # noqa: PLR2004


def milliseconds(duration_ms: float | None) -> str:
    """Return a duration with the digits that matter."""
    if duration_ms is None:
        return "–"
    if duration_ms < 10:  # noqa: PLR2004
        return f"{duration_ms:.1f} ms"
    return f"{duration_ms:.0f} ms" if duration_ms < 10_000 else f"{duration_ms / 1000:.1f} s"  # noqa: PLR2004


def age(at_ms: int, now_ms: int) -> str:
    """Return how long ago something was."""
    seconds = max(0, now_ms - at_ms) // 1000
    size, unit = next(((size, unit) for size, unit in _SECONDS if seconds >= size), (1, "s"))
    return f"{seconds // size} {unit} ago" if seconds else "now"


def moment(at_ms: int) -> str:
    """Return a time as `2026-03-01 10:00:00 UTC`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(at_ms: int) -> str:
    """Return a time as a machine reads it: `2026-03-01T10:00:00Z`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rule(declared: dict[str, Any]) -> str:
    """Return a rule as the configuration would have it, on one line."""
    return yaml.safe_dump(declared, default_flow_style=True, sort_keys=False, width=1000, allow_unicode=True).strip()


def _quoted(value: str | None) -> str:
    """Return a value as a sentence quotes it: of an object or array only the start, since bodies show the rest."""
    return cut(value, NESTED_CHARS if (value or "").startswith(("{", "[")) else VALUE_CHARS)


def _type(value: str | None) -> str:
    """Return the JSON type of a value before it is quoted; null says it itself."""
    first = (value or "")[:1]
    names = {'"': "a string ", "{": "an object ", "[": "an array ", "t": "a boolean ", "f": "a boolean ", "n": ""}
    return "" if value is None else names.get(first, "a number ")
