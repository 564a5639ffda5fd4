"""Compare the two observations of a pair, and return a result.

`compare` never raises, for any bytes and headers, and a failure is never a match. If v1 failed, the pair is
`incomparable`. If only v2 failed or lost data, the pair is a mismatch that no rule covers. Truncated bodies never
match, even if their captured parts are equal. If the two Content-Types name different formats, or neither body conforms
to its type, both bodies are compared as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.compare.coding import CodingError, TooLargeError, undo
from shadowdiff.compare.excerpt import byte_count
from shadowdiff.compare.finding import Findings
from shadowdiff.compare.formats import TEXT, compare_bodies, format_of, named_type
from shadowdiff.compare.formats.format import Bodies
from shadowdiff.compare.formats.grpc_web import has_web_trailers, with_web_trailers
from shadowdiff.compare.graphql import decided_by_errors
from shadowdiff.compare.headers import (
    GRPC_STATUS,
    NOT_MODIFIED,
    all_of,
    compare_headers,
    fields_of,
    note_header,
    relevant,
    value_of,
)
from shadowdiff.compare.not_modified import has_other_validator
from shadowdiff.compare.own_origin import is_written, own_names, own_origin, restoring, rewritten_headers
from shadowdiff.compare.relations import NONE, relate_statuses
from shadowdiff.compare.required import unmet
from shadowdiff.compare.work import TOO_COMPLEX, TooComplexError
from shadowdiff.model import WITHHELD, Comparison, Difference, Failure, Kind, Result, Severity
from shadowdiff.rules.builtin import OWN_ORIGIN
from shadowdiff.rules.rule import MARK

if TYPE_CHECKING:
    from shadowdiff.compare.headers import Fields, Heads
    from shadowdiff.compare.own_origin import OwnOrigin
    from shadowdiff.compare.protobuf import Descriptors
    from shadowdiff.compare.work import Limits
    from shadowdiff.model import Observation, Pair
    from shadowdiff.rules import CompiledRules
    from shadowdiff.rules.compiled import RouteRules

MATCH: Final = Comparison(result=Result.MATCH)
CODING: Final = b"content-encoding"
CONTENT_TYPE: Final = b"content-type"
TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500
GRPC_FAILED: Final = frozenset({b"2", b"4", b"8", b"13", b"14", b"15"})
"""Like 5xx and 429: unknown, deadline exceeded, resource exhausted, internal, unavailable, data loss."""


def compare(pair: Pair, rules: CompiledRules, limits: Limits, messages: Descriptors | None = None) -> Comparison:
    """Return how the candidate's response differs from the primary's response.

    messages: decodes the target's Protocol Buffers; if it is None, their bytes are compared.
    """
    findings: Findings | None = None
    try:
        if has_web_trailers(pair):
            findings = Findings(limits)
            pair = with_web_trailers(pair, limits, findings.budget)
        failed = _decided_by_status(pair)
        if failed is None and MARK in pair.route:
            findings = findings or Findings(limits)
            failed = decided_by_errors(pair, limits, findings.budget)
        if failed is not None:
            return failed
        route = rules.for_route(pair.route, pair.primary.method)
        if route.requirements:
            findings = findings or Findings(limits)
            if reason := unmet(pair, route.requirements, findings, messages):
                return incomparable(reason)
        heads = _differing_heads(pair, limits)
        if heads is None:
            return MATCH
        return _compare_differing(pair, heads, route, findings or Findings(limits), messages)
    except TooComplexError:
        return incomparable(TOO_COMPLEX)


def _differing_heads(pair: Pair, limits: Limits) -> Heads | None:
    """Return the header fields of both sides; None if the pair matches without rules."""
    primary, candidate = pair.primary, pair.candidate
    alike = primary.status == candidate.status and primary.body == candidate.body
    alike = alike and primary.body_bytes <= len(primary.body) and candidate.body_bytes <= len(candidate.body)
    if alike and primary.headers == candidate.headers and primary.trailers == candidate.trailers:
        return None
    heads = relevant(pair, limits)
    return None if alike and heads[0] is heads[1] else heads


def _compare_differing(
    pair: Pair, heads: Heads, route: RouteRules, findings: Findings, messages: Descriptors | None
) -> Comparison:
    try:
        route.charge(findings.budget.spend)
        findings.names = own_names(pair)
        given = _Given(pair, heads, _decoded(pair, heads, findings), route, messages)
        reason = _note_differences(given, findings)
        if findings.counted and findings.limits.uses(OWN_ORIGIN):
            try:
                reason = _cover_own_origin(given, findings) or reason
            except TooComplexError:  # the differences that were found count
                if findings.limits.on_event_loop:
                    raise  # a process has the whole budget, so that all processes agree
    finally:
        route.free()
    return incomparable(reason) if reason and not findings.counted else findings.comparison()


class _Given(NamedTuple):
    """What one comparison reads.  bodies: the decoded bodies, or why they have none; None if one is truncated."""

    pair: Pair
    heads: Heads
    bodies: tuple[bytes | CodingError, bytes | CodingError] | None
    rules: RouteRules
    messages: Descriptors | None
    origin: OwnOrigin | None = None


def _decoded(pair: Pair, heads: Heads, findings: Findings) -> tuple[bytes | CodingError, bytes | CodingError] | None:
    if pair.primary.truncated or pair.candidate.truncated:
        return None
    return _undone(pair.primary.body, heads[0], findings), _undone(pair.candidate.body, heads[1], findings)


def _note_differences(given: _Given, findings: Findings) -> str:
    """Note where the responses differ; return why the bodies cannot be compared, or an empty text."""
    pair, heads = given.pair, given.heads
    primary, candidate = pair.primary, pair.candidate
    if primary.status != candidate.status:
        findings.add(_status_difference(primary, candidate, given.rules.status))
    if heads[0] is not heads[1]:
        compare_headers(pair, heads, given.rules, findings)
    if given.bodies is not None:
        return _compare_bodies(given, *given.bodies, findings)
    if primary.truncated or value_of(primary.headers, CODING) != value_of(candidate.headers, CODING):
        return "truncated"
    # Only v2's body exceeds the size limit.
    kept = f"{byte_count(candidate.body_bytes)}, {len(candidate.body)} of them kept"
    findings.note("bytes", Kind.BYTES, byte_count(primary.body_bytes), kept)
    return ""


def _cover_own_origin(given: _Given, findings: Findings) -> str:
    """Cover the differences that disappear if v2's response has v1's origin in place of its own.

    Returns: why the bodies cannot be compared, or an empty text.
    """
    one, body = (each if isinstance(each, bytes) else b"" for each in given.bodies or (b"", b""))
    origin = own_origin(given.pair)
    if origin is None or not is_written(origin, given.pair, body, findings.counted):
        return ""
    findings.budget.spend(len(body) // 64)
    pair = rewritten_headers(origin, given.pair)
    again = Findings(findings.limits, findings.budget)
    rewritten = given._replace(pair=pair, heads=relevant(pair, findings.limits), origin=origin)
    reason = _note_differences(rewritten, again)
    findings.cover_all_but(again, OWN_ORIGIN.label, restoring(origin, given.pair, one, body))
    return reason


def _compare_bodies(given: _Given, one: bytes | CodingError, other: bytes | CodingError, findings: Findings) -> str:
    """Note where the bodies differ; return why they cannot be compared, or an empty text."""
    pair, heads, rules, origin = given.pair, given.heads, given.rules, given.origin
    if isinstance(one, bytes) and isinstance(other, bytes):
        if one != other:
            named = named_type(findings.limits.body_types, pair.route)
            content_type = value_of(heads[0], CONTENT_TYPE)
            format_, media = format_other, media_other = format_of(content_type, named)
            if heads[0] is not heads[1] and (content_type_other := value_of(heads[1], CONTENT_TYPE)) != content_type:
                format_other, media_other = format_of(content_type_other, named)
            chosen = format_ if format_ is format_other else TEXT
            in_values: OwnOrigin | None = None
            if origin is not None and chosen.has_lengths:
                in_values = origin
            elif origin is not None and (other := origin.rewrite(other, origin.written(one))) == one:
                return ""
            bodies = Bodies(one, other, (media, media_other), pair, rules, findings, given.messages, in_values)
            compare_bodies(chosen, bodies)
        return ""
    if isinstance(one, TooLargeError) and isinstance(other, TooLargeError):
        return "undecodable"
    whole = rules.root.effect.ignore
    if isinstance(one, CodingError) and isinstance(other, CodingError):
        coding, coding_other = (
            b", ".join(found).decode("latin-1") if (found := all_of(head, CODING)) else None for head in heads[:2]
        )
        if coding != coding_other:  # equal bytes with different codings have different meanings
            note_header(CODING, (coding, coding_other), rules, findings)
        if pair.primary.body != pair.candidate.body:
            findings.note_bytes(pair.primary.body, pair.candidate.body, whole)
        return ""
    shown = [byte_count(len(body)) if isinstance(body, bytes) else f"undecodable: {body}" for body in (one, other)]
    findings.note("bytes", Kind.BYTES, shown[0], shown[1], whole)
    return ""


def _undone(body: bytes, head: Fields, findings: Findings) -> bytes | CodingError:
    codings = all_of(head, CODING)
    if not codings and len(body) <= findings.limits.decoded_bytes:
        return body
    try:
        return undo(body, b",".join(codings), findings.limits, findings.budget)
    except CodingError as error:
        return error


def _decided_by_status(pair: Pair) -> Comparison | None:
    """Return the result if a status or failure determines it; None if the responses must be compared."""
    primary, candidate = pair.primary, pair.candidate
    if primary.failure is None and candidate.failure is None and primary.status < TOO_MANY_REQUESTS > candidate.status:
        if primary.status == NOT_MODIFIED != candidate.status:
            return incomparable("not_modified") if has_other_validator(pair) else None
        may_be_grpc = primary.trailers or candidate.trailers or not (primary.body and candidate.body)
        return _decided_by_grpc_status(primary, candidate) if may_be_grpc else None
    if candidate.failure is Failure.WITHHELD:
        return incomparable(WITHHELD)
    if primary.failure is not None:
        return incomparable("primary_failed")
    if primary.status == TOO_MANY_REQUESTS or primary.status >= SERVER_ERROR:
        return incomparable("primary_429" if primary.status == TOO_MANY_REQUESTS else "primary_5xx")
    has_failed = candidate.failure is not None or candidate.status >= SERVER_ERROR
    return (
        Comparison(result=Result.MISMATCH, differences=(_status_difference(primary, candidate),))
        if has_failed
        else None
    )


def _decided_by_grpc_status(primary: Observation, candidate: Observation) -> Comparison | None:
    one, other = (value_of(fields_of(side), GRPC_STATUS) for side in (primary, candidate))
    if one in GRPC_FAILED:
        return incomparable("primary_grpc_failed")
    if not one or other not in GRPC_FAILED:
        return None
    path = f"header.{GRPC_STATUS.decode()}"
    difference = _difference_of_statuses(path, one.decode("latin-1"), other.decode("latin-1"))
    return Comparison(result=Result.MISMATCH, differences=(difference,))


def incomparable(reason: str) -> Comparison:
    """Return a result that says why the pair cannot be compared."""
    return Comparison(result=Result.INCOMPARABLE, reason=reason)


def _status_difference(primary: Observation, candidate: Observation, rule: str | None = None) -> Difference:
    return _difference_of_statuses("status", str(primary.status), str(candidate.failure or candidate.status), rule)


def _difference_of_statuses(path: str, one: str, other: str, rule: str | None = None) -> Difference:
    """Return a difference between two statuses."""
    relations, parameters = NONE if rule else relate_statuses(one, other)
    return Difference(
        path=path,
        pattern=path,
        kind=Kind.STATUS,
        primary=one,
        candidate=other,
        severity=Severity.BREAKING,
        rule=rule,
        relations=relations,
        parameters=parameters,
    )
