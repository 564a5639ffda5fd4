"""Diagnose v2 itself: that it cannot be asked, refuses everything, or is v1 in disguise.

In: evidence, with what `doctor.notes` counted of pairs.  Out: findings.
Holds: pure.  A v2 that fails now and then is a mismatch and the verdict's business; here it is all, or nearly all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.doctor.evidence import NOTABLE
from shadowdiff.doctor.finding import Example, Finding, Gravity, Row, percent, plural
from shadowdiff.model import Failure, HostPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.doctor.evidence import Evidence, Patient

_MOST: Final = 0.9
_ENOUGH_NAMED: Final = 5
"""Fewer equal names may be chance: two builds can bear one version for a moment."""

_FAILED: Final = {
    Failure.REFUSED: ("nothing listens there", "See that v2 runs, and that url and port are its own."),
    Failure.UNRESOLVED: ("its name does not resolve", "Write the name as this pod's DNS knows it, with the namespace."),
    Failure.TIMEOUT: ("it does not answer in time", "See why v2 hangs, or raise candidate.timeout."),
    Failure.RESET: (
        "it closes the connection early",
        "See v2's log, and whether it speaks TLS (https://) on this port.",
    ),
    Failure.MALFORMED: ("what answers speaks no HTTP/1", "See which protocol v2's port speaks."),
    Failure.SATURATED: ("it is slower than the traffic", "Raise candidate.concurrency, scale v2, or compare a sample."),
    Failure.BREAKER_OPEN: ("connections to it fail", "See that v2 runs, and that url and port are its own."),
}

_STATUSES: Final = {
    401: "v2 does not accept the users' credentials: give it the same issuer and keys as v1.",
    403: "v2, or a policy before it, forbids shadowdiff to ask: an AuthorizationPolicy must allow its identity.",
    404: "v2 does not know the host or the path: try `candidate.host: preserve`, or a path prefix in candidate.url.",
    421: "v2 does not serve the host that it was asked for: try `candidate.host: preserve`.",
    429: "v2 limits how often shadowdiff may ask: lift its rate limit for it.",
    503: "what stands before v2 has no pod to send to: see its endpoints.",
}


_REASONS: Final = {
    "primary_5xx": "v1 itself answered 5xx",
    "primary_429": "v1 itself answered 429",
    "primary_grpc_failed": "v1's gRPC call failed by its status",
    "primary_failed": "v1 itself gave no answer",
    "unknown_target": "the target was taken out of the configuration",
}


def fails(_evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find a v2 that gives next to no response at all."""
    failures = {failure: patient.count(f"pair.failure.{failure}") for failure in Failure}
    failed, seen = sum(failures.values()), patient.count("pair.seen")
    if not seen or failed < seen * _MOST:
        return
    causes = {failure: count for failure, count in failures.items() if failure is not Failure.BREAKER_OPEN}
    worst = max(causes, key=causes.__getitem__) if any(causes.values()) else Failure.BREAKER_OPEN
    why, way_out = _FAILED[worst]
    counted = ", ".join(f"{failure} {count:,}" for failure, count in failures.items() if count)
    url = patient.target.candidate.url
    yield Finding(
        code="v2_fails",
        gravity=Gravity.ERROR,
        target=patient.target.name,
        title=f"v2 gave no answer to {percent(failed / seen)} of {plural(seen, 'request')}: at {url}, {why}.",
        explanation=f"Each counts as a mismatch, since a dead v2 must not pass. By cause: {counted}.",
        way_out=way_out,
        lines=(f"curl -i {url}/",),
        examples=_example(patient, "failure"),
    )


def refuses(_evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find a v2 that answers everything with one error where v1 did not."""
    prefix = "pair.status."
    statuses = {int(name[len(prefix) :]): count for name, count in patient.counts.items() if _is_status(name, prefix)}
    seen = patient.count("pair.seen")
    if not statuses or sum(statuses.values()) < seen * _MOST:
        return
    worst = max(statuses, key=statuses.__getitem__)
    preserves = patient.target.candidate.host is HostPolicy.PRESERVE
    way_out = _STATUSES.get(worst, "See v2's log: it fails where v1 did not.")
    yield Finding(
        code="v2_refuses",
        gravity=Gravity.ERROR,
        target=patient.target.name,
        title=f"v2 answered {worst} to {percent(statuses[worst] / seen)} of {plural(seen, 'request')} that v1 served.",
        explanation=f"It is asked at {patient.target.candidate.url}, with "
        + ("the user's Host." if preserves else "its own Host, the user's in X-Forwarded-Host."),
        way_out=way_out.replace("try `candidate.host: preserve`", "try `candidate.host: candidate`")
        if preserves
        else way_out,
        examples=_example(patient, "status"),
    )


def is_v1(_evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find a v2 that names itself as v1 does, by its revision or its instance."""
    for kind, what in (("instance", "instance"), ("revision", "revision")):
        same, other = patient.count(f"pair.{kind}_same"), patient.count(f"pair.{kind}_other")
        if same < _ENOUGH_NAMED or other > (same + other) * NOTABLE:
            continue
        candidate = patient.target.candidate
        preserves = candidate.host is HostPolicy.PRESERVE
        header = f" ({candidate.revision_header})" if kind == "revision" else ""
        yield Finding(
            code="answers_as_v1",
            gravity=Gravity.WARNING if kind == "revision" else Gravity.ERROR,
            target=patient.target.name,
            title=f"v2 answers as v1: both name the same {what}{header} in {plural(same, 'pair')}.",
            explanation=(
                f"What answers at {candidate.url} may be v1 itself, and a comparison of v1 with v1 always passes. "
                + (
                    "`candidate.host: preserve` sends v1's Host, by which a sidecar routes to v1. "
                    if preserves
                    else "Its Service may select v1's pods, or a route may send v2's host to v1. "
                )
                + ("If v2 is meant to be the same build, all is well." if kind == "revision" else "")
            ),
            way_out=(
                "Set `candidate.host: candidate`; v2 finds the user's host in X-Forwarded-Host."
                if preserves
                else "Let `candidate.url` name a Service whose selector holds v2's version label alone."
            ),
            lines=(f"curl -si {candidate.url}/ | grep -i {candidate.revision_header}",),
            examples=_example(patient, f"{kind}_same"),
        )
        return


def incomparable(_evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find pairs that form, of which none can be compared."""
    prefix = "pair.incomparable."
    reasons = {
        name[len(prefix) :]: count for name, count in patient.counts.items() if name.startswith(prefix) and count
    }
    seen = patient.count("pair.seen")
    if not reasons or sum(reasons.values()) < seen * _MOST:
        return
    reasons = {_REASONS.get(reason, reason): count for reason, count in reasons.items()}
    counted = "; ".join(
        f"{reason} ({reasons[reason]:,})" for reason in sorted(reasons, key=lambda one: -reasons[one])[:3]
    )
    yield Finding(
        code="nothing_comparable",
        gravity=Gravity.ERROR,
        target=patient.target.name,
        title=f"Of {plural(seen, 'pair')}, {sum(reasons.values()):,} cannot be compared.",
        explanation=f"Halves do find each other. Why nothing can be said of them: {counted}.",
        way_out="Bodies cut short need a larger MAX in record.lua and `limits.body` here; a v1 that fails, mending.",
        lines=(f"shadowdiff samples --target {patient.target.name} --incomparable",),
        examples=_example(patient, "incomparable"),
    )


def nothing_kept(_evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find a sample of nothing."""
    if patient.target.sample > 0:
        return
    yield Finding(
        code="sample_is_zero",
        gravity=Gravity.ERROR,
        target=patient.target.name,
        title=f"{patient.target.name} has `sample: 0`: no request is compared.",
        explanation="Every request is acknowledged, counted as sampled out, and dropped.",
        way_out="Compare a share of the requests:",
        lines=("targets:", f"  - name: {patient.target.name}", "    sample: 1.0"),
    )


def _is_status(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name[len(prefix) :].isdigit()


def _example(patient: Patient, kind: str) -> tuple[Example, ...]:
    rows = patient.pairs.get(kind)
    return (Example(primary="v1", candidate="v2", rows=tuple(Row(*row) for row in rows)),) if rows else ()
