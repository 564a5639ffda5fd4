"""Compare two bodies by the form that their Content-Type names.

In: a pair and what holds for its route.  Out: findings, or why the bodies cannot be compared.
Holds: the type decides the decoder and nothing is guessed; what is broken on one side only is a difference, and on
both sides unequal bytes are a difference of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.compare.binary import compare_bytes, size
from shadowdiff.compare.coding import CodingError, TooLargeError, undo
from shadowdiff.compare.decoders import BrokenBodyError, events, form, multipart, ndjson, text_of
from shadowdiff.compare.exact import NotJsonError, Parsed, parse_both, parse_exact
from shadowdiff.compare.finding import NOTHING
from shadowdiff.compare.headers import all_of, value_of
from shadowdiff.compare.markup import xml
from shadowdiff.compare.media import Form, Media, media_of
from shadowdiff.compare.messages import Packed, read_both
from shadowdiff.compare.proof import alike_sorted
from shadowdiff.compare.skim import skimmed
from shadowdiff.compare.text import compare_text
from shadowdiff.compare.walk import FLOATS, STRICT, Walker
from shadowdiff.model import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.compare.finding import Findings
    from shadowdiff.compare.headers import Fields
    from shadowdiff.compare.limits import Limits
    from shadowdiff.compare.messages import Messages
    from shadowdiff.compare.values import Value
    from shadowdiff.model import Pair
    from shadowdiff.rules.compiled import RouteRules


_PACKED: Final = frozenset({Form.GRPC, Form.PROTOBUF})


def compare_bodies(
    pair: Pair,
    heads: tuple[Fields, Fields],
    rules: RouteRules,
    limits: Limits,
    findings: Findings,
    *,
    messages: Messages | None = None,
) -> str:
    """Note where the bodies differ; return why they cannot be compared, empty where they could.

    heads: the header fields that a comparison rests on, of each side.
    """
    primary, candidate = pair.primary, pair.candidate
    one, other = _undone(primary.body, heads[0], limits), _undone(candidate.body, heads[1], limits)
    if isinstance(one, bytes) and isinstance(other, bytes):
        if one != other:
            media = _media(heads[0])
            both = (media, media if heads[0] is heads[1] else _media(heads[1]))
            if media.form in _PACKED and media.form is both[1].form:
                _packed(Packed(pair, one, other, both, limits, messages), rules, findings)
            else:
                _by_form(one, other, both, rules, findings)
        return ""
    if isinstance(one, TooLargeError) and isinstance(other, TooLargeError):
        return "undecodable"
    whole = rules.root.effect.ignore
    if isinstance(one, CodingError) and isinstance(other, CodingError):
        if primary.body != candidate.body:
            compare_bytes(primary.body, candidate.body, findings, whole)
        return ""
    findings.place("bytes", Kind.BYTES, _outcome(one), _outcome(other), whole)
    return ""


def _undone(body: bytes, head: Fields, limits: Limits) -> bytes | CodingError:
    codings = all_of(head, b"content-encoding")
    if not codings and len(body) <= limits.decoded_bytes:
        return body
    try:
        return undo(body, b",".join(codings), limits)
    except CodingError as error:
        return error


def _outcome(body: bytes | CodingError) -> str:
    return size(len(body)) if isinstance(body, bytes) else f"undecodable: {body}"


def _media(head: Fields) -> Media:
    return media_of(value_of(head, b"content-type"))


def _by_form(one: bytes, other: bytes, media: tuple[Media, Media], rules: RouteRules, findings: Findings) -> None:
    """Choose the decoder; where the types name different forms, both bodies are read as text."""
    form = media[0].form if media[0].form is media[1].form else Form.TEXT
    if form is Form.BYTES:
        compare_bytes(one, other, findings, rules.root.effect.ignore)
    elif form is Form.TEXT:
        _texts(one, other, media, rules, findings)
    elif not one or not other:
        kind = Kind.REMOVED if one else Kind.ADDED
        findings.place("$", kind, _start(one), _start(other), rules.root.effect.ignore)
    elif form is Form.JSON:
        compare_json(_utf8(one, media[0]), _utf8(other, media[1]), rules, findings)
    else:
        _structured(one, other, media, rules, findings)


def _packed(bodies: Packed, rules: RouteRules, findings: Findings) -> None:
    """Compare messages by their descriptors; without any, by their bytes."""
    one, other = bodies.one, bodies.other
    whole = rules.root.effect.ignore
    if bodies.media[0].form is Form.GRPC and not (one and other):  # no message at all: its status says why
        findings.place("$", Kind.REMOVED if one else Kind.ADDED, _size(one), _size(other), whole)
        return
    left, right, described = read_both(bodies)
    if isinstance(left, BrokenBodyError) or isinstance(right, BrokenBodyError):
        faults = [str(side) if isinstance(side, BrokenBodyError) else "" for side in (left, right)]
        if all(faults):
            compare_bytes(one, other, findings, whole)
            return
        said = [
            f"broken ({why}): {_size(body)}" if why else _size(body)
            for why, body in zip(faults, (one, other), strict=True)
        ]
        findings.place("$", Kind.TYPE, said[0], said[1], whole)
    elif described:
        compare_values(Parsed(left, right, STRICT), rules, findings)
    elif left != right:
        compare_bytes(one, other, findings, whole)


def _size(body: bytes) -> str | None:
    return f"{len(body)} bytes" if body else None


def compare_json(one: bytes, other: bytes, rules: RouteRules, findings: Findings) -> None:
    """Note where two JSON texts differ."""
    if len(other) >= _SKIMMED_FROM_BYTES and _skimmed(one, other, rules, findings):
        return
    try:
        is_first = not (findings.counted or findings.covered or findings.unlisted)
        parsed = parse_both(one, other, hopeful=is_first)
        if parsed.hoped:
            if Walker(findings, parsed.tier).explain(parsed, rules.root):
                return
            findings.rewind(NOTHING)
            parsed = parsed.settled(one, other)
    except NotJsonError:
        _refused(one, other, rules, findings)
    else:
        compare_values(parsed, rules, findings)


def _skimmed(one: bytes, other: bytes, rules: RouteRules, findings: Findings) -> bool:
    """Note where texts differ that need not be parsed; return whether they are such."""
    values = skimmed(one, other, rules.places)
    if values is None:
        return False
    compare_values(Parsed(*values, FLOATS), rules, findings)
    return True


def compare_values(parsed: Parsed, rules: RouteRules, findings: Findings) -> None:
    """Note where two values differ; what was left as equal is proved by the tier, or all is done again strictly."""
    one, other = parsed.primary, parsed.candidate
    # Texts of unequal length are hardly of equal values, so that walking them need not begin by asking.
    if parsed.dump and len(parsed.dump) == len(parsed.dump_other) and one == other and alike_sorted(one, other):
        return
    mark = findings.mark()
    if not Walker(findings, parsed.tier).explain(parsed, rules.root):
        findings.rewind(mark)
        Walker(findings, STRICT).explain(parsed, rules.root)


def _refused(one: bytes, other: bytes, rules: RouteRules, findings: Findings) -> None:
    """Look at texts that no parser takes: they bear a byte order mark, or are broken."""
    if one.startswith(_BOM) or other.startswith(_BOM):
        one, other = _unmarked(one, other, rules, findings)
        try:
            parsed = parse_both(one, other)
        except NotJsonError:
            pass
        else:
            compare_values(parsed, rules, findings)
            return
    _broken(one, other, (_fault(one), _fault(other)), rules, findings)


def _unmarked(one: bytes, other: bytes, rules: RouteRules, findings: Findings) -> tuple[bytes, bytes]:
    """Drop byte order marks, which some parsers refuse: a mark on one side alone is a difference."""
    marks = [_MARK if body.startswith(_BOM) else None for body in (one, other)]
    if marks[0] != marks[1]:
        findings.place("bytes[0]", Kind.BYTES, marks[0], marks[1], rules.root.effect.ignore, pattern="bytes[*]")
    return one.removeprefix(_BOM), other.removeprefix(_BOM)


def _utf8(body: bytes, media: Media) -> bytes:
    """Return JSON as UTF-8, where a charset says that it is written otherwise (RFC 8259 knows UTF-8 alone)."""
    if media.charset in _UTF8:
        return body
    try:
        return body.decode(media.charset).encode()
    except (UnicodeError, LookupError):
        return body


def _structured(one: bytes, other: bytes, media: tuple[Media, Media], rules: RouteRules, findings: Findings) -> None:
    left, right = _value(one, media[0]), _value(other, media[1])
    if isinstance(left, BrokenBodyError) or isinstance(right, BrokenBodyError):
        faults = tuple(str(side) if isinstance(side, BrokenBodyError) else "" for side in (left, right))
        _broken(one, other, faults, rules, findings)
        return
    compare_values(Parsed(left, right, STRICT), rules, findings)


def _value(body: bytes, media: Media) -> Value | BrokenBodyError:
    try:
        match media.form:
            case Form.NDJSON:
                return ndjson(body)
            case Form.SSE:
                return events(body)
            case Form.FORM:
                return form(body, media.charset)
            case Form.MULTIPART:
                return multipart(body, media)
            case _:
                return xml(body)
    except BrokenBodyError as error:
        return error


def _broken(one: bytes, other: bytes, faults: Sequence[str], rules: RouteRules, findings: Findings) -> None:
    """Note that at least one side is not what its type says."""
    whole = rules.root.effect.ignore
    if all(faults):
        if one != other:
            compare_bytes(one, other, findings, whole)
        return
    shown = [
        f"broken ({fault}): {_start(body)}" if fault else _start(body)
        for fault, body in zip(faults, (one, other), strict=True)
    ]
    findings.place("$", Kind.TYPE, shown[0], shown[1], whole)


def _fault(text: bytes) -> str:
    try:
        parse_exact(text)
    except NotJsonError as error:
        return str(error)
    return ""


def _start(body: bytes) -> str | None:
    return body[:_START_BYTES].decode("utf-8", "replace") if body else None


def _texts(one: bytes, other: bytes, media: tuple[Media, Media], rules: RouteRules, findings: Findings) -> None:
    whole = rules.text.ignore or rules.root.effect.ignore
    if not one or not other:
        findings.place("text", Kind.REMOVED if one else Kind.ADDED, _start(one), _start(other), whole)
        return
    try:
        left, right = text_of(one, media[0].charset), text_of(other, media[1].charset)
    except BrokenBodyError:
        compare_bytes(one, other, findings, whole)
        return
    if left != right:
        compare_text(left, right, rules.text, findings, whole)


_BOM: Final = b"\xef\xbb\xbf"
_MARK: Final = "byte order mark"
_UTF8: Final = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})
_START_BYTES: Final = 4096
_SKIMMED_FROM_BYTES: Final = 2048
"""Finding out in vain that a shorter text must be parsed takes as much as not parsing it gives."""
