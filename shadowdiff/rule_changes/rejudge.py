"""Compare a stored sample again with other rules.

Pure. A result is returned only if it is certain. A sample's bodies can be truncated. A sample's secrets are replaced
with keyed hashes, which only show whether two secrets are equal. If the result depends on missing text or a secret, or
if the text no longer shows the recorded differences, the sample is undecided, with a reason.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.compare import Limits, compare
from shadowdiff.compare.formats import named_type
from shadowdiff.compare.work import TOO_COMPLEX
from shadowdiff.model import Difference, Observation, Pair, Result, Side
from shadowdiff.report.redaction import HASHED
from shadowdiff.rules import KINDS, CompiledRules

if TYPE_CHECKING:
    from shadowdiff.model import Comparison
    from shadowdiff.report import Sample
    from shadowdiff.report.samples import SideSample
    from shadowdiff.rules.compiled import RouteRules

_VALUE_RULES: Final = tuple(f"{name} " for name, kind in KINDS.items() if kind.looks_into_values)
"""The prefixes of the labels of rules that read a value. A hash instead of the value would cause a wrong result."""
PRECONDITIONS: Final = tuple(f"{name} " for name, kind in KINDS.items() if kind.is_precondition)
"""The prefixes of the reasons of samples that were not compared because of a rule."""
_CODING: Final = "content-encoding"
_UTF_8: Final = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})
WORK: Final = 400_000
"""Work budget of one comparison. A preview makes up to 2,000 comparisons."""
LIMITS: Final = Limits(differences=2000, covered=2000, work=WORK)
_NO_RULES: Final = CompiledRules(())


class Rejudged(msgspec.Struct, frozen=True, kw_only=True):
    """A sample's result under the rules, or the reason why it is undecided, with all differences found."""

    result: Result | None
    undecided: str = ""
    differences: tuple[Difference, ...] = ()


def rejudge(sample: Sample, rules: CompiledRules, limits: Limits = LIMITS) -> Rejudged:
    """Return a sample's result under the rules.  limits: `LIMITS` with the target's settings."""
    if sample.result is Result.INCOMPARABLE and not sample.reason.startswith(PRECONDITIONS):
        return Rejudged(result=Result.INCOMPARABLE)
    named = named_type(limits.body_types, sample.route).decode("latin-1")
    if any(_is_encoded(side, named) for side in (sample.primary, sample.candidate)):
        return Rejudged(result=None, undecided="a body is not stored as UTF-8 text")
    pair = pair_of(sample)
    found = compare(pair, rules, limits)
    applying = rules.for_route(sample.route, sample.method)
    undecided = _undecided(sample, pair, found, applying, limits, truncated=pair.primary.truncated)
    if undecided:
        return Rejudged(result=None, undecided=undecided)
    return Rejudged(result=found.result, differences=found.differences)


def pair_of(sample: Sample) -> Pair:
    """Return the pair of a sample; if one body is truncated, both count as truncated."""
    truncated = sample.primary.body.truncated or sample.candidate.body.truncated
    return Pair(
        key=b"",
        target=sample.target,
        route=sample.route,
        primary=_observation(Side.PRIMARY, sample.primary, sample, truncated=truncated),
        candidate=_observation(Side.CANDIDATE, sample.candidate, sample, truncated=truncated),
    )


def _undecided(
    sample: Sample, pair: Pair, found: Comparison, applying: RouteRules, limits: Limits, *, truncated: bool
) -> str:
    """Return why the stored text is not enough to determine the result; empty if it is enough."""
    if found.reason == TOO_COMPLEX:
        return "the comparison exceeds its work budget"
    if truncated and (found.reason == "truncated" or any(not need.header for need in applying.requirements)):
        return "a body is truncated"
    if not truncated:
        again = (*found.differences, *compare(pair, _NO_RULES, limits).differences)
        shown = {path for place in again for path in (place.path, place.pattern)}
        if any(place.rule is None and shown.isdisjoint((place.path, place.pattern)) for place in sample.differences):
            return "the stored text no longer shows the recorded differences"
    by_value = any(rule.label.startswith(_VALUE_RULES) for rule in applying.rules)
    depends = _depends_on_secret(sample, found, by_value=by_value)
    return "the result depends on a redacted secret" if depends else ""


def _depends_on_secret(sample: Sample, found: Comparison, *, by_value: bool) -> bool:
    """Return whether the result could be different if the redacted secrets were known."""
    recorded = {place.path for place in sample.differences}

    def is_doubtful(place: Difference) -> bool:
        return _has_secret(sample, place) and (by_value or place.path not in recorded)

    counted = [place for place in found.differences if place.rule is None]
    if any(not is_doubtful(place) for place in counted):
        return False
    covered = [place for place in found.differences if place.rule is not None and place.rule.startswith(_VALUE_RULES)]
    return bool(counted) or any(_has_secret(sample, place) for place in covered)


def _has_secret(sample: Sample, place: Difference) -> bool:
    values = f"{place.primary or ''}{place.candidate or ''}"
    if place.path == "text":
        values += sample.primary.body.text + sample.candidate.body.text
    return HASHED in values


def _observation(side: Side, stored: SideSample, sample: Sample, *, truncated: bool) -> Observation:
    text = stored.body.text
    body = base64.b64decode(text) if stored.body.base64 else text.encode("utf-8", "surrogatepass")
    # Omit content-encoding, because the stored text is already decoded.
    headers = tuple((name.encode(), value.encode()) for name, value in stored.headers if name != _CODING or not text)
    return Observation(
        side=side,
        target=sample.target,
        id=sample.id,
        id_source="",
        method=sample.method,
        path=sample.path,
        host=next((value for name, value in sample.request_headers if name == "host"), ""),
        status=stored.status,
        failure=stored.failure,
        headers=headers,
        body=body,
        body_bytes=len(body) + 1 if truncated else len(body),
        at_ms=sample.at_ms,
        authority=sample.authority if side is Side.CANDIDATE else "",
        request_headers=tuple((name.encode(), value.encode()) for name, value in sample.request_headers),
    )


def _is_encoded(stored: SideSample, named: str) -> bool:
    """Return whether the stored text differs from the body as sent, because of a charset or compression."""
    headers = dict(stored.headers)
    if stored.body.base64:
        return headers.get(_CODING, "identity") != "identity"
    content_type = f"{named};{headers.get('content-type', '')}"
    charset = content_type.lower().partition("charset=")[2].partition(";")[0].strip("\" '")
    return charset not in _UTF_8
