"""Diagnose what arrives: nothing, one half alone, requests and records that go no further.

In: evidence.  Out: findings.
Holds: pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.doctor.evidence import NOTABLE, gathered
from shadowdiff.doctor.finding import Example, Finding, Gravity, Row, beside, listed, percent, plural
from shadowdiff.doctor.hosts import resembles, same_host
from shadowdiff.model import HostPolicy, Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.doctor.evidence import Evidence, Misfit, Patient


TOKENLESS: Final = "no token of access.records came from "
"""How the intake says so, before the address."""
_SHOWN: Final = 3


def nothing_arrives(_evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find a target that neither half reaches."""
    if patient.mirrored or patient.recorded:
        return
    host = patient.target.hosts[0]
    yield Finding(
        code="nothing_arrives",
        gravity=Gravity.ERROR,
        target=patient.target.name,
        title=f"Nothing has arrived for {patient.target.name}: no mirrored request, no record.",
        explanation="There is nothing to pair before the mesh mirrors requests and v1's answers are recorded.",
        way_out="Mirror this target's requests to port 8080 and record v1's answers at port 8081. By hand it goes so:",
        lines=(
            f"curl -H 'Host: {host}' -H 'x-request-id: try-1' http://127.0.0.1:8080/",
            "curl -X POST http://127.0.0.1:8081/record -d hello -H 'x-shadowdiff-id: try-1' \\",
            f"  -H 'x-shadowdiff-host: {host}' -H 'x-shadowdiff-method: GET' -H 'x-shadowdiff-path: /' \\",
            "  -H 'x-shadowdiff-id-source: x-request-id' -H 'x-shadowdiff-status: 200'",
        ),
    )


def one_half_missing(_evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find a target of which only requests, or only records, arrive."""
    if patient.mirrored and not patient.recorded:
        yield Finding(
            code="mirrors_without_records",
            gravity=Gravity.ERROR,
            target=patient.target.name,
            title=f"{plural(patient.mirrored, 'request')} mirrored, but none of v1's answers was recorded.",
            explanation="v2 is asked, and there is nothing of v1's to compare its answers with.",
            way_out=(
                "Put the recorder (recorder/envoy/record.lua) into v1's proxy, or the middleware into v1. If it is "
                "there: its cluster must lead to port 8081, and a Sidecar or NetworkPolicy must let it through."
            ),
            examples=_lonely(patient, Side.CANDIDATE),
        )
    if patient.recorded and not patient.mirrored:
        yield Finding(
            code="records_without_mirrors",
            gravity=Gravity.ERROR,
            target=patient.target.name,
            title=f"{plural(patient.recorded, 'answer')} of v1 recorded, but no request was mirrored.",
            explanation="v2 is never asked, so there is nothing to compare v1's answers with.",
            way_out=(
                "Mirror the requests to port 8080, all of them: `request_mirror_policies` of the route in Envoy, "
                "`mirrors` of the VirtualService in Istio. The copy must keep its Host."
            ),
            examples=_lonely(patient, Side.PRIMARY),
        )


def unidentified(evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find mirrored requests without an id."""
    lost, share = _share(patient, "mirrored", "unidentified")
    if share < NOTABLE:
        return
    yield Finding(
        code="no_id",
        gravity=_gravity(share),
        target=patient.target.name,
        title=f"{plural(lost, 'mirrored request')} ({percent(share)}) without an id.",
        explanation=(
            f"The two halves of a request find each other by an id in its headers: {listed(evidence.id_headers)}. "
            "These requests bear none of them."
        ),
        way_out="Let the mesh set a fresh id on the mirrored route, before the recorder of v1 sees the request:",
        lines=(
            "request_headers_to_add:",
            '  - header: { key: x-diff-id, value: "%UNIQUE_ID%" }',
            "    append_action: OVERWRITE_IF_EXISTS_OR_ADD",
        ),
        examples=_seen(
            patient, gathered(process.unidentified for process in evidence.processes), "id headers", "none of them"
        ),
    )


def blocked(evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find a target all of whose requests have methods that are not forwarded."""
    lost, share = _share(patient, "mirrored", "blocked")
    if not lost or patient.count("mirrored.forwarded") or share < 1 - NOTABLE:
        return
    seen = [
        misfit
        for misfit in gathered(process.blocked for process in evidence.processes)
        if misfit.what.partition(" ")[2] in patient.target.hosts or resembles(misfit.what.partition(" ")[2], patient)
    ]
    methods = sorted({misfit.what.partition(" ")[0] for misfit in seen})
    name = patient.target.name
    yield Finding(
        code="methods_blocked",
        gravity=Gravity.ERROR,
        target=name,
        title=f"All of {plural(lost, 'mirrored request')} have a method that is not forwarded"
        + (f": {', '.join(methods)}." if methods else "."),
        explanation=(
            f"Shadow traffic must not change anything, so only {listed(patient.target.methods)} go to v2 unless the "
            "target says otherwise."
        ),
        way_out="If v2 may be asked so (it writes to a store of its own, or to none), name the methods:",
        lines=("targets:", f"  - name: {name}", f"    methods: [{', '.join([*patient.target.methods, *methods])}]"),
        examples=tuple(
            Example(
                primary="forwarded",
                rows=(
                    Row("method", " ".join(patient.target.methods), misfit.what.partition(" ")[0]),
                    Row("path", "–", misfit.last_path),
                ),
            )
            for misfit in seen[:1]
        ),
    )


def refused(evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find records that were turned away as malformed."""
    lost, share = _share(patient, "recorded", "refused")
    if share < NOTABLE:
        return
    reasons = gathered(process.refused for process in evidence.processes)
    yield Finding(
        code="records_refused",
        gravity=_gravity(share),
        target=patient.target.name,
        title=f"{plural(lost, 'record')} ({percent(share)}) refused as malformed.",
        explanation=f"The recorder was told why: {reasons[0].what}"
        if reasons
        else "The recorder was told why, by a 4xx.",
        way_out="Take the recorder of this version (record.lua, or the middleware), or send what it names.",
        examples=tuple(
            Example(primary="what was refused", candidate="why", rows=(Row("record", misfit.last_path, misfit.what),))
            for misfit in reasons[:1]
        ),
    )


def shed(_evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find a service that turns away what it has no room for, or whose store did not take it."""
    for row, word in (("mirrored", "mirrored requests"), ("recorded", "records")):
        lost = patient.count(f"{row}.shed") + patient.count(f"{row}.store_lost")
        share = lost / max(1, patient.count(f"{row}.received"))
        if share < NOTABLE:
            continue
        yield Finding(
            code="overloaded",
            gravity=_gravity(share),
            target=patient.target.name,
            title=f"{lost:,} {word} ({percent(share)}) found no room.",
            explanation=(
                f"{patient.count(f'{row}.shed'):,} were turned away by a bound, {patient.count(f'{row}.store_lost'):,} "
                "were not taken by the store. Their other halves find no partner."
            ),
            way_out=(
                "Run more pods, or compare a share (`sample`, here and in the recorder alike). Look at "
                "shadowdiff_shed_total by reason, and at the store."
            ),
        )


def loops(evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find mirrored requests that this service sent itself: its way to v2 leads back into the mirrored route."""
    looped, received = patient.count("mirrored.looped"), patient.count("mirrored.received")
    if not looped:
        return
    target = patient.target
    authority = target.candidate.url.partition("://")[2].partition("/")[0]
    preserves = target.candidate.host is HostPolicy.PRESERVE
    leads_back = preserves or any(same_host(authority, host) for host in target.hosts)
    if not (leads_back and looped >= patient.count("mirrored.forwarded") / 2) and looped < received * (1 - NOTABLE):
        return
    yield Finding(
        code="answers_as_v1",
        gravity=Gravity.ERROR,
        target=target.name,
        title=f"{plural(looped, 'request')} that were put to v2 came back as mirrored ones: v1 answers in v2's place.",
        explanation=(
            f"What is put to {target.candidate.url} bears `x-shadowdiff`, and copies with that mark arrive here again: "
            "the way to v2 leads into the route that is mirrored, and so to v1"
            + (", since `candidate.host: preserve` lets a sidecar route by v1's host." if preserves else ".")
        ),
        way_out=(
            "Set `candidate.host: candidate` (v2 gets X-Forwarded-Host)."
            if preserves
            else "Let `candidate.url` name a service that only v2's pods stand behind."
        ),
        examples=(
            Example(
                primary="mirrored",
                candidate="put to v2",
                rows=(
                    Row("host", listed(target.hosts), target.hosts[0] if preserves else authority),
                    Row("url", "–", target.candidate.url),
                    *_looped_rows(evidence),
                ),
            ),
        ),
    )


def without_token(evidence: Evidence) -> Iterator[Finding]:
    """Find records that brought none of the tokens that are asked for; whose they were is not believed."""
    came = gathered(process.refused for process in evidence.processes)
    seen = [misfit for misfit in came if misfit.what.startswith(TOKENLESS)]
    if not seen or not evidence.unknown.get("recorded.refused", 0):
        return
    nothing = any(not patient.recorded for patient in evidence.patients)
    yield Finding(
        code="records_without_token",
        gravity=Gravity.ERROR if nothing else Gravity.WARNING,
        target="",
        title=f"{plural(sum(misfit.count for misfit in seen), 'record')} refused for want of a token.",
        explanation="`access.records` asks each record for one of its tokens, and these bring none, or another.",
        way_out="Give each recorder a token of `access.records`; both recorders have a setting for it.",
        examples=tuple(
            Example(rows=(Row("from", misfit.what.removeprefix(TOKENLESS), "–"), Row("path", misfit.last_path, "–")))
            for misfit in seen[:_SHOWN]
        ),
    )


def recorded_for_v2(_evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find answers of v2 that somebody recorded, where the service asks v2 itself: such pairs can be made up whole."""
    asked = patient.count("mirrored.forwarded")
    recorded = patient.count("candidate.parked") - asked
    if not asked or recorded <= 0:
        return
    yield Finding(
        code="candidate_recorded",
        gravity=Gravity.WARNING,
        target=patient.target.name,
        title=f"{plural(recorded, 'answer')} of v2 recorded by somebody, beside {asked:,} that this service asked for.",
        explanation="Who may record `side: candidate` makes up both halves of a pair. Such pairs match, and thin out "
        "the share of those that do not.",
        way_out="If a recorder at v2 is meant, mirror to v2 itself, and not here. Else ask recorders for a token or a "
        "certificate, and open an epoch anew:",
        lines=("access: {records: [SHADOWDIFF_RECORDS_TOKEN]}",),
    )


def _lonely(patient: Patient, side: Side) -> tuple[Example, ...]:
    halves = patient.side(side)[:1]
    return tuple(beside(half, None) if side is Side.PRIMARY else beside(None, half) for half in halves)


def _share(patient: Patient, row: str, what: str) -> tuple[int, float]:
    """Return how many of a row ended so, and their share of what arrived."""
    lost = patient.count(f"{row}.{what}")
    return lost, lost / max(1, patient.count(f"{row}.received"))


def _gravity(share: float) -> Gravity:
    return Gravity.ERROR if share > 1 - NOTABLE else Gravity.WARNING


def _seen(patient: Patient, misfits: Sequence[Misfit], name: str, said: str) -> tuple[Example, ...]:
    """Return where the mirrored half bore nothing, beside an answer of v1 that was recorded."""
    ours = patient.side(Side.PRIMARY)[:1]
    return tuple(
        Example(
            rows=(
                Row(name, f"{ours[0].id_source}: {ours[0].id}" if ours else "–", said),
                Row("host", ours[0].host if ours else "–", misfit.what),
                Row("path", ours[0].path if ours else "–", misfit.last_path),
            )
        )
        for misfit in misfits[:1]
    )


def _looped_rows(evidence: Evidence) -> tuple[Row, ...]:
    looped = gathered(process.looped for process in evidence.processes)
    return tuple(Row("came back", "–", f"{misfit.what}{misfit.last_path}") for misfit in looped[:1])
