"""Count facts about pairs: whether v2 fails, rejects every request, or is really v1, and whether a type is wrong.

A pair adds a few increments under `doctor:pairs:`. Most pairs add the same increments, so a commit combines them. The
number of fields, the headers and paths read per second, and the examples per kind and second (one) are limited.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import (
    WITHHELD,
    Comparison,
    Expire,
    Incr,
    Kind,
    Observation,
    Pair,
    Push,
    Put,
    Result,
    Write,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shadowdiff.model.store_reader import StoreReader

FIELDS: Final = 64
EXAMPLE_EVERY_MS: Final = 1000
EXAMPLE_TTL_S: Final = 3600
LOOKS: Final = 20
LOOKS_EVERY_MS: Final = 200
_CLIENT_ERROR: Final = 400

INSTANCE_HEADERS: Final = frozenset({
    b"x-pod-name", b"x-pod", b"x-hostname", b"x-served-by", b"x-instance", b"x-instance-id", b"x-server-id",
    b"x-backend-server",
})  # fmt: skip
"""Common response headers with the name of the process that responded."""

PAIRED_KEPT: Final = 100
"""Examples of paired requests of each target."""
PATH_CHARS: Final = 500
TIME_DIGITS: Final = 13

KINDS: Final = ("failure", "status", "incomparable", "revision_same", "instance_same", "body_type")
"""The kinds of figures that have an example."""

Rows = tuple[tuple[str, str, str], ...]
Fact = tuple[str, tuple[str, str, str]]
"""The name of a count that a pair increases, and the row that shows it."""
BodyTypes = tuple[tuple[str, str], ...]
_WITHOUT_PATHS: Final = frozenset({Kind.TEXT, Kind.BYTES})


def example_key(target: str, kind: str) -> str:
    """Return the key of the example of one of `KINDS`."""
    return f"doctor:pair:{target}:{kind}"


class PairFacts:
    """Counts facts about the pairs of this process.  proposed_type: returns the type of bodies under a wrong type."""

    def __init__(self, redact: Callable[[str], str], proposed_type: Callable[[Pair, BodyTypes], str]) -> None:
        self._redact = redact
        self._proposed_type = proposed_type
        self._body_types: Mapping[str, BodyTypes] = {}
        self._revision_headers: Mapping[str, bytes] = {}
        self._examples_at: dict[tuple[str, str], int] = {}
        self._looks: dict[str, tuple[int, int]] = {}

    def serve(self, revision_headers: Mapping[str, bytes], body_types: Mapping[str, BodyTypes]) -> None:
        """Set the name of the revision header, and the configured types of bodies, by target."""
        self._revision_headers = revision_headers
        self._body_types = body_types

    def writes(self, pair: Pair, comparison: Comparison, at_ms: int) -> tuple[Write, ...]:
        """Return the writes to commit with a pair."""
        if comparison.reason == WITHHELD:
            return ()
        target = pair.target
        writes: list[Write] = [_incr(target, "seen")]
        facts = [*_faults(pair, comparison)]
        if self._may_look(target, at_ms):
            facts += _names(pair, self._revision_headers.get(target, b""))
            facts += self._types(pair, comparison)
            writes += self._request(pair, at_ms)
        for field, row in facts:
            writes.append(_incr(target, field))
            kind = field.partition(".")[0]
            if kind in KINDS and self._is_due(target, kind, at_ms):
                key = pair.key.hex()
                ours, theirs = (f"{side.method} {self._redact(side.path)}" for side in (pair.primary, pair.candidate))
                name, *values = row  # a value may come from a header
                shown = (name, self._redact(values[0]), self._redact(values[1]))
                rows: Rows = ("key", key, key), ("request", ours, theirs), shown
                writes.append(Put(example_key(target, kind), msgspec.json.encode(rows), EXAMPLE_TTL_S))
        return tuple(writes)

    def _types(self, pair: Pair, comparison: Comparison) -> Iterator[Fact]:
        """Yield the count of a pair whose bodies differ as text or bytes, although they have another type."""
        if any(found.rule is None and found.kind in _WITHOUT_PATHS for found in comparison.differences):
            named = self._proposed_type(pair, self._body_types.get(pair.target, ()))
            if named:
                sent = (dict(side.headers).get(b"content-type", b"") for side in (pair.primary, pair.candidate))
                ours, theirs = (self._redact(value.decode("latin-1")[:200]) or "–" for value in sent)
                yield f"body_type.{named}", ("content-type", ours, theirs)

    def _request(self, pair: Pair, at_ms: int) -> Iterator[Write]:
        """Yield the writes that keep a pair's method and path as an example of a paired request."""
        key, request = paired_key(pair.target), pair.primary
        path = self._redact(request.path.partition("?")[0])[:PATH_CHARS]
        example = msgspec.json.encode((pair.key.hex(), f"{request.method} {path}"))
        yield Push(key, f"{at_ms:0{TIME_DIGITS}d}".encode() + example, PAIRED_KEPT)
        if self._is_due(pair.target, "paired", at_ms):
            yield Expire(key, EXAMPLE_TTL_S)

    def _may_look(self, target: str, at_ms: int) -> bool:
        """Return whether to read the headers of a pair; a sample of the pairs is sufficient."""
        stretch = at_ms // LOOKS_EVERY_MS
        last, looks = self._looks.get(target, (stretch, 0))
        looks = looks + 1 if last == stretch else 1
        self._looks[target] = (stretch, looks)
        return looks <= LOOKS

    def _is_due(self, target: str, kind: str, at_ms: int) -> bool:
        last = self._examples_at.get((target, kind))
        if last is not None and 0 <= at_ms - last < EXAMPLE_EVERY_MS:
            return False
        self._examples_at[target, kind] = at_ms
        return True


@lru_cache(maxsize=FIELDS * 64)
def _incr(target: str, field: str) -> Incr:
    return Incr(f"doctor:pairs:{target}", field, 1, FIELDS)


def _faults(pair: Pair, comparison: Comparison) -> Iterator[Fact]:
    """Yield the counts of a pair in which v2 or v1 failed."""
    primary, candidate = pair.primary, pair.candidate
    if candidate.failure is not None:
        yield f"failure.{candidate.failure}", ("response", str(primary.status), str(candidate.failure))
    elif candidate.status >= _CLIENT_ERROR > primary.status:
        yield f"status.{candidate.status}", ("response", str(primary.status), str(candidate.status))
    if comparison.result is Result.INCOMPARABLE:
        yield f"incomparable.{comparison.reason[:60]}", ("not compared", "–", comparison.reason[:200])


def _names(pair: Pair, revision: bytes) -> Iterator[Fact]:
    """Yield the counts of whether both sides report the same revision and instance."""
    ours = _identities(pair.primary, revision)
    theirs = _identities(pair.candidate, revision) if ours else {}
    for name in ours.keys() & theirs.keys():
        kind = "revision" if name == revision else "instance"
        row = (name.decode("latin-1"), ours[name], theirs[name])
        yield f"{kind}_{'same' if ours[name] == theirs[name] else 'other'}", row


def _identities(observation: Observation, revision: bytes) -> dict[bytes, str]:
    return {
        name: value.decode("latin-1")[:200]
        for name, value in observation.headers
        if value and (name == revision or name in INSTANCE_HEADERS)
    }


def paired_key(target: str) -> str:
    """Return the key of the newest paired requests."""
    return f"doctor:paired:{target}"


def read_paired(value: bytes) -> tuple[int, str]:
    """Return when a pair was counted (Unix ms), and its method and path.

    Each value also has the pair's key, because a commit merges equal values. Raises: ValueError.
    """
    return int(value[:TIME_DIGITS]), msgspec.json.decode(value[TIME_DIGITS:], type=tuple[str, str])[1]


async def read_pair_facts(reader: StoreReader, target: str) -> tuple[dict[str, int], dict[str, Rows]]:
    """Return the counts of a target's pairs as `pair.<name>`, and the examples by kind."""
    counts = {f"pair.{name}": count for name, count in (await reader.counts(f"doctor:pairs:{target}")).items()}
    examples: dict[str, Rows] = {}
    for kind in KINDS:
        value = await reader.value(example_key(target, kind))
        with contextlib.suppress(msgspec.DecodeError, RecursionError):  # from another version
            if value is not None:
                examples[kind] = msgspec.json.decode(value, type=Rows)
    return counts, examples
