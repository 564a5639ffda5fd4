"""Describe differences, numbers and times in plain English for pages and the CLI.

Pure. All functions return plain text without markup, shortened to fit a line.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

from shadowdiff.model import GRAPHQL_ERRORS, MOST_WORKERS, OTHER, WITHHELD, Difference, Failure, Kind, Severity
from shadowdiff.report import Fingerprint, Sample, Summary
from shadowdiff.rules.place import STEP
from shadowdiff.verdict import COULD_NOT_COMPARE, STARTED_BY, FunnelLoss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shadowdiff.report.common_attributes import CommonAttribute

VALUE_CHARS: Final = 80
NESTED_CHARS: Final = 32
MISSING: Final = "(missing)"
THIN_SPACE: Final = "\u202f"
"""A narrow space at which lines do not break."""
_NAME: Final = re.compile(rf"\['((?:[^'\\]|\\.)*)'\]|(?={STEP})\[([^\]]*)\]")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_$][\w$-]*")
_SEVERITIES: Final = (Severity.BREAKING, Severity.VALUE, Severity.ADDITIVE)
_SECONDS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_SHOWN_PLACES: Final = 2

FAILURES: Final = {
    Failure.REFUSED: "refused the connection",
    Failure.UNRESOLVED: "has a host name that does not resolve",
    Failure.TIMEOUT: "timed out",
    Failure.RESET: "closed the connection",
    Failure.TLS_UNTRUSTED: "has a TLS certificate that is not trusted",
    Failure.TLS_EXPIRED: "has a TLS certificate that is expired or not yet valid",
    Failure.TLS_NAME_MISMATCH: "has a TLS certificate for another name",
    Failure.TLS_CLIENT_CERTIFICATE_REQUIRED: "requires a client certificate",
    Failure.TLS_FAILED: "failed the TLS handshake",
    Failure.MALFORMED: "sent an invalid HTTP response",
    Failure.SATURATED: "skipped: too many requests waiting for v2",
    Failure.BREAKER_OPEN: "skipped: circuit breaker open",
    Failure.WITHHELD: "skipped: not a GraphQL query",
}
_SKIPPED: Final = frozenset({Failure.SATURATED, Failure.BREAKER_OPEN, Failure.WITHHELD})

REASONS: Final = {
    "primary_failed": "v1 sent no complete response",
    "primary_5xx": "v1 returned 5xx",
    "primary_429": "v1 returned 429",
    "primary_grpc_failed": "v1's gRPC call failed",
    "primary_graphql_failed": "v1's GraphQL operation failed",
    WITHHELD: "shadowdiff sends v2 no GraphQL operations except queries",
    "not_modified": "v1 returned 304 for its own ETag, which v2 cannot know",
    "truncated": "a body was truncated, and the stored parts are equal",
    "poison": f"{MOST_WORKERS} workers exited while they compared it",
    "undecodable_observation": "its stored data is corrupt",
    "unknown_target": "its target is no longer configured",
    "comparison_failed": "the comparison failed; see the log",
    "comparison_crashed": "the process that compared it exited",
    "comparison_timed_out": "the comparison timed out",
    "too_complex": "the comparison exceeded its work budget",
    "too_many_waiting": "too many pairs were waiting for a comparison",
}
SEVERITY_LABELS: Final = {Severity.BREAKING: "breaking", Severity.VALUE: "changed", Severity.ADDITIVE: "added"}


def _labels(labels: Mapping[Any, str]) -> Callable[[str], str]:
    """Return a function from a code to its label; a code without a label is shown with spaces for underscores."""
    return lambda code: labels.get(code, code.replace("_", " "))


reason_text: Final = _labels(REASONS)
"""Return why a pair could not be compared."""
severity_label: Final = _labels(SEVERITY_LABELS)
verdict_label: Final = _labels({"pass": "Pass", "fail": "Fail", "insufficient": "Collecting data"})
ledger_label: Final = _labels(
    {"parked": "buffered", "looped": "own traffic", "late": "arrived too late", "incomparable": "not comparable"}
)
started_by: Final = _labels(STARTED_BY)


class Segment(NamedTuple):
    """A part of a sentence.  code: whether it quotes a path or a response."""

    text: str
    code: bool = False


def short_path(path: str) -> str:
    """Return a path in short notation: `items[3].price` for `$['items'][3]['price']`, `users.{uuid}` for a place."""
    if not path.startswith("$"):
        return path

    def plain(name: re.Match[str]) -> str:
        if name[1] is None:
            return f".{name[2]}" if "." not in name[2] else name[0]
        return f".{name[1]}" if _PLAIN_NAME.fullmatch(name[1]) else name[0]

    return _NAME.sub(plain, path[1:]).removeprefix(".") or "the whole body"


def cut(text: str | None, limit: int = VALUE_CHARS) -> str:
    """Return a text shortened to fit a line; None becomes `(missing)`."""
    if text is None:
        return MISSING
    line = " ".join(text.split()) if "\n" in text else text
    return line if len(line) <= limit else line[: limit - 1] + "…"


def worst(differences: Sequence[Difference]) -> Difference | None:
    """Return the most severe difference that no rule covers; the first one if several are equally severe."""
    counted = [found for found in differences if found.rule is None]
    return min(counted, key=lambda found: _SEVERITIES.index(found.severity), default=None)


def severity_rank(differences: Sequence[Difference]) -> int:
    """Return the rank of the most severe difference; 0 is breaking."""
    found = worst(differences)
    return len(_SEVERITIES) if found is None else _SEVERITIES.index(found.severity)


_NAMED: Final = re.compile(r"{(\w+)}")
_PLACES: Final = {
    Kind.STATUS: "status differs",
    Kind.HEADER: "header {where} differs",
    Kind.TYPE: "type of {where} differs",
    Kind.VALUE: "{where} differs",
    Kind.ADDED: "v2 adds {where}",
    Kind.REMOVED: "{where} is missing in v2",
    Kind.ORDER: "order of {where} differs",
    Kind.TEXT: "text differs",
    Kind.BYTES: "binary body differs",
}
"""What differs, without values."""
_VALUES: Final = _PLACES | {
    Kind.STATUS: "v2 returns {candidate} instead of {primary}",
    Kind.HEADER: "header {where} differs: {primary} → {candidate}",
    Kind.TYPE: "{where} is {candidate_type} in v2, {primary_type} in v1: {primary} → {candidate}",
    Kind.VALUE: "{where} differs: {primary} → {candidate}",
    Kind.ADDED: "v2 adds {where}: {candidate}",
    Kind.REMOVED: "{where} is missing in v2; v1 has {primary}",
    Kind.TEXT: "text differs: {primary} → {candidate}",
}


def describe(found: Difference) -> list[Segment]:
    """Return one difference as a sentence with both values."""
    template, values = _VALUES[found.kind], (found.primary, found.candidate)
    if found.kind is Kind.HEADER and found.primary is None:
        template = "v2 adds header {where}: {candidate}"
    elif found.kind is Kind.HEADER and found.candidate is None:
        template = "header {where} is missing in v2; v1 has {primary}"
    elif found.kind is Kind.TYPE and any((value or "").startswith("broken (") for value in values):
        template = "the body is not valid for its type: {primary} → {candidate}"
    quote = '"' if found.kind is Kind.TEXT else ""
    return filled(
        template,
        quoted={
            "where": short_path(found.path).removeprefix("header."),
            "primary": f"{quote}{_quoted(found.primary)}{quote}",
            "candidate": f"{quote}{_quoted(found.candidate)}{quote}",
        },
        named={"primary_type": _type(found.primary), "candidate_type": _type(found.candidate)},
    )


def describe_place(path: str, kind: str) -> list[Segment]:
    """Return a sentence about how a path differs, without values."""
    if path == GRAPHQL_ERRORS:
        return [Segment("GraphQL errors differ")]
    where = cut(short_path(path).removeprefix("header."), 90)
    return filled(_PLACES[Kind(kind)], quoted={"where": where}, named={})


def filled(template: str, quoted: dict[str, str], named: dict[str, str]) -> list[Segment]:
    """Return a template as a sentence that starts in upper case.  quoted: texts of a response; named: other texts."""
    parts = _NAMED.split(template[0].upper() + template[1:] if template[0] != "v" else template)
    return [
        Segment(quoted[part], code=True) if part in quoted else Segment(named.get(part, part)) for part in parts if part
    ]


def describe_fingerprint(found: Fingerprint) -> list[Segment]:
    """Return one sentence about the differences in a group of mismatches."""
    segments: list[Segment] = []
    for one in found.places[:_SHOWN_PLACES]:
        place = describe_place(one.path, one.kind)
        segments += [Segment(", "), *_lower(place)] if segments else place
    more = len(found.places[_SHOWN_PLACES:]) + found.more_places
    return [*segments, Segment(f" + {more:,} more {'field' if more == 1 else 'fields'}")] if more else segments


def _lower(segments: list[Segment]) -> list[Segment]:
    first = segments[0]
    return segments if first.code else [Segment(first.text[0].lower() + first.text[1:]), *segments[1:]]


def headline(sample: Sample | Summary) -> list[Segment]:
    """Return one sentence with a sample's most severe difference and the number of other differences."""
    found = worst(sample.differences)
    if found is None:
        return [Segment(f"Not compared: {reason_text(sample.reason)}" if sample.reason else "No difference counts")]
    failure = sample.candidate.failure if isinstance(sample, Sample) else sample.failure
    segments = [Segment(_failure_sentence(failure, sample))] if failure else describe(found)
    more = sum(1 for other in sample.differences if other.rule is None) - 1 + sample.unlisted
    noun = "difference" if more == 1 else "differences"
    return [*segments, Segment(f" + {more:,} more {noun}")] if more else segments


def _failure_sentence(failure: Failure, sample: Sample | Summary) -> str:
    text = FAILURES[failure]
    if failure in _SKIPPED:
        return text.capitalize()
    if failure is Failure.RESET and isinstance(sample, Sample):
        declared = dict(sample.candidate.headers).get("content-length", "")
        if declared.isascii() and declared.isdecimal():
            text += f" after {sample.candidate.body.bytes_sent:,} of {int(declared[:18]):,} bytes"
    return f"v2 {text}"


def plain_text(segments: Sequence[Segment]) -> str:
    """Return a sentence as plain text, for titles and terminals."""
    return "".join(part.text for part in segments)


def place_text(path: str, kind: str) -> str:
    """Return how a path differs as plain text; `_other` counts the paths beyond a limit."""
    return "other differences" if kind == OTHER else plain_text(_lower(describe_place(path, kind)))


def loss_text(loss: FunnelLoss) -> str:
    """Return a text that explains why requests were lost at a step of the funnel."""
    return reason_text(loss.reason) if loss.why == COULD_NOT_COMPARE else loss.why


def percent(ratio: float | None) -> str:
    """Return a share in percent with three digits. A small share is never shown as 0 %, nor 99.996 % as 100 %."""
    if ratio is None:
        return "–"
    text = ">99.9" if 0.9995 <= ratio < 1 else f"{100 * ratio:.3g}"  # noqa: PLR2004
    return f"{text}{THIN_SPACE}%"


def describe_common(found: CommonAttribute) -> str:
    """Return an attribute that affected pairs have in common: `category = garden (40 of 40; 16 % of others)`."""
    others = percent(found.others_with / found.others)
    return f"{found.text} ({found.affected_with:,} of {found.affected:,}; {others} of others)"


def milliseconds(duration_ms: float | None) -> str:
    """Return a duration in a readable unit and precision."""
    if duration_ms is None:
        return "–"
    if duration_ms < 10:  # noqa: PLR2004
        return f"{duration_ms:.1f} ms"
    return f"{duration_ms:.0f} ms" if duration_ms < 10_000 else f"{duration_ms / 1000:.1f} s"  # noqa: PLR2004


def age(at_ms: int, now_ms: int) -> str:
    """Return an age in the largest unit that fits."""
    seconds = max(0, now_ms - at_ms) // 1000
    size, unit = next(((size, unit) for size, unit in _SECONDS if seconds >= size), (1, "s"))
    return f"{seconds // size} {unit} ago" if seconds else "now"


def utc(at_ms: int) -> str:
    """Return a time as `2026-03-01 10:00:00 UTC`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(at_ms: int) -> str:
    """Return a time as `2026-03-01T10:00:00Z`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rule_yaml(declared: dict[str, Any]) -> str:
    """Return a rule as one line of YAML for the configuration."""
    return yaml.safe_dump(declared, default_flow_style=True, sort_keys=False, width=1000, allow_unicode=True).strip()


def _quoted(value: str | None) -> str:
    """Return a value as text for a sentence. An object or array is cut after its start."""
    return cut(value, NESTED_CHARS if (value or "").startswith(("{", "[")) else VALUE_CHARS)


def _type(value: str | None) -> str:
    """Return the name of a value's JSON type, with `a` or `an`."""
    names = {'"': "a string", "{": "an object", "[": "an array", "t": "a boolean", "f": "a boolean", "n": "null"}
    return "missing" if value is None else names.get(value[:1], "a number")
