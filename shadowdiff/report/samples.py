"""Keep some pairs that differ, of every fault a few, redacted.

In: a pair and its comparison.  Out: a write under `samples:`, which `sample_reads` reads back.
Holds: bounded in number, bytes and age per target, and in number per fingerprint, so that rare faults keep theirs; what
is too much goes from the fault that has most. Which pairs of a fault are kept follows from their keys alone: of each
stretch of time those whose keys come first, the latest stretch before those that went by. So a pair that cannot be
kept is known before anything is made of it (`Draw`), and that is nearly every pair of a frequent fault.
"""

from __future__ import annotations

import base64
import hashlib
from bisect import insort
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Comparison, Difference, Failure, Keep, Observation, Pair, Result, Write
from shadowdiff.model.write import GROUP_CHARS, NAME_CHARS
from shadowdiff.report.marks import SideText
from shadowdiff.report.redaction import HeaderTexts, Redactor
from shadowdiff.report.unpacking import Unpacked, header, media_type, of_latin, text_of, unpack
from shadowdiff.store import Vault

if TYPE_CHECKING:
    from shadowdiff.model import Headers

_LISTED_DIFFERENCES: Final = 16
_TEXT_CHARS: Final = 2048
_SEARCHED_BYTES: Final = 256 * 1024
"""So much of a body is searched for the secrets that a difference of texts may show a part of."""
_STRETCH_MS: Final = 600_000
_STRETCHES_OF_AGE: Final = 24
_LATEST: Final = 16**9
"""Stretches are counted down from here, so that the latest come first in the order of a shelf."""
_DRAWS: Final = 20_000
"""Faults that a process draws for at once; past that it begins anew, and makes a few samples too many."""


class SampleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept, per target (and shard).

    keep: mismatches; per_fingerprint: of each fault; incomparable: other pairs that could not be compared.
    size_bytes: of all samples as stored.  body_bytes: of each body, after decompression.
    redactor: takes the secrets out first.  close: turns a value that will lie under a name into its stored form.
    """

    redactor: Redactor
    close: Callable[[bytes, bytes], bytes] = Vault().close
    keep: int = 1000
    per_fingerprint: int = 20
    incomparable: int = 50
    size_bytes: int = 64 << 20
    body_bytes: int = 16 * 1024
    ttl_s: int = 24 * 3600

    @property
    def stretch_ms(self) -> int:
        """How long a stretch of time is, within which a fault's samples are drawn."""
        return max(1000, min(_STRETCH_MS, self.ttl_s * 1000 // _STRETCHES_OF_AGE))


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body as people read it; `bytes_sent` is its full size on the wire."""

    text: str = ""
    base64: bool = False
    truncated: bool = False
    bytes_sent: int = 0
    media_type: str = ""


class SideSample(msgspec.Struct, frozen=True, kw_only=True):
    """One side's response."""

    status: int
    failure: Failure | None
    headers: HeaderTexts
    body: Body
    duration_ms: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A sample as a line of a list; `differences` are the first of those that no rule covers, `kinds` of all of them.

    failure: why v2 gave no whole response.
    """

    id: str
    request_id: str
    target: str
    route: str
    method: str
    path: str
    result: Result
    reason: str
    at_ms: int
    failure: Failure | None
    kinds: tuple[str, ...]
    differences: tuple[Difference, ...]
    unlisted: int
    fingerprint: str | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One pair that differed, redacted."""

    id: str
    request_id: str
    target: str
    route: str
    method: str
    path: str
    result: Result
    reason: str
    at_ms: int
    differences: tuple[Difference, ...]
    unlisted: int
    primary: SideSample
    candidate: SideSample
    control: SideSample | None
    request_headers: HeaderTexts
    request_body: Body
    fingerprint: str | None = None


class Draw:
    """Says which pairs can be kept, by what this process offered before: the store keeps no more of each fault."""

    def __init__(self, settings: SampleSettings) -> None:
        self._settings = settings
        self._stretch = 0
        self._offered: dict[tuple[str, str], list[str]] = {}

    def admits(self, pair: Pair, group: str, result: Result, at_ms: int) -> bool:
        """Return whether a sample of this pair can be kept, and note that it is offered."""
        settings = self._settings
        stretch = at_ms // settings.stretch_ms
        if stretch != self._stretch or len(self._offered) > _DRAWS:
            self._stretch = stretch
            self._offered.clear()
        most = _number(settings, result)
        most = min(most, settings.per_fingerprint) if result is Result.MISMATCH else most
        offered = self._offered.setdefault((pair.target, group), [])
        rank = _rank(pair.key)
        if len(offered) >= most:
            if not most or rank >= offered[-1]:
                return False
            offered.pop()
        insort(offered, rank)
        return True


def sample_writes(
    pair: Pair, comparison: Comparison, settings: SampleSettings, at_ms: int, fingerprint: str | None = None
) -> tuple[Write, ...]:
    """Return the write that keeps a pair which differs, or could not be compared; none for others."""
    result = comparison.result
    number = _number(settings, result)
    if result not in (Result.MISMATCH, Result.INCOMPARABLE) or not number:
        return ()
    kept = _sample(pair, comparison, settings, at_ms, fingerprint)
    name = _name(pair.key)
    write = Keep(
        key=shelf_of(pair.target, result),
        group=group_of(pair, comparison, fingerprint),
        order=f"{_LATEST - at_ms // settings.stretch_ms:09x}{_rank(pair.key)}",
        name=name,
        line=settings.close(msgspec.msgpack.encode(_summary(kept)), b"line " + name.encode()),
        value=settings.close(msgspec.msgpack.encode(kept), b"sample " + name.encode()),
        at_ms=at_ms,
        of_group=settings.per_fingerprint if result is Result.MISMATCH else number,
        of_all=number,
        bytes_of_all=settings.size_bytes,
        ttl_s=settings.ttl_s,
    )
    return (write,)


def group_of(pair: Pair, comparison: Comparison, fingerprint: str | None) -> str:
    """Return what a pair's samples are counted under: its fingerprint, or why it could not be compared."""
    if fingerprint is not None:
        return fingerprint
    said = f"{comparison.result} {pair.route} {comparison.reason}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(said, digest_size=GROUP_CHARS // 2).hexdigest()


def _number(settings: SampleSettings, result: Result) -> int:
    return settings.keep if result is Result.MISMATCH else settings.incomparable


def _name(key: bytes) -> str:
    return key[: NAME_CHARS // 2].hex().ljust(NAME_CHARS, "0")


def _rank(key: bytes) -> str:
    """Return the order of a pair among those of its fault: other bytes of the key than name it and choose its shard."""
    return key[_RANK].hex().ljust(12, "0")


_RANK: Final = slice(8, 14)


def _sample(
    pair: Pair, comparison: Comparison, settings: SampleSettings, at_ms: int, fingerprint: str | None
) -> Sample:
    redactor, asked = settings.redactor, pair.candidate
    sides = _searched(pair.primary, settings), _searched(asked, settings)
    return Sample(
        id=f"{pair.target}-{_name(pair.key)}",
        request_id=(header(asked.request_headers, b"x-request-id") or asked.id)[:_TEXT_CHARS],
        target=pair.target,
        route=pair.route,
        method=asked.method,
        path=redactor.path(asked.path)[:_TEXT_CHARS],
        result=comparison.result,
        reason=redactor.path(comparison.reason),
        at_ms=at_ms,
        differences=tuple(_bounded(redactor.difference(found, sides)) for found in comparison.differences),
        unlisted=comparison.unlisted,
        primary=_side(pair.primary, settings),
        candidate=_side(asked, settings),
        control=_side(pair.control, settings) if pair.control else None,
        request_headers=_headers(asked.request_headers, redactor),
        request_body=_body(asked.request_body, len(asked.request_body), asked.request_headers, settings),
        fingerprint=fingerprint,
    )


def _summary(kept: Sample) -> Summary:
    counted = tuple(found for found in kept.differences if found.rule is None)
    return Summary(
        id=kept.id,
        request_id=kept.request_id,
        target=kept.target,
        route=kept.route,
        method=kept.method,
        path=kept.path,
        result=kept.result,
        reason=kept.reason,
        at_ms=kept.at_ms,
        failure=kept.candidate.failure,
        kinds=tuple(sorted({found.kind.value for found in counted})),
        differences=counted[:_LISTED_DIFFERENCES],
        unlisted=len(counted[_LISTED_DIFFERENCES:]) + kept.unlisted,
        fingerprint=kept.fingerprint,
    )


def _side(observation: Observation, settings: SampleSettings) -> SideSample:
    size = max(observation.body_bytes, len(observation.body))
    return SideSample(
        status=observation.status,
        failure=observation.failure,
        headers=_headers(observation.headers, settings.redactor),
        body=_body(observation.body, size, observation.headers, settings),
        duration_ms=observation.duration_ms if observation.duration_ms >= 0 else None,
    )


def _searched(observation: Observation, settings: SampleSettings) -> SideText:
    def read() -> tuple[str, bool]:
        return text_of(observation.body, observation.headers, _SEARCHED_BYTES)

    return SideText(read, media_type(observation.headers), settings.redactor)


def _headers(headers: Headers, redactor: Redactor) -> HeaderTexts:
    fields = ((name.decode("latin-1"), value.decode("latin-1")[:_TEXT_CHARS]) for name, value in headers)
    return redactor.headers(tuple(fields))


def _body(body: bytes, bytes_sent: int, headers: Headers, settings: SampleSettings) -> Body:
    unpacked = unpack(body, headers, settings.body_bytes)
    kind = media_type(headers)
    return Body(
        text=_redacted(unpacked, kind, settings.redactor),
        base64=unpacked.base64,
        truncated=unpacked.truncated or bytes_sent > len(body),
        bytes_sent=bytes_sent,
        media_type=kind,
    )


def _redacted(unpacked: Unpacked, kind: str, redactor: Redactor) -> str:
    """Return a body's text redacted; of binary data, the names and secrets in plain letters."""
    if not unpacked.base64:
        return redactor.body(unpacked.text, kind)
    latin = base64.b64decode(unpacked.text).decode("latin-1")
    return base64.b64encode(of_latin(redactor.body(latin, kind))).decode()


def _bounded(found: Difference) -> Difference:
    return msgspec.structs.replace(
        found,
        path=found.path[:_TEXT_CHARS],
        pattern=found.pattern[:_TEXT_CHARS],
        primary=None if found.primary is None else found.primary[:_TEXT_CHARS],
        candidate=None if found.candidate is None else found.candidate[:_TEXT_CHARS],
    )


def shelf_of(target: str, result: Result) -> str:
    """Return the shelf that holds a target's samples of one result."""
    return f"samples:{result}:{target}"
