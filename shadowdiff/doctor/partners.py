"""Find which orphans are halves of one request, and why they missed each other.

In: one target's orphans of both sides (and v2's of other targets).  Out: links, each with its reason.
Holds: pure.  An id is proof; an equal request within seconds is a guess, used only where no id speaks.
"""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.doctor.evidence import Orphan

NEAR_MS: Final = 5000


class Reason(StrEnum):
    """Why two halves of one request have different keys."""

    ID_HEADERS = "id_headers"
    IDS = "ids"
    PATHS = "paths"
    TARGETS = "targets"
    TIMES = "times"


class Link(NamedTuple):
    """Two orphans that belong together, and what kept them apart."""

    primary: Orphan
    candidate: Orphan
    reason: Reason
    proven: bool


def links(
    primaries: Sequence[Orphan], candidates: Sequence[Orphan], elsewhere: Sequence[Orphan] = ()
) -> tuple[Link, ...]:
    """Return the orphans of v1 that have their other half among `candidates`, or `elsewhere` (other targets')."""
    return tuple(_links(primaries, candidates, elsewhere))


def _links(primaries: Sequence[Orphan], candidates: Sequence[Orphan], elsewhere: Sequence[Orphan]) -> Iterator[Link]:
    by_id, others = _by_id(candidates), _by_id(elsewhere)
    by_request: defaultdict[tuple[str, str], list[Orphan]] = defaultdict(list)
    for candidate in candidates:
        by_request[candidate.method, candidate.path].append(candidate)
    for primary in primaries:
        known = by_id.get(primary.id.lower())
        if known:
            candidate = min(known, key=lambda one: _strangeness(primary, one))
            yield Link(primary, candidate, _reason(primary, candidate), proven=True)
            continue
        strays = [one for one in others.get(primary.id.lower(), ()) if _same_request(primary, one)]
        if strays:
            yield Link(primary, strays[0], Reason.TARGETS, proven=True)
            continue
        near = [one for one in by_request[primary.method, primary.path] if abs(one.at_ms - primary.at_ms) <= NEAR_MS]
        if near:
            candidate = min(near, key=lambda one: abs(one.at_ms - primary.at_ms))
            yield Link(primary, candidate, _reason(primary, candidate), proven=False)


def _by_id(orphans: Sequence[Orphan]) -> dict[str, list[Orphan]]:
    """Return orphans by each of the ids that their requests bore, in lower case."""
    found: defaultdict[str, list[Orphan]] = defaultdict(list)
    for orphan in orphans:
        for value in {orphan.id.lower(), *(value.lower() for value in orphan.ids.values())}:
            found[value].append(orphan)
    return found


def _same_request(primary: Orphan, candidate: Orphan) -> bool:
    return (primary.method, primary.path) == (candidate.method, candidate.path)


def _strangeness(primary: Orphan, candidate: Orphan) -> tuple[bool, int]:
    """Return how unlikely two halves with a common id are to be of one request: an id may be shared by a trace."""
    return (not _same_request(primary, candidate), abs(primary.at_ms - candidate.at_ms))


def _reason(primary: Orphan, candidate: Orphan) -> Reason:
    if primary.id_source != candidate.id_source:
        return Reason.ID_HEADERS
    if primary.id != candidate.id:
        return Reason.IDS
    return Reason.TIMES if primary.key == candidate.key else Reason.PATHS
