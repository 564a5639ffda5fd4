"""Fingerprints with the values of their samples, and the state and note that users set."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.queries.errors import RequestError
from shadowdiff.report import Fingerprint, FingerprintQuery, Page, Place, Span, State, TriageWriter, newest_samples
from shadowdiff.report.fingerprint import PLACE_CHARS
from shadowdiff.verdict import compared_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shadowdiff.queries.targets import Queries
    from shadowdiff.report import Summary

MAX_PAGE: Final = 200
MAX_VALUES: Final = 20
_READ_SAMPLES: Final = 100
"""Maximum number of samples per fingerprint whose values are counted."""


class PairOfValues(msgspec.Struct, frozen=True, kw_only=True):
    """A value of v1, a value of v2, and the number of samples with both. `None` means that the side has no value."""

    primary: str | None
    candidate: str | None
    samples: int
    example: str


class PlaceValues(msgspec.Struct, frozen=True, kw_only=True):
    """The pairs of values at one place, most frequent first. more: the number of unlisted pairs of values."""

    place: Place
    values: tuple[PairOfValues, ...]
    more: int = 0


class FingerprintDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A fingerprint with the values that its samples have at each place."""

    fingerprint: Fingerprint
    places: tuple[PlaceValues, ...]


def values_by_place(places: Sequence[Place], samples: Iterable[Summary]) -> tuple[PlaceValues, ...]:
    """Return the values at each place. Each sample counts at most once per pair of values."""
    ids: defaultdict[tuple[str, str], dict[tuple[str | None, str | None], list[str]]] = defaultdict(dict)
    for line in samples:
        for place, values in {
            ((d.pattern[:PLACE_CHARS], d.kind.value), (d.primary, d.candidate)) for d in line.differences
        }:
            ids[place].setdefault(values, []).append(line.id)

    def of(place: Place) -> PlaceValues:
        found = sorted(ids[place.path, place.kind].items(), key=lambda item: -len(item[1]))
        values = tuple(
            PairOfValues(primary=primary, candidate=candidate, samples=len(those), example=those[0])
            for (primary, candidate), those in found[:MAX_VALUES]
        )
        return PlaceValues(place=place, values=values, more=len(found) - len(values))

    return tuple(of(place) for place in places)


async def fingerprint_page(queries: Queries, target: str, query: FingerprintQuery) -> Page:
    """Return one page of a target's list of fingerprints. Raises: RequestError if the target is unknown."""
    name = queries.target(target).target.name
    return await queries.fingerprints.page(name, query, await compared_pairs(queries.reader, name))


async def fingerprint_detail(queries: Queries, fingerprint_id: str, span: Span = Span.DAY) -> FingerprintDetail:
    """Return a fingerprint with the values of its samples. Raises: RequestError if it is unknown."""
    target = await _target_of(queries, fingerprint_id)
    found = await _fingerprint(queries, target, fingerprint_id, span)
    samples = await newest_samples(
        queries.reader, target, _READ_SAMPLES, since_ms=queries.since_ms, fingerprint=fingerprint_id
    )
    return FingerprintDetail(fingerprint=found, places=values_by_place(found.places, samples))


@dataclass(frozen=True, slots=True)
class FingerprintTriage:
    """Sets states and notes.  writer: None if they are not stored."""

    queries: Queries
    writer: TriageWriter | None = None

    async def set_state(self, fingerprint_id: str, state: State, author: str) -> Fingerprint:
        """Set a fingerprint's state. Raises: RequestError."""
        writer, target = await self._found(fingerprint_id)
        await writer.set_state(target, fingerprint_id, state, author)
        return await _fingerprint(self.queries, target, fingerprint_id)

    async def set_note(self, fingerprint_id: str, text: str, author: str) -> Fingerprint:
        """Set a fingerprint's note. An empty text removes the note. Raises: RequestError."""
        writer, target = await self._found(fingerprint_id)
        await writer.set_note(target, fingerprint_id, text, author)
        return await _fingerprint(self.queries, target, fingerprint_id)

    async def _found(self, fingerprint_id: str) -> tuple[TriageWriter, str]:
        if self.writer is None:
            raise RequestError(501, "this service does not store states and notes")
        return self.writer, await _target_of(self.queries, fingerprint_id)


async def _target_of(queries: Queries, fingerprint_id: str) -> str:
    target = await queries.fingerprints.target_of(queries.names, fingerprint_id)
    if target is None:
        raise _unknown(fingerprint_id)
    return target


async def _fingerprint(queries: Queries, target: str, fingerprint_id: str, span: Span = Span.DAY) -> Fingerprint:
    compared = await compared_pairs(queries.reader, target)
    found = await queries.fingerprints.one(target, fingerprint_id, span, compared)
    if found is None:
        raise _unknown(fingerprint_id)
    return found


def _unknown(fingerprint_id: str) -> RequestError:
    return RequestError(404, f"there is no fingerprint with the id {fingerprint_id!r}; it may have expired")
