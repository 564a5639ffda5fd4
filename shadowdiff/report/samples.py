"""Keep redacted samples of differing pairs, a few for each fingerprint.

The number, size and age of samples per target are limited, and also their number per fingerprint, so that rare
fingerprints keep their samples. If there are too many, the fingerprint with most samples loses one. Only the keys of
pairs decide which samples are kept: the first keys of each period, latest period first. A stage can therefore reject a
pair before it creates a sample, which happens for most pairs of a frequent fingerprint. A sample that takes little work
is created immediately; any other sample is returned as later work for a process.
"""

from __future__ import annotations

import hashlib
import re
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from shadowdiff.model import (
    GROUP_CHARS,
    NAME_CHARS,
    WITHHELD,
    Comparison,
    Difference,
    Failure,
    Keep,
    Later,
    Pair,
    Result,
)
from shadowdiff.report.body_text import decode_body, header, media_type, with_type
from shadowdiff.report.fingerprint import FingerprintWrites, print_of, severity_of
from shadowdiff.report.redact_diff import SideText
from shadowdiff.report.redaction import SOME, HeaderTexts, Redactor
from shadowdiff.report.secret_span import CHARS_PER_UNIT, INLINE_WORK, SAMPLE_WORK, TooMuchWorkError
from shadowdiff.store import ValueCodec

if TYPE_CHECKING:
    from shadowdiff.model import Headers, Observation, Write

_LISTED_DIFFERENCES: Final = 16
_TEXT_CHARS: Final = 2048
_MARGIN_CHARS: Final = 4096
"""Characters after a cut that are searched for the rest of a secret."""
_LAST_WORD: Final = re.compile(r"[^\s\"'<>,;&=(){}\[\]|]{0,256}\Z")
_UNITS_PER_FIELD: Final = 8
"""The fixed cost of each header field and each difference."""
NOT_STORED: Final = "(not stored: removing the secrets from this body takes too long)"
_LATEST: Final = 16**9
"""Periods are counted down from here, so that the latest come first."""
_DRAWS: Final = 20_000
"""The maximum number of tracked fingerprints. Above it, tracking restarts, which creates a few more samples."""


class SampleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The limits for each target and shard.

    keep: the number of samples of mismatches; per_fingerprint: samples of each fingerprint; incomparable: samples of
    pairs that were not comparable. size_bytes: the stored size of all samples. body_bytes: the size of each body after
    decompression. close: compresses and encrypts a value for a name.
    """

    redactor: Redactor
    close: Callable[[bytes, bytes], bytes] = ValueCodec().encode
    keep: int = 1000
    per_fingerprint: int = 20
    incomparable: int = 50
    size_bytes: int = 64 << 20
    body_bytes: int = 16 * 1024
    ttl_s: int = 24 * 3600

    @property
    def period_ms(self) -> int:
        """The length of a period in which samples are selected."""
        return max(1000, min(600_000, self.ttl_s * 1000 // 24))


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body as text; `bytes_sent` is its full size as sent."""

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


class SampleHead(msgspec.Struct, frozen=True, kw_only=True):
    """The common fields of a sample and its line in a list.

    differences: a line has only the first differences that no rule covers; `unlisted` counts the others.
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
    differences: tuple[Difference, ...]
    unlisted: int
    fingerprint: str | None = None


class Summary(SampleHead, frozen=True, kw_only=True):
    """A sample as a line in a list. failure: why v2 sent no complete response. kinds: of all differences that count."""

    failure: Failure | None
    kinds: tuple[str, ...]


class Sample(SampleHead, frozen=True, kw_only=True):
    """One pair that differed, redacted.  authority: the Host that v2 was sent."""

    primary: SideSample
    candidate: SideSample
    control: SideSample | None
    request_headers: HeaderTexts
    request_body: Body
    authority: str = ""


class SampleSource(NamedTuple):
    """The input of a sample.  body_type: the type of the responses' bodies, if a setting replaces the Content-Type."""

    pair: Pair
    comparison: Comparison
    redactor: Redactor
    body_bytes: int
    at_ms: int
    fingerprint: str | None = None
    body_type: bytes = b""


Encoder = Callable[[SampleSource], tuple[bytes, bytes]]


class ReportStage:
    """Creates the writes of a compared pair: the count of its fingerprint, and possibly a sample."""

    def __init__(
        self,
        samples: SampleSettings,
        encoder: Callable[[Pair], Encoder] = lambda _pair: encode_sample,
        *,
        most_fingerprints: int = 1000,
    ) -> None:
        """Take the limits per target and shard. encoder: an encoder other than `encode_sample` runs in a process."""
        self._fingerprints = FingerprintWrites(most_fingerprints)
        self._samples = samples
        self._encoder = encoder
        self._period = 0
        self._offered: dict[tuple[str, str], list[str]] = {}

    def __call__(self, pair: Pair, comparison: Comparison, at_ms: int) -> tuple[Write | Later, ...]:
        """Return the writes of one pair."""
        if comparison.result is Result.MATCH or comparison.result is Result.IGNORED or comparison.reason == WITHHELD:
            return ()
        found = print_of(pair, comparison)
        name = found.id if found else None
        counted = self._fingerprints.writes(pair.target, found, severity_of(comparison), at_ms) if found else ()
        if not self._admits(pair, group_of(pair, comparison, name), comparison.result, at_ms):
            return counted
        samples = self._samples
        source = SampleSource(pair, comparison, samples.redactor, samples.body_bytes, at_ms, name)
        encode, keep = self._encoder(pair), partial(keep_writes, samples, source)
        encoded = encode_inline(source) if encode is encode_sample else None
        return (*counted, *(keep(encoded) if encoded else (Later(encode, (source,), keep),)))

    def _admits(self, pair: Pair, group: str, result: Result, at_ms: int) -> bool:
        """Return whether a sample of this pair may be stored, and count the pair as a candidate for a sample."""
        samples = self._samples
        period = at_ms // samples.period_ms
        if period != self._period or len(self._offered) > _DRAWS:
            self._period = period
            self._offered.clear()
        most = min(samples.keep, samples.per_fingerprint) if result is Result.MISMATCH else samples.incomparable
        offered = self._offered.setdefault((pair.target, group), [])
        rank = _rank(pair.key)
        if len(offered) >= most:
            if not most or rank >= offered[-1]:
                return False
            offered.pop()
        insort(offered, rank)
        return True


def encode_sample(source: SampleSource, work: int = SAMPLE_WORK) -> tuple[bytes, bytes]:
    """Return a sample's list line and the whole sample; omit bodies if redacting them exceeds `work`.

    Pure, but slow: large texts take tens of milliseconds. Raises: TooMuchWorkError if even the rest exceeds `work`.
    """
    try:
        return _encoded(source, work)
    except TooMuchWorkError:
        return _encoded(source, work, has_bodies=False)


def encode_inline(source: SampleSource) -> tuple[bytes, bytes] | None:
    """Return the result of `encode_sample`, or None if it takes too long for the event loop."""
    pair = source.pair
    sides = (pair.primary, pair.candidate, *([pair.control] if pair.control else ()))
    if any(header(side.headers, b"content-encoding") for side in sides):
        return None
    body_bytes = sum(min(len(side.body), source.body_bytes) for side in sides) + len(pair.candidate.request_body)
    with suppress(TooMuchWorkError):
        return _encoded(source, INLINE_WORK) if body_bytes <= INLINE_WORK * CHARS_PER_UNIT else None
    return None


def keep_writes(settings: SampleSettings, source: SampleSource, encoded: tuple[bytes, bytes]) -> tuple[Write, ...]:
    """Return the write that keeps an encoded sample."""
    pair, comparison, _, _, at_ms, fingerprint, _ = source
    name, is_mismatch = _name(pair.key), comparison.result is Result.MISMATCH
    most = settings.keep if is_mismatch else settings.incomparable
    write = Keep(
        key=sample_set_key(pair.target, comparison.result),
        group=group_of(pair, comparison, fingerprint),
        order=f"{_LATEST - at_ms // settings.period_ms:09x}{_rank(pair.key)}",
        name=name,
        line=settings.close(encoded[0], f"line {name}".encode()),
        value=settings.close(encoded[1], f"sample {name}".encode()),
        at_ms=at_ms,
        of_group=settings.per_fingerprint if is_mismatch else most,
        of_all=most,
        bytes_of_all=settings.size_bytes,
        ttl_s=settings.ttl_s,
    )
    return (write,)


def group_of(pair: Pair, comparison: Comparison, fingerprint: str | None) -> str:
    """Return the group of a pair's samples: its fingerprint, or a hash of the reason why the pair is incomparable."""
    if fingerprint is not None:
        return fingerprint
    reason = f"{comparison.result} {pair.route} {comparison.reason}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(reason, digest_size=GROUP_CHARS // 2).hexdigest()


def sample_set_key(target: str, result: Result) -> str:
    """Return the key of a target's samples of one result."""
    return f"samples:{result}:{target}"


def _name(key: bytes) -> str:
    return key[: NAME_CHARS // 2].hex().ljust(NAME_CHARS, "0")


def _rank(key: bytes) -> str:
    """Return a pair's order in its group, from bytes of its key that are not used for its name or shard."""
    return key[8:14].hex().ljust(12, "0")


def _encoded(source: SampleSource, work: int, *, has_bodies: bool = True) -> tuple[bytes, bytes]:
    kept = _sample(source._replace(redactor=source.redactor.limited(work)), has_bodies=has_bodies)
    counted = tuple(found for found in kept.differences if found.rule is None)
    head: dict[str, Any] = {name: getattr(kept, name) for name in SampleHead.__struct_fields__} | {
        "differences": counted[:_LISTED_DIFFERENCES],
        "unlisted": len(counted[_LISTED_DIFFERENCES:]) + kept.unlisted,
    }
    kinds = tuple(sorted({found.kind.value for found in counted}))
    line = Summary(**head, failure=kept.candidate.failure, kinds=kinds)
    return msgspec.msgpack.encode(line), msgspec.msgpack.encode(kept)


def _sample(source: SampleSource, *, has_bodies: bool) -> Sample:
    pair, comparison, redactor, _, at_ms, fingerprint, body_type = source
    candidate = pair.candidate

    def side(observation: Observation) -> SideSample:
        size = max(observation.body_bytes, len(observation.body))
        return SideSample(
            status=observation.status,
            failure=observation.failure,
            headers=_headers(observation.headers, redactor),
            body=_body(observation.body, size, observation.headers, source, body_type, is_stored=has_bodies),
            duration_ms=observation.duration_ms if observation.duration_ms >= 0 else None,
        )

    request_id = header(candidate.request_headers, b"x-request-id") or candidate.id
    request_body, request_headers = candidate.request_body, candidate.request_headers
    return Sample(
        id=f"{pair.target}-{_name(pair.key)}",
        request_id=redactor.text(_cut(request_id, _TEXT_CHARS, redactor)),
        target=pair.target,
        route=pair.route,
        method=candidate.method,
        path=redactor.path(candidate.path)[:_TEXT_CHARS],
        result=comparison.result,
        reason=redactor.path(comparison.reason),
        at_ms=at_ms,
        differences=tuple(_differences(source) if has_bodies else _hidden_differences(comparison)),
        unlisted=comparison.unlisted,
        primary=side(pair.primary),
        candidate=side(candidate),
        control=side(pair.control) if pair.control else None,
        request_headers=_headers(request_headers, redactor),
        request_body=_body(request_body, len(request_body), request_headers, source, is_stored=has_bodies),
        fingerprint=fingerprint,
        authority=redactor.text(_cut(candidate.authority, _TEXT_CHARS, redactor)),
    )


def _differences(source: SampleSource) -> Iterator[Difference]:
    redactor = source.redactor
    named, pair = source.body_type, source.pair
    sides = SideText(pair.primary, redactor, named), SideText(pair.candidate, redactor, named)
    for found in source.comparison.differences:
        redactor.spend(_UNITS_PER_FIELD)
        redacted = msgspec.structs.replace(redactor.difference(found, sides), parameters=())  # they may be secrets
        texts = {name: getattr(redacted, name) for name in ("path", "pattern", "primary", "candidate")}
        yield msgspec.structs.replace(redacted, **{name: text and text[:_TEXT_CHARS] for name, text in texts.items()})


def _hidden_differences(comparison: Comparison) -> Iterator[Difference]:
    """Yield the differences without their values, because values may be secrets."""
    for found in comparison.differences:
        primary, candidate = (None if value is None else SOME for value in (found.primary, found.candidate))
        pattern = found.pattern[:_TEXT_CHARS]
        yield msgspec.structs.replace(
            found, path=pattern, pattern=pattern, primary=primary, candidate=candidate, parameters=()
        )


def _headers(headers: Headers, redactor: Redactor) -> HeaderTexts:
    """Redact credentials and cookie values in header fields; keep names and attributes."""
    redactor.spend(_UNITS_PER_FIELD * len(headers))
    fields = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    return tuple((name, redactor.header(name, _cut(value, _TEXT_CHARS, redactor))) for name, value in fields)


def _cut(text: str, most: int, redactor: Redactor, kind: str = "") -> str:
    """Return at most `most` characters, without a secret that the cut would divide: redaction cannot find its half."""
    if len(text) <= most:
        return text
    found = redactor.secrets(text[: most + _MARGIN_CHARS], kind)
    return text[: min([most, *(one.start for one in found if one.start < most < one.end)])]


def _body(
    body: bytes, bytes_sent: int, headers: Headers, source: SampleSource, named: bytes = b"", *, is_stored: bool
) -> Body:
    sent, headers = media_type(headers), with_type(headers, named)
    kind = media_type(headers)
    if body and not is_stored:
        return Body(text=NOT_STORED, truncated=True, bytes_sent=bytes_sent, media_type=sent)
    decoded = decode_body(body, headers, source.body_bytes)
    text = decoded.text
    if decoded.truncated:
        longer = decode_body(body, headers, source.body_bytes + _MARGIN_CHARS)
        text = _cut(longer.text, len(text), source.redactor, kind) if longer.binary == decoded.binary else text
    elif bytes_sent > len(body):  # the recorder has cut the body, so the rest of the last word is unknown
        text = _LAST_WORD.sub("", text)
    return Body(
        text=decoded.encode(source.redactor.body(text, kind)),
        base64=decoded.binary,
        truncated=decoded.truncated or bytes_sent > len(body),
        bytes_sent=bytes_sent,
        media_type=sent,
    )
