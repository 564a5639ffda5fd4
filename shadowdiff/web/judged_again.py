"""Judge a stored sample again, under other rules than those it was counted by.

In: a sample and compiled rules.  Out: what the rules make of it, or why that cannot be said.
Holds: pure; never a guess. A sample's bodies are cut, and secrets in them are keyed hashes: equal ones stay equal and
different ones different, and nothing else about them is known. Where the result would rest on what was cut off or
hidden, or where the texts no longer show what was found on the wire, it is undecided, and says why.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.compare import Limits, compare
from shadowdiff.model import Difference, Observation, Pair, Result, Side
from shadowdiff.rules import CompiledRules, RuleKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.model import Comparison, Headers
    from shadowdiff.report import Sample
    from shadowdiff.report.samples import SideSample

MARK: Final = "‹redacted:"
CUT: Final = "a body is cut"
HIDDEN: Final = "it rests on a redacted secret"
CODED: Final = "a body is not kept as text in UTF-8"
UNLIKE: Final = "its texts no longer show what was found"
_LOOSE: Final = tuple(f"{kind} " for kind in (RuleKind.TOLERANCE, RuleKind.MASK, RuleKind.EQUIVALENT, RuleKind.SCHEMA))
"""Rules that look into a value, which a hash in its place answers wrongly."""
_OF_THE_WIRE: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_UTF_8: Final = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})
_LIMITS: Final = Limits(differences=2000, covered=2000)
_PLAIN: Final = CompiledRules(())


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """What rules make of a sample: a result, or why there is none; and every difference found."""

    result: Result | None
    undecided: str = ""
    differences: tuple[Difference, ...] = ()


def judge_again(sample: Sample, rules: CompiledRules) -> Again:
    """Return what the rules make of a sample."""
    if sample.result is Result.INCOMPARABLE and not sample.reason.startswith(f"{RuleKind.REQUIRE} "):
        return Again(result=Result.INCOMPARABLE)
    if any(_is_coded(side) for side in (sample.primary, sample.candidate)):
        return Again(result=None, undecided=CODED)
    cut = sample.primary.body.truncated or sample.candidate.body.truncated
    pair = _pair(sample, cut=cut)
    found = compare(pair, rules, _LIMITS)
    applying = rules.for_route(sample.route, sample.method)
    if cut and (found.reason == "truncated" or any(not need.header for need in applying.requirements)):
        return Again(result=None, undecided=CUT)
    if not cut and not _shows(sample, (found, compare(pair, _PLAIN, _LIMITS))):
        return Again(result=None, undecided=UNLIKE)
    loose = any(rule.label.startswith(_LOOSE) for rule in applying.rules)
    if _rests_on_a_secret(sample, found, loose=loose):
        return Again(result=None, undecided=HIDDEN)
    return Again(result=found.result, differences=found.differences)


def _shows(sample: Sample, found: Iterable[Comparison]) -> bool:
    """Whether the texts still show every place that counted when the pair was judged."""
    counted = {place.pattern for place in sample.differences if place.rule is None}
    return counted <= {place.pattern for comparison in found for place in comparison.differences}


def _rests_on_a_secret(sample: Sample, found: Comparison, *, loose: bool) -> bool:
    """Whether the result would be another if a secret were not hidden, for all that is known."""
    places = {place.path for place in sample.differences}

    def doubtful(place: Difference) -> bool:
        return _bears_secret(sample, place) and (loose or place.path not in places)

    counted = [place for place in found.differences if place.rule is None]
    if any(not doubtful(place) for place in counted):
        return False
    covered = [place for place in found.differences if place.rule is not None and place.rule.startswith(_LOOSE)]
    return bool(counted) or any(_bears_secret(sample, place) for place in covered)


def _bears_secret(sample: Sample, place: Difference) -> bool:
    values = f"{place.primary or ''}{place.candidate or ''}"
    if place.path == "text":
        values += sample.primary.body.text + sample.candidate.body.text
    return MARK in values


def _pair(sample: Sample, *, cut: bool) -> Pair:
    return Pair(
        key=b"",
        target=sample.target,
        route=sample.route,
        primary=_observation(Side.PRIMARY, sample.primary, sample, cut=cut),
        candidate=_observation(Side.CANDIDATE, sample.candidate, sample, cut=cut),
    )


def _observation(side: Side, kept: SideSample, sample: Sample, *, cut: bool) -> Observation:
    text = kept.body.text
    body = base64.b64decode(text) if kept.body.base64 else text.encode("utf-8", "surrogatepass")
    return Observation(
        side=side,
        target=sample.target,
        id=sample.id,
        id_source="",
        method=sample.method,
        path=sample.path,
        host=next((value for name, value in sample.request_headers if name == "host"), ""),
        status=kept.status,
        failure=kept.failure,
        headers=_headers(kept),
        body=body,
        body_bytes=len(body) + 1 if cut else len(body),
        request_headers=tuple((name.encode(), value.encode()) for name, value in sample.request_headers),
    )


def _headers(kept: SideSample) -> Headers:
    return tuple((name.encode(), value.encode()) for name, value in kept.headers if name not in _OF_THE_WIRE)


def _is_coded(kept: SideSample) -> bool:
    """Whether the text kept is another than the body's, or no text at all of what was coded."""
    headers = dict(kept.headers)
    if kept.body.base64:
        return headers.get("content-encoding", "identity") != "identity"
    charset = headers.get("content-type", "").lower().partition("charset=")[2].partition(";")[0].strip("\" '")
    return charset not in _UTF_8
