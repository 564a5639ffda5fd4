"""Count what pairs tell about v2 itself: that it fails, refuses everything, or is v1 in disguise.

In: a pair and its comparison.  Out: `Incr` writes under `doctor:pairs:`, and now and then an example.
Holds: a few increments a pair, equal for most, so that a commit sums them; headers of so many pairs a second are
looked through; an example of each kind at most once a second; every set of fields has a bound.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Comparison, Incr, Observation, Pair, Put, Result, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shadowdiff.model.reader import StoreReader

FIELDS: Final = 64
EXAMPLE_EVERY_MS: Final = 1000
EXAMPLE_TTL_S: Final = 3600
LOOKS: Final = 20
LOOKS_EVERY_MS: Final = 200
_REASON_CHARS: Final = 60
_CLIENT_ERROR: Final = 400

INSTANCE_HEADERS: Final = frozenset({
    b"x-pod-name", b"x-pod", b"x-hostname", b"x-served-by", b"x-instance", b"x-instance-id", b"x-server-id",
    b"x-backend-server",
})  # fmt: skip
"""Response headers by which services commonly name the process that answered."""

TOLD: Final = ("failure", "status", "incomparable", "revision_same", "instance_same")
"""The kinds of figures that have an example."""

Rows = tuple[tuple[str, str, str], ...]
Told = tuple[str, tuple[str, str, str]]
"""A figure that a pair adds to, and the fact that shows it."""


class PairNotes:
    """What this process noted of its pairs."""

    __slots__ = ("_examples_at", "_kept", "_looks", "_redact", "_revision_headers")

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._revision_headers: Mapping[str, bytes] = {}
        self._examples_at: dict[tuple[str, str], int] = {}
        self._kept: dict[tuple[str, str], Incr] = {}
        self._looks: dict[str, tuple[int, int]] = {}

    def serve(self, revision_headers: Mapping[str, bytes]) -> None:
        """Take the header that names the revision, by target."""
        self._revision_headers = revision_headers

    def writes(self, pair: Pair, comparison: Comparison, at_ms: int) -> tuple[Write, ...]:
        """Return what is to be stored with a pair."""
        target = pair.target
        writes: list[Write] = [self._incr(target, "seen")]
        told = [*_faults(pair, comparison)]
        if self._may_look(target, at_ms):
            told += _names(pair, self._revision_headers.get(target, b""))
        for field, said in told:
            writes.append(self._incr(target, field))
            kind = field.partition(".")[0]
            if kind in TOLD and self._is_due(target, kind, at_ms):
                example = msgspec.json.encode(self._rows(pair, said))
                writes.append(Put(f"doctor:pair:{target}:{kind}", example, EXAMPLE_TTL_S))
        return tuple(writes)

    def _may_look(self, target: str, at_ms: int) -> bool:
        """Return whether headers are to be looked through: a share of many pairs tells as much as all of them."""
        stretch = at_ms // LOOKS_EVERY_MS
        last, looks = self._looks.get(target, (stretch, 0))
        looks = looks + 1 if last == stretch else 1
        self._looks[target] = (stretch, looks)
        return looks <= LOOKS

    def _incr(self, target: str, field: str) -> Incr:
        known = self._kept.get((target, field))
        if known is None:
            if len(self._kept) >= FIELDS * 64:
                self._kept.clear()
            known = self._kept[target, field] = Incr(f"doctor:pairs:{target}", field, 1, FIELDS)
        return known

    def _is_due(self, target: str, kind: str, at_ms: int) -> bool:
        last = self._examples_at.get((target, kind))
        if last is not None and 0 <= at_ms - last < EXAMPLE_EVERY_MS:
            return False
        self._examples_at[target, kind] = at_ms
        return True

    def _rows(self, pair: Pair, said: tuple[str, str, str]) -> Rows:
        primary, candidate = pair.primary, pair.candidate
        return (
            ("key", pair.key.hex(), pair.key.hex()),
            (
                "request",
                f"{primary.method} {self._redact(primary.path)}",
                f"{candidate.method} {self._redact(candidate.path)}",
            ),
            said,
        )


def _faults(pair: Pair, comparison: Comparison) -> Iterator[Told]:
    """Yield the figures of a pair that v2, or v1, spoilt, each with the fact that shows it."""
    primary, candidate = pair.primary, pair.candidate
    if candidate.failure is not None:
        yield f"failure.{candidate.failure}", ("answer", str(primary.status), str(candidate.failure))
    elif candidate.status >= _CLIENT_ERROR > primary.status:
        yield f"status.{candidate.status}", ("answer", str(primary.status), str(candidate.status))
    if comparison.result is Result.INCOMPARABLE:
        reason = comparison.reason[:_REASON_CHARS]
        yield f"incomparable.{reason}", ("not compared", "–", comparison.reason[:200])


def _names(pair: Pair, revision: bytes) -> Iterator[Told]:
    """Yield whether both sides say the same of who they are: by their revision, and by their instance."""
    ours = _identities(pair.primary, revision)
    theirs = _identities(pair.candidate, revision) if ours else {}
    for name in ours.keys() & theirs.keys():
        kind = "revision" if name == revision else "instance"
        said = (name.decode("latin-1"), ours[name], theirs[name])
        yield f"{kind}_{'same' if ours[name] == theirs[name] else 'other'}", said


def _identities(observation: Observation, revision: bytes) -> dict[bytes, str]:
    return {
        name: value.decode("latin-1")[:200]
        for name, value in observation.headers
        if value and (name == revision or name in INSTANCE_HEADERS)
    }


async def read_notes(reader: StoreReader, target: str) -> tuple[dict[str, int], dict[str, Rows]]:
    """Return the figures noted of a target's pairs, by `pair.<name>`, and the examples by kind."""
    counts = {f"pair.{name}": count for name, count in (await reader.counts(f"doctor:pairs:{target}")).items()}
    examples: dict[str, Rows] = {}
    for kind in TOLD:
        value = await reader.value(f"doctor:pair:{target}:{kind}")
        with contextlib.suppress(msgspec.DecodeError, RecursionError):  # of another version
            if value is not None:
                examples[kind] = msgspec.json.decode(value, type=Rows)
    return counts, examples
