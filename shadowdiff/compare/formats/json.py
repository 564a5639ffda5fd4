"""JSON, compared by value: member order and whitespace between tokens do not matter.

A prefix such as `)]}'`, which keeps other sites from running the body as a script, is removed, and compared by itself.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.compare.content_type import Media, codec_of, decode
from shadowdiff.compare.exact import EXACT_BYTES_PER_UNIT, NotJsonError, Parsed, parse_both, parse_exact, settled
from shadowdiff.compare.finding import NOTHING, Findings
from shadowdiff.compare.formats.format import BOM, Bodies, Format, compare_values, start_of, value_or_fault
from shadowdiff.compare.skim import skimmed
from shadowdiff.compare.walk import FLOATS, Walker
from shadowdiff.model import Kind

if TYPE_CHECKING:
    from shadowdiff.rules.compiled import RouteRules
    from shadowdiff.rules.json_values import Value

_UTF8: Final = frozenset({"utf_8", "ascii"})
_USUAL_CHARSETS: Final = frozenset({"", "utf-8"})
_SKIMMED_FROM_BYTES: Final = 2048
"""The minimum size of a text. For a shorter text, a failed attempt costs as much as a successful attempt saves."""

_PREFIX: Final = re.compile(
    rb"""[ \t\r\n]*(?:\)\]\}'?,?|while ?\(1\);|for ?\(;;\);|throw 1;(?: ?<[^>\n]{0,40}>)?|\{\} ?&&)[ \t\r\n]*"""
)


class Json(Format):
    """Reads a body with the fastest parser that is exact for it."""

    name = "JSON, `+json`"
    docs = "the value; the order of members and whitespace do not matter"
    units_per_byte = 1 / EXACT_BYTES_PER_UNIT
    media_types = ("application/json", "text/json", "application/x-json", "+json")

    def value(self, body: bytes, media: Media) -> Value:
        text = _utf8(body, media).removeprefix(BOM)
        return parse_exact(text.removeprefix(_prefix(text)))

    def embedded(self, body: bytes, media: Media, depth: int) -> Value:
        return parse_exact(body)

    def compare(self, bodies: Bodies) -> None:
        if not bodies.one or not bodies.other:
            bodies.note_absent()
            return
        one, other = _utf8(bodies.one, bodies.media[0]), _utf8(bodies.other, bodies.media[1])
        if compare_json(one, other, bodies.rules, bodies.findings):
            return
        bodies = _without_prefixes(msgspec.structs.replace(bodies, one=one, other=other).without_marks())
        is_shorter = (one, other) != (bodies.one, bodies.other)
        if is_shorter and compare_json(bodies.one, bodies.other, bodies.rules, bodies.findings):
            return
        faults = (value_or_fault(partial(parse_exact, text)) for text in (bodies.one, bodies.other))
        bodies.note_broken(*faults, show=start_of)


def _prefix(text: bytes) -> bytes:
    """Return the prefix that keeps a JSON text from being a script; valid JSON has none."""
    found = _PREFIX.match(text)
    return found[0] if found else b""


def _without_prefixes(bodies: Bodies) -> Bodies:
    """Remove the prefixes, and note a difference between them, because clients remove a known prefix."""
    one, other = _prefix(bodies.one), _prefix(bodies.other)
    if one != other:
        shown = start_of(one), start_of(other)
        bodies.findings.note("bytes[0]", Kind.BYTES, *shown, bodies.whole, pattern="bytes[*]")
    return msgspec.structs.replace(bodies, one=bodies.one.removeprefix(one), other=bodies.other.removeprefix(other))


def compare_json(one: bytes, other: bytes, rules: RouteRules, findings: Findings) -> bool:
    """Note where two JSON texts differ; return False if one of them is not JSON."""
    if len(other) >= _SKIMMED_FROM_BYTES and (values := skimmed(one, other, rules.places)) is not None:
        compare_values(Parsed(*values, FLOATS), rules, findings)
        return True
    try:
        is_first = not (findings.counted or findings.covered or findings.unlisted)
        parsed = parse_both(one, other, findings.budget, may_try=is_first)
        if parsed.on_trial:
            if Walker(findings, parsed.tier).explain(parsed, rules.root):
                return True
            findings.rewind(NOTHING)
            parsed = settled(parsed, one, other, findings.budget)
    except NotJsonError:
        return False
    compare_values(parsed, rules, findings)
    return True


def _utf8(body: bytes, media: Media) -> bytes:
    """Return JSON text converted to UTF-8 (RFC 8259 allows only UTF-8)."""
    if media.charset in _USUAL_CHARSETS or codec_of(media.charset) in _UTF8:
        return body
    try:
        return decode(body, media.charset).encode()
    except (UnicodeError, LookupError):
        return body
