"""Keep the newest pairs that differ, redacted, and read them back.

In: a pair and its comparison.  Out: writes under `samples:`; from a reader, summaries and whole samples.
Holds: bounded in number (each list keeps its newest), in size (bodies are cut) and in age (lists expire, and what is
older is not shown). Whole samples lie in 256 lists per target, chosen by the id, rather than under a key each:
so a v2 that fails every request cannot fill the store however fast it does so.
"""

from __future__ import annotations

import asyncio
import base64
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec
import zstandard

from shadowdiff.model import Comparison, Difference, Expire, Failure, Observation, Pair, Push, Result, Write
from shadowdiff.report.marks import SideText
from shadowdiff.report.redaction import HeaderTexts, Redactor
from shadowdiff.report.unpacking import Unpacked, header, media_type, of_latin, text_of, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.model import Headers
    from shadowdiff.model.reader import StoreReader

_ID_CHARS: Final = 16
_LISTS: Final = 256
_LISTED_DIFFERENCES: Final = 16
_TEXT_CHARS: Final = 2048
_ALL: Final = 1_000_000
_READ_AT_ONCE: Final = 500
"""Up to so many lines are read in the event loop's own time; more would make mirrored requests wait."""
_SEARCHED_BYTES: Final = 256 * 1024
"""So much of a body is searched for the secrets that a difference of texts may show a part of."""
_TIME_DIGITS: Final = 13
_MAX_PLAIN: Final = 64 * 1024 * 1024


class SampleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept.

    keep: mismatches per target (and shard); incomparable: other pairs that could not be compared.
    body_bytes: of each body, after decompression.
    redactor: takes the secrets out first.
    """

    redactor: Redactor
    keep: int = 1000
    incomparable: int = 50
    body_bytes: int = 16 * 1024
    ttl_s: int = 24 * 3600


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


_compress = zstandard.ZstdCompressor(level=3).compress
_decompress = zstandard.ZstdDecompressor().decompress


def sample_writes(
    pair: Pair, comparison: Comparison, settings: SampleSettings, at_ms: int, fingerprint: str | None = None
) -> tuple[Write, ...]:
    """Return the writes that keep a pair which differs, or could not be compared; none for others."""
    if comparison.result not in (Result.MISMATCH, Result.INCOMPARABLE):
        return ()
    kept = _sample(pair, comparison, settings, at_ms, fingerprint)
    number = settings.keep if comparison.result is Result.MISMATCH else settings.incomparable
    index, item = _index_key(pair.target, comparison.result), _item_key(kept.id)
    return (
        Push(index, _stamped(at_ms, msgspec.msgpack.encode(_summary(kept))), number),
        Expire(index, settings.ttl_s),
        Push(item, _stamped(at_ms, _compress(msgspec.msgpack.encode(kept))), _per_list(settings)),
        Expire(item, settings.ttl_s),
    )


async def newest_samples(
    reader: StoreReader,
    target: str,
    limit: int,
    *,
    result: Result = Result.MISMATCH,
    wanted: Callable[[Summary], bool] | None = None,
    since_ms: int = 0,
) -> list[Summary]:
    """Return the newest samples' summaries, at most `limit`, none older than `since_ms`."""
    lines = await reader.newest(_index_key(target, result), _ALL if wanted else limit)
    if len(lines) <= _READ_AT_ONCE:
        return _chosen(lines, limit, wanted, since_ms)
    return await asyncio.to_thread(_chosen, lines, limit, wanted, since_ms)


def _chosen(
    lines: Sequence[bytes], limit: int, wanted: Callable[[Summary], bool] | None, since_ms: int
) -> list[Summary]:
    fresh = (line[_TIME_DIGITS:] for line in lines if int(line[:_TIME_DIGITS]) >= since_ms)
    summaries = (msgspec.msgpack.decode(line, type=Summary) for line in fresh)
    return list(islice(filter(wanted, summaries) if wanted else summaries, limit))


async def sample(reader: StoreReader, sample_id: str, *, since_ms: int = 0) -> Sample | None:
    """Return a whole sample; None where it is unknown, pushed out by newer ones, or too old."""
    for line in await reader.newest(_item_key(sample_id), _ALL):
        if int(line[:_TIME_DIGITS]) < since_ms:
            return None
        found = msgspec.msgpack.decode(_decompress(line[_TIME_DIGITS:], max_output_size=_MAX_PLAIN), type=Sample)
        if found.id == sample_id:
            return found
    return None


def _sample(
    pair: Pair, comparison: Comparison, settings: SampleSettings, at_ms: int, fingerprint: str | None
) -> Sample:
    redactor, asked = settings.redactor, pair.candidate
    sides = _searched(pair.primary, settings), _searched(asked, settings)
    return Sample(
        id=f"{pair.target}-{pair.key.hex()[:_ID_CHARS]}",
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


def _stamped(at_ms: int, value: bytes) -> bytes:
    return b"%0*d" % (_TIME_DIGITS, at_ms) + value


def _index_key(target: str, result: Result) -> str:
    return f"samples:{result}:{target}"


def _item_key(sample_id: str) -> str:
    """Return the list that holds a sample: the id's first two hexadecimal digits choose it."""
    target, _, digits = sample_id.rpartition("-")
    return f"samples:item:{target}:{digits[:2]}"


def _per_list(settings: SampleSettings) -> int:
    """Return how many samples a list keeps: twice its share and some, so that chance pushes out few of the newest."""
    return 2 * (settings.keep + settings.incomparable) // _LISTS + 8
