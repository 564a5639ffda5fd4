"""Check halves that arrive on both sides but have different keys, because ids, paths or hosts differ.

A common id proves that two orphans are halves of one request. If there is no common id, the checks guess from equal
requests within seconds, and only if almost nothing pairs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

import msgspec

from shadowdiff.doctor.checks.unpaired import Outcomes, allowed, disagreeing_sample, outcomes
from shadowdiff.doctor.evidence import NOTABLE
from shadowdiff.doctor.finding import Finding, Severity, error, join_words, plural, side_by_side, warning
from shadowdiff.doctor.registry import target_check
from shadowdiff.model import Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.doctor.evidence import Evidence, Orphan, TargetEvidence

SHOWN: Final = 2
_TELLING: Final = 0.2
"""The share of the smaller side's orphans that must have one reason before it is reported."""
_PAIRED_BY_CHANCE: Final = 0.01
_PATH_CHARS: Final = 60
_NEAR_MS: Final = 5000

SET_ID: Final = (
    "request_headers_to_add:   # on the mirrored route; or use header_mutation, before the recorder",
    '  - header: { key: x-diff-id, value: "%UNIQUE_ID%" }',
    "    append_action: OVERWRITE_IF_EXISTS_OR_ADD",
)


class Reason(StrEnum):
    """Why two halves of one request have different keys."""

    ID_HEADERS = "id_headers"
    IDS = "ids"
    PATHS = "paths"
    TARGETS = "targets"
    TIMES = "times"


class Link(NamedTuple):
    """Two orphans of one request, and the reason why they did not pair."""

    primary: Orphan
    candidate: Orphan
    reason: Reason
    proven: bool


def _links(primaries: Sequence[Orphan], candidates: Sequence[Orphan], elsewhere: Sequence[Orphan]) -> Iterator[Link]:
    """Match v1's orphans with their other halves in `candidates`, or in `elsewhere` (orphans of other targets)."""
    by_id, others = _by_id(candidates), _by_id(elsewhere)
    by_request: defaultdict[tuple[str, str], list[Orphan]] = defaultdict(list)
    for candidate in candidates:
        by_request[candidate.method, candidate.path].append(candidate)
    for primary in primaries:
        known = by_id.get(primary.id.lower())
        if known:
            # a trace may share an id
            candidate = min(known, key=lambda one: (not _same_request(primary, one), abs(primary.at_ms - one.at_ms)))
            yield Link(primary, candidate, _reason(primary, candidate), proven=True)
            continue
        strays = [one for one in others.get(primary.id.lower(), ()) if _same_request(primary, one)]
        if strays:
            yield Link(primary, strays[0], Reason.TARGETS, proven=True)
            continue
        near = [one for one in by_request[primary.method, primary.path] if abs(one.at_ms - primary.at_ms) <= _NEAR_MS]
        if near:
            candidate = min(near, key=lambda one: abs(one.at_ms - primary.at_ms))
            yield Link(primary, candidate, _reason(primary, candidate), proven=False)


def _by_id(orphans: Sequence[Orphan]) -> dict[str, list[Orphan]]:
    """Return the orphans by each id of their requests, in lower case."""
    found: defaultdict[str, list[Orphan]] = defaultdict(list)
    for orphan in orphans:
        for value in {orphan.id.lower(), *(value.lower() for value in orphan.ids.values())}:
            found[value].append(orphan)
    return found


def _same_request(primary: Orphan, candidate: Orphan) -> bool:
    return (primary.method, primary.path) == (candidate.method, candidate.path)


def _reason(primary: Orphan, candidate: Orphan) -> Reason:
    if primary.id_source != candidate.id_source:
        return Reason.ID_HEADERS
    if primary.id != candidate.id:
        return Reason.IDS
    return Reason.TIMES if primary.key == candidate.key else Reason.PATHS


@target_check(120, explains={"different_targets": ("records_without_mirrors", "mirrors_without_records")})
def mismatched_ids(evidence: Evidence, target: TargetEvidence) -> Iterator[Finding]:
    """Find why v1's and v2's responses do not pair although both arrive."""
    primary, candidate = outcomes(target, Side.PRIMARY), outcomes(target, Side.CANDIDATE)
    if primary.share < allowed(target) or not primary.alone:
        return
    ours, theirs = target.side(Side.PRIMARY), target.side(Side.CANDIDATE)
    elsewhere = [orphan for other in evidence.targets if other is not target for orphan in other.side(Side.CANDIDATE)]
    never_pairs = primary.paired <= primary.decided * _PAIRED_BY_CHANCE
    found = tuple(_links(ours, theirs, elsewhere))
    believed = [link for link in found if link.proven] or (found if never_pairs else ())
    counts = Counter(link.reason for link in believed)
    enough = max(1, _TELLING * min(len(ours), len(theirs) or len(ours)))
    reasons = [reason for reason, number in counts.most_common() if number >= enough]
    for reason in reasons:
        yield _finding(target, [link for link in believed if link.reason is reason], primary)
    if reasons or not candidate.decided:
        return
    if never_pairs and candidate.alone:
        yield _nothing_in_common(ours, theirs, primary, candidate)
    elif disagreeing := disagreeing_sample(target, primary, candidate):
        yield disagreeing


def _finding(target: TargetEvidence, found: Sequence[Link], primary: Outcomes) -> Finding:
    cause = _cause(found[0], target.name)
    return msgspec.structs.replace(
        cause,
        severity=Severity.ERROR if primary.share > 1 - NOTABLE else Severity.WARNING,
        explanation=f"{cause.explanation} {plural(primary.alone, 'v1 response')} stayed alone.",
        examples=tuple(side_by_side(link.primary, link.candidate) for link in found[:SHOWN]),
        others=tuple(sorted({link.candidate.target for link in found} - {target.name})),
    )


def _cause(link: Link, target: str) -> Finding:
    ours, theirs = link.primary, link.candidate
    match link.reason:
        case Reason.ID_HEADERS:
            return _id_headers(ours, theirs)
        case Reason.IDS:
            return _ids(ours, theirs)
        case Reason.PATHS:
            return warning(
                code="paths_rewritten",
                title=f"The path is rewritten between the halves: {_request(ours)} in v1's record, "
                f"{_request(theirs)} in the mirrored request.",
                explanation=f"All calls of a trace share {ours.id_source}, so the key contains method and path too, "
                "and these differ.",
                fix="Use a separate id for each request (x-diff-id); then the key contains no path. Or mirror and "
                "record on the same side of the rewrite.",
                lines=SET_ID,
            )
        case Reason.TARGETS:
            return warning(
                code="different_targets",
                title=f"v1's responses belong to target {target}, but their mirrored requests to {theirs.target}.",
                explanation=f"v1's record has the host {ours.host}, the mirrored request has {theirs.host}. They "
                "belong to different targets.",
                fix="List both hosts under one target only.",
                lines=("targets:", f"  - name: {target}", f"    hosts: [{ours.host}, {theirs.host}]"),
            )
        case Reason.TIMES:
            later = "v1's record" if ours.at_ms > theirs.at_ms else "v2's response"
            return warning(
                code="too_late",
                title=f"The halves of one request arrive {abs(ours.at_ms - theirs.at_ms) / 1000:,.0f} s apart.",
                explanation=f"Both halves have the same key, but {later} arrived long after the other half expired.",
                fix="Send both halves at about the same time, or increase `pairing.window`.",
            )
        case _:
            assert_never(link.reason)


def _id_headers(ours: Orphan, theirs: Orphan) -> Finding:
    lesser = ours if theirs.id_source == "x-diff-id" else theirs
    side = "v1's recorder" if lesser is ours else "the mirrored request"
    either = f"pairing: {{id_headers: [{lesser.id_source}]}}   # or this; also set ID_HEADERS in record.lua to it"
    return warning(
        code="different_id_headers",
        title=f"The ids come from different headers: v1's from {ours.id_source}, the mirrored requests' from "
        f"{theirs.id_source}.",
        explanation=f"Each side uses the first of `pairing.id_headers` that it finds, and {side} has only "
        f"{lesser.id_source}. So there are two ids and two keys.",
        fix="Set x-diff-id before the recorder and before the request is mirrored, so that both sides receive it. Or "
        "configure only one id header for both sides:",
        lines=(*SET_ID, either),
    )


def _ids(ours: Orphan, theirs: Orphan) -> Finding:
    differ_in_case = ours.id.lower() == theirs.id.lower()
    return warning(
        code="different_ids",
        title=f"One request has two values of {ours.id_source}: one in v1's record, another in the mirrored request.",
        explanation="They differ in upper and lower case only, and ids are case-sensitive."
        if differ_in_case
        else "Something between the mirror and the recorder replaces the id, or two proxies each set their own.",
        fix="Record the id unchanged."
        if differ_in_case
        else "Set the id once, at the hop that mirrors, and let v1's own proxy keep it (set no second x-diff-id; for "
        "x-request-id, set Envoy's preserve_external_request_id).",
        lines=() if differ_in_case else SET_ID,
    )


def _nothing_in_common(
    ours: Sequence[Orphan], theirs: Sequence[Orphan], primary: Outcomes, candidate: Outcomes
) -> Finding:
    sources = [join_words(sorted({orphan.id_source for orphan in side})) or "nothing kept" for side in (ours, theirs)]
    return error(
        code="nothing_in_common",
        title=f"{primary.alone:,} v1 responses and {candidate.alone:,} v2 responses stayed alone, and none paired.",
        explanation="The sides have no id in common, and no equal requests within seconds: these seem to be different "
        f"requests. v1's ids come from {sources[0]}, the mirrored requests' from {sources[1]}.",
        fix="Check that the recorder is on the route that is mirrored. Compare these two:",
        examples=(side_by_side(next(iter(ours), None), next(iter(theirs), None)),) if ours or theirs else (),
    )


def _request(orphan: Orphan) -> str:
    path = orphan.path if len(orphan.path) <= _PATH_CHARS else orphan.path[: _PATH_CHARS - 1] + "…"
    return f"{orphan.method} {path}"
