"""Check whether v2 cannot be reached, rejects every request, or is really v1, and whether bodies have a wrong type.

If v2 fails only sometimes, its failures are mismatches, which the verdict handles. These checks report a v2 that nearly
always fails, according to the counts of `doctor.pair_facts`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shadowdiff.doctor.evidence import NOTABLE
from shadowdiff.doctor.finding import NO_TRAFFIC, Example, Finding, Row, error, join_words, percent, plural, warning
from shadowdiff.doctor.registry import target_check
from shadowdiff.model import OTHER, Failure, HostPolicy
from shadowdiff.rules.rule import MARK, names_of_route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.doctor.evidence import Evidence, TargetEvidence

_MOST: Final = 0.9
_STATUS: Final = re.compile("[1-5][0-9]{2}")
_ENOUGH_NAMED: Final = 5
"""Fewer equal names may be a coincidence: two builds can have the same version for a short time."""
_ENOUGH_PAIRED: Final = 100
"""With fewer pairs, a route may have no traffic yet."""
_SHOWN: Final = 5
_ALL_ROUTES: Final = "*"

FAILURES: Final = {
    Failure.REFUSED: ("nothing listens there", "Check that v2 runs, and that host and port are v2's."),
    Failure.UNRESOLVED: ("its name does not resolve",
        "Use the name that this pod's DNS resolves, with the namespace."),
    Failure.TIMEOUT: ("it does not respond in time", "Find out why v2 hangs, or raise candidate.timeout."),
    Failure.RESET: ("it closes the connection early",
        "Check v2's log, and whether this port needs TLS (https://) or a client certificate."),
    Failure.TLS_UNTRUSTED: ("its TLS certificate is not trusted",
        "Set candidate.ca to a PEM file with the CA that signed v2's certificate."),
    Failure.TLS_EXPIRED: ("its TLS certificate has expired or is not valid yet",
        "Renew v2's certificate. If its dates are right, set shadowdiff's clock."),
    Failure.TLS_NAME_MISMATCH: ("its TLS certificate is for another name",
        "Set candidate.server_name to a name in the certificate, or use that name as the host in candidate.url."),
    Failure.TLS_CLIENT_CERTIFICATE_REQUIRED: ("it requires a client certificate that it trusts",
        "Set candidate.cert and candidate.cert_key, or let the mesh use mutual TLS and write http:// in the URL."),
    Failure.TLS_FAILED: ("the TLS handshake fails",
        "Check that v2's port supports TLS 1.2 or 1.3 (if not: http://), and that v2 requires no client certificate."),
    Failure.MALFORMED: ("the server there does not speak HTTP/1", "Check which protocol v2 speaks on this port."),
    Failure.SATURATED: ("it is slower than the traffic",
        "Raise candidate.concurrency, scale v2, set a sample below 1, or protect v2 with candidate.limits."),
    Failure.BREAKER_OPEN: ("connections to it fail", "Check that v2 runs, and that host and port are v2's."),
}  # fmt: skip

_STATUSES: Final = {
    401: "v2 does not accept the users' credentials: give it the same issuer and keys as v1, "
    "or send it its own credentials with candidate.headers.",
    403: "v2, or a policy in front of it, rejects shadowdiff: an AuthorizationPolicy must allow its identity.",
    404: "v2 does not know the host or the path: try `candidate.host: preserve`, or candidate.path_prefix.",
    421: "v2 does not serve this host: try `candidate.host: preserve`.",
    429: "v2 limits shadowdiff's request rate: raise its rate limit for shadowdiff, or set candidate.limits.rate.",
    503: "the proxy in front of v2 has no pod to send to: check its endpoints.",
}

_REASONS: Final = {
    "primary_5xx": "v1 itself answered 5xx",
    "primary_429": "v1 itself answered 429",
    "primary_grpc_failed": "v1's gRPC call failed",
    "primary_failed": "v1 itself did not respond",
    "primary_graphql_failed": "v1's GraphQL operation failed",
    "not_modified": "v1 answered 304 to its own ETag",
    "unknown_target": "the target was removed from the configuration",
}


@target_check(10, explains={"sample_is_zero": NO_TRAFFIC})
def nothing_sampled(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find a target whose `sample` is 0."""
    if target.config.sample > 0:
        return
    yield error(
        code="sample_is_zero",
        title=f"{target.name} has `sample: 0`: no request is compared.",
        explanation="Every request is acknowledged, counted as sampled out, and dropped.",
        fix="Set the share of requests to compare:",
        lines=("targets:", f"  - name: {target.name}", "    sample: 1.0"),
    )


@target_check(150, explains={"v2_fails": ("nothing_comparable",)})
def fails(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find a v2 that sends almost no responses."""
    failures = {failure: target.count(f"pair.failure.{failure}") for failure in Failure}
    failed, seen = sum(failures.values()), target.count("pair.seen")
    if not _nearly_all(failed, seen):
        return
    causes = {failure: count for failure, count in failures.items() if failure is not Failure.BREAKER_OPEN}
    top = max(causes, key=causes.__getitem__) if any(causes.values()) else Failure.BREAKER_OPEN
    other = ("it sends no complete response", "Check v2's log, and `shadowdiff samples` for the pairs.")
    why, fix = FAILURES.get(top, other)
    counts = ", ".join(f"{failure} {count:,}" for failure, count in failures.items() if count)
    url = target.config.candidate.url
    yield error(
        code="v2_fails",
        title=f"v2 did not respond to {percent(min(1, failed / seen))} of {plural(seen, 'request')}: at {url}, {why}.",
        explanation=f"Each of them counts as a mismatch, because a dead v2 must not pass. Causes: {counts}.",
        fix=fix,
        lines=(f"curl -i {url}/",),
        examples=_example(target, "failure"),
    )


@target_check(160)
def refuses(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find a v2 that responds to every request with the same error, but v1 does not."""
    statuses = {int(status): count for status, count in _counts(target, "pair.status.") if _STATUS.fullmatch(status)}
    seen = target.count("pair.seen")
    if not _nearly_all(sum(statuses.values()), seen):
        return
    top = max(statuses, key=statuses.__getitem__)
    preserves = target.config.candidate.host is HostPolicy.PRESERVE
    fix = _STATUSES.get(top, "Check v2's log: v2 fails where v1 does not.")
    if preserves:
        fix = fix.replace("try `candidate.host: preserve`", "try `candidate.host: candidate`")
    yield error(
        code="v2_refuses",
        title=f"v2 answered {top} to {percent(min(1, statuses[top] / seen))} of {plural(seen, 'request')} that v1 "
        "served.",
        explanation=f"Requests go to {target.config.candidate.url}. Their Host "
        + ("is the user's Host." if preserves else "is v2's own Host; X-Forwarded-Host has the user's Host."),
        fix=fix,
        examples=_example(target, "status"),
    )


@target_check(170)
def is_v1(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find a v2 that reports v1's revision or instance."""
    for kind in ("instance", "revision"):
        same, other = target.count(f"pair.{kind}_same"), target.count(f"pair.{kind}_other")
        if same < _ENOUGH_NAMED or other > (same + other) * NOTABLE:
            continue
        candidate = target.config.candidate
        preserves, is_revision = candidate.host is HostPolicy.PRESERVE, kind == "revision"
        header = f" ({candidate.revision_header})" if is_revision else ""
        yield (warning if is_revision else error)(
            code="answers_as_v1",
            title=f"v2 answers as v1: both report the same {kind}{header} in {plural(same, 'pair')}.",
            explanation=f"The server at {candidate.url} may be v1, and a comparison of v1 with v1 always passes. "
            + (
                "`candidate.host: preserve` sends v1's Host, and a sidecar routes that to v1. "
                if preserves
                else "Its Service may select v1's pods, or a route may send v2's host to v1. "
            )
            + ("If v2 is meant to be the same build, nothing is wrong." if is_revision else ""),
            fix="Set `candidate.host: candidate`; v2 finds the user's host in X-Forwarded-Host."
            if preserves
            else "Set `candidate.url` to a Service whose selector has only v2's version label.",
            lines=(f"curl -si {candidate.url}/ | grep -i {candidate.revision_header}",),
            examples=_example(target, f"{kind}_same"),
        )
        return


@target_check(175)
def not_modified(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find a target whose v1 often answers 304 to its own ETags, so that v2's response is not compared."""
    count, seen = target.count("pair.incomparable.not_modified"), target.count("pair.seen")
    if not seen or count < seen * NOTABLE:
        return
    yield (error if _nearly_all(count, seen) else warning)(
        code="not_modified",
        title=f"v1 answered 304 to {percent(min(1, count / seen))} of {plural(seen, 'request')}; v2 sent another ETag.",
        explanation="Users send v1's ETags, which v2 cannot know. v1's 304 has no body, so nothing is compared.",
        fix="Let both versions compute the same ETag from the content. Or let the mesh remove If-None-Match and "
        "If-Modified-Since from a part of the requests, before v1 and the mirror.",
        lines=("requestHeaderModifier:", "  remove: [if-none-match, if-modified-since]"),
        examples=_example(target, "incomparable"),
    )


@target_check(180)
def incomparable(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find a target whose pairs cannot be compared."""
    reasons = dict(_counts(target, "pair.incomparable."))
    seen = target.count("pair.seen")
    if not _nearly_all(sum(reasons.values()), seen) or _nearly_all(reasons.get("not_modified", 0), seen):
        return
    reasons = {_REASONS.get(reason, reason): count for reason, count in reasons.items()}
    top = sorted(reasons, key=lambda one: -reasons[one])[:3]
    yield error(
        code="nothing_comparable",
        title=f"Of {plural(seen, 'pair')}, {sum(reasons.values()):,} cannot be compared.",
        explanation="The halves pair, but the pairs cannot be compared, because "
        + "; ".join(f"{reason} ({reasons[reason]:,})" for reason in top)
        + ".",
        fix="If bodies are cut short, increase MAX in record.lua and `limits.body` of shadowdiff. If v1 fails, fix v1.",
        lines=(f"shadowdiff samples --target {target.name} --incomparable",),
        examples=_example(target, "incomparable"),
    )


@target_check(190)
def body_types(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find bodies that are JSON, but are compared as text or bytes because of their Content-Type."""
    found = dict(_counts(target, "pair.body_type."))
    if sum(found.values()) < _ENOUGH_NAMED:
        return
    named = max(found, key=found.__getitem__)
    yield warning(
        code="json_under_another_type",
        title=f"Both bodies are JSON in {plural(sum(found.values()), 'pair')} that differ, under another Content-Type.",
        explanation="They are compared as text or bytes: the order of members counts, and no rule can name a place.",
        fix=f"Set `body_types` of the target, for example to {named}; this lists the routes:",
        lines=(f"shadowdiff rules suggest --target {target.name}",),
        examples=_example(target, "body_type"),
    )


@target_check(192)
def unused_body_types(_evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find keys of `body_types` that are not the route of any pair, so that a typing error does not stay unnoticed."""
    paired = target.by_route("paired")
    if sum(paired.values()) < _ENOUGH_PAIRED or target.count(f"{OTHER} paired"):
        return
    names = {_ALL_ROUTES, *(name for route in paired for name in names_of_route(route))}
    unused = [key for key, _ in target.config.body_types if key not in names and MARK not in key]
    if unused:
        yield warning(
            code="body_type_unused",
            title=f"No pair has the route {join_words(unused)}, so its type in `body_types` is never used.",
            explanation=f"The routes with the most pairs are {join_words(list(paired)[:_SHOWN])}.",
            fix="Write the route as it is listed here, or remove the key, if this route has no traffic any longer.",
        )


def _counts(target: TargetEvidence, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield the counts above 0 whose names have a prefix, by name without the prefix."""
    for name, count in target.counts.items():
        if count > 0 and name.startswith(prefix):
            yield name.removeprefix(prefix), count


def _nearly_all(part: int, whole: int) -> bool:
    """Return whether a part is nearly as large as the whole; False if the whole is 0."""
    return part > 0 and whole > 0 and part >= whole * _MOST


def _example(target: TargetEvidence, kind: str) -> tuple[Example, ...]:
    rows = target.pairs.get(kind)
    return (Example(primary="v1", candidate="v2", rows=tuple(Row(*row) for row in rows)),) if rows else ()
