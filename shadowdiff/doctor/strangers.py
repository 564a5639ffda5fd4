"""Diagnose halves that are there on both sides and have different keys: by their ids, their paths, their hosts.

In: evidence.  Out: findings, one for each reason that enough orphans have.
Holds: pure.  A guess (no common id, but an equal request within seconds) counts only where next to nothing pairs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from shadowdiff.doctor.evidence import NOTABLE
from shadowdiff.doctor.finding import Finding, Gravity, beside, listed, plural
from shadowdiff.doctor.partners import Link, Reason, links
from shadowdiff.doctor.unpaired import Fates, allowed, chosen_otherwise, fates
from shadowdiff.model import Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.doctor.evidence import Evidence, Orphan, Patient

SHOWN: Final = 2
_TELLING: Final = 0.2
"""The share of the smaller side's orphans that must have one reason before it is named."""
_PAIRED_BY_CHANCE: Final = 0.01
_PATH_CHARS: Final = 60

SET_ID: Final = (
    "request_headers_to_add:   # of the mirrored route; or header_mutation, before the recorder",
    '  - header: { key: x-diff-id, value: "%UNIQUE_ID%" }',
    "    append_action: OVERWRITE_IF_EXISTS_OR_ADD",
)


class _Told(NamedTuple):
    """A reason in words."""

    code: str
    title: str
    explanation: str
    way_out: str
    lines: tuple[str, ...] = ()


def strangers(evidence: Evidence, patient: Patient) -> Iterator[Finding]:
    """Find why v1's answers and v2's, both there, do not pair."""
    primary, candidate = fates(patient, Side.PRIMARY), fates(patient, Side.CANDIDATE)
    if primary.share < allowed(patient) or not primary.alone:
        return
    ours, theirs = patient.side(Side.PRIMARY), patient.side(Side.CANDIDATE)
    elsewhere = [orphan for other in evidence.patients if other is not patient for orphan in other.side(Side.CANDIDATE)]
    never_pairs = primary.paired <= primary.decided * _PAIRED_BY_CHANCE
    believed = _believed(links(ours, theirs, elsewhere), never_pairs=never_pairs)
    counted = Counter(link.reason for link in believed)
    enough = max(1, _TELLING * min(len(ours), len(theirs) or len(ours)))
    named = [reason for reason, number in counted.most_common() if number >= enough]
    for reason in named:
        yield _finding(patient, [link for link in believed if link.reason is reason], primary)
    if named or not candidate.decided:
        return
    if never_pairs and candidate.alone:
        yield _nothing_in_common(patient, ours, theirs, primary, candidate)
    else:
        yield from chosen_otherwise(patient, primary, candidate)


def _believed(found: Sequence[Link], *, never_pairs: bool) -> Sequence[Link]:
    proven = [link for link in found if link.proven]
    return proven or (found if never_pairs else ())


def _finding(patient: Patient, found: Sequence[Link], primary: Fates) -> Finding:
    """Return what a reason's links show; the explanation says how many it leaves alone."""
    told = _told(found[0], patient.target.name)
    return Finding(
        code=told.code,
        gravity=Gravity.ERROR if primary.share > 1 - NOTABLE else Gravity.WARNING,
        target=patient.target.name,
        title=told.title,
        explanation=f"{told.explanation} {plural(primary.alone, 'answer')} of v1 stayed alone.",
        way_out=told.way_out,
        lines=told.lines,
        examples=tuple(beside(link.primary, link.candidate) for link in found[:SHOWN]),
        others=tuple(sorted({link.candidate.target for link in found} - {patient.target.name})),
    )


def _told(link: Link, target: str) -> _Told:
    ours, theirs = link.primary, link.candidate
    match link.reason:
        case Reason.ID_HEADERS:
            return _id_headers(ours, theirs)
        case Reason.IDS:
            return _ids(ours, theirs)
        case Reason.PATHS:
            return _paths(ours, theirs)
        case Reason.TARGETS:
            return _targets(ours, theirs, target)
        case Reason.TIMES:
            return _times(ours, theirs)
        case _:
            assert_never(link.reason)


def _id_headers(ours: Orphan, theirs: Orphan) -> _Told:
    lesser = ours if theirs.id_source == "x-diff-id" else theirs
    side = "v1's recorder" if lesser is ours else "the mirrored copy"
    either = f"pairing: {{id_headers: [{lesser.id_source}]}}   # or so, and ID_HEADERS in record.lua alike"
    return _Told(
        "different_id_headers",
        f"The ids come from different headers: v1's from {ours.id_source}, the copies' from {theirs.id_source}.",
        f"Each side takes the first of `pairing.id_headers` that it finds, and {side} has only {lesser.id_source}: two "
        "ids, two keys.",
        "Set x-diff-id where both sides see it, before the recorder and before the copy is made; or let both look for "
        "one header alone:",
        (*SET_ID, either),
    )


def _ids(ours: Orphan, theirs: Orphan) -> _Told:
    title = f"One request has two values of {ours.id_source}: one in v1's record, another in its copy."
    if ours.id.lower() == theirs.id.lower():
        explanation = "They differ in upper and lower case alone, and an id is compared as it is."
        return _Told("different_ids", title, explanation, "Record the id as it came.")
    return _Told(
        "different_ids",
        title,
        "Something between the mirror and the recorder makes the id anew, or two proxies each set their own.",
        "Set the id once, at the hop that mirrors, and let v1's own proxy keep it (no second x-diff-id; for "
        "x-request-id Envoy's preserve_external_request_id).",
        SET_ID,
    )


def _paths(ours: Orphan, theirs: Orphan) -> _Told:
    return _Told(
        "paths_rewritten",
        f"The path is rewritten between the halves: v1 answered {_request(ours)}, the copy asks {_request(theirs)}.",
        f"{ours.id_source} is shared by all calls of a trace, so the key holds method and path too, and these differ.",
        "With an id of each request's own (x-diff-id) the key holds no path. Or mirror and record on the same side of "
        "the rewrite.",
        SET_ID,
    )


def _targets(ours: Orphan, theirs: Orphan, target: str) -> _Told:
    return _Told(
        "different_targets",
        f"v1's answers count for {target}, their copies for {theirs.target}.",
        f"v1's record bears the host {ours.host}, the copy {theirs.host}, and these belong to different targets.",
        "Name both hosts under one target, and under no other.",
        ("targets:", f"  - name: {target}", f"    hosts: [{ours.host}, {theirs.host}]"),
    )


def _times(ours: Orphan, theirs: Orphan) -> _Told:
    apart_s = abs(ours.at_ms - theirs.at_ms) / 1000
    later = "v1's record" if ours.at_ms > theirs.at_ms else "v2's answer"
    return _Told(
        "too_late",
        f"The halves of one request arrive {apart_s:,.0f} s apart.",
        f"They have one key, but {later} came when the other's window had long ended.",
        "Send both at once, or make `pairing.window` longer.",
    )


def _nothing_in_common(
    patient: Patient, ours: Sequence[Orphan], theirs: Sequence[Orphan], primary: Fates, candidate: Fates
) -> Finding:
    sources = [listed(sorted({orphan.id_source for orphan in side})) or "nothing kept" for side in (ours, theirs)]
    return Finding(
        code="nothing_in_common",
        gravity=Gravity.ERROR,
        target=patient.target.name,
        title=f"{primary.alone:,} of v1's answers and {candidate.alone:,} of v2's stayed alone, and none paired.",
        explanation="No id of one side was seen on the other, and no two ask the same within seconds: these seem to be "
        f"different requests. v1's ids come from {sources[0]}, the copies' from {sources[1]}.",
        way_out="See that the route that is mirrored is the one that the recorder stands behind; compare these two:",
        examples=(beside(ours[0] if ours else None, theirs[0] if theirs else None),) if ours or theirs else (),
    )


def _request(orphan: Orphan) -> str:
    path = orphan.path if len(orphan.path) <= _PATH_CHARS else orphan.path[: _PATH_CHARS - 1] + "…"
    return f"{orphan.method} {path}"
