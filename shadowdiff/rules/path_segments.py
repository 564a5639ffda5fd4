"""Name the values in one segment of a path: `42` is `{id}`, `105.json` is `{id}.json`, `user-42` is `user-{id}`.

The name depends on the segment only, so all processes use the same one. Naming a name again changes nothing. The time
is linear in the segment.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MAX_SEGMENT_CHARS: Final = 48
MAX_EMAIL_CHARS: Final = 254
"""Source: RFC 5321, section 4.5.3.1.3. The pattern needs quadratic time in a segment full of `%40`."""
MIN_TOKEN_DIGITS: Final = 2
LIST: Final = "{list}"
NAME: Final = "{name}"
PLACEHOLDERS: Final = frozenset({"{id}", "{uuid}", "{date}", "{email}", "{hex}", "{token}", "{rest}", LIST, NAME})

_MAX_AFFIXED_CHARS: Final = 80
_MAX_CACHED: Final = 8192
_MAX_MATRIX_PARAMETERS: Final = 4
_UUID_TEXT: Final = "[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
_UUID: Final = re.compile(_UUID_TEXT, re.IGNORECASE)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}(?:-[0-9]{2}(?:T[0-9:.%A-Za-z+-]*)?)?")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:[.,][0-9]+)*")
_SHAPES: Final = ((_UUID, "{uuid}"), (_DATE, "{date}"), (_NUMBER, "{id}"))
_HEX: Final = re.compile(r"(?:0x)?[0-9a-f]{8,}", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[0-9A-Za-z_.~=-]{16,}")
_EMAIL: Final = re.compile(r"[^@/]+(?:@|%40)[^@/]+\.[^@/]+")
_KEY: Final = re.compile(r"(?:A[A-Z]{3}[0-9A-Z]{16}|(?:sk|rk|pk)_(?:live|test)_\w+|[0-9A-Za-z_]{40,})")
"""API keys of well-known services. Longer keys are recognized as tokens because of their length."""
_DIGIT: Final = re.compile(r"[0-9]")

_EXTENSION: Final = re.compile(
    r"(?:\.(?:min|tar|d))?\.(?:7z|aspx?|atom|avif|avro|bin|bmp|bz2|cbor|cfm|css|csv|do|docx?|eot|epub|exe|geojson|gif|gz|html?"
    r"|ics|ico|iso|jar|jpe?g|js|json|jsonl|jsonld|jsp|kml|m3u8|map|md|mjs|mov|mp3|mp4|msgpack|ndjson|ogg|parquet|pbf|pdf|php|png"
    r"|proto|pptx?|rdf|rss|sql|svg|svgz|tar|tgz|tiff?|toml|ts|tsv|ttf|ttl|txt|vcf|wasm|wav|webm|webmanifest|webp|woff2?|xhtml"
    r"|xlsx?|xml|ya?ml|zip)",
    re.IGNORECASE,
)
_VALUE: Final = (
    rf"(?P<uuid>{_UUID_TEXT})|(?P<date>[0-9]{{4}}-[0-9]{{2}}(?:-[0-9]{{2}})?(?!-?[0-9]))|(?P<id>[0-9]+(?:[.,][0-9]+)*)"
)
_VALUES: Final = re.compile(
    rf"(?<![0-9A-Za-z%{{])(?<![0-9]\.)(?:{_VALUE}|(?P<hex>(?=[a-f]*[0-9])[0-9a-f]{{8,64}})"
    r"|(?P<word>[A-Za-z]{1,8})(?P<number>[0-9]{3,}))(?![0-9A-Za-z}]|\.[0-9])",
    re.IGNORECASE,
)
"""A value between separators, or at least three digits after a few letters."""
_AFFIXED: Final = re.compile(
    rf"[A-Za-z]+(?:[._~-][A-Za-z]+)?[._~:=-](?:{_VALUE})"
    rf"|(?:{_VALUE.replace('?P<', '?P<_')})(?:[._~:;-][A-Za-z]+){{1,2}}",
    re.IGNORECASE,
)
"""A value with one or two words before or after it. A text with more words is a title."""
_LIST: Final = re.compile(r"[^,;:]+(?:,[^,;:]*)+(?=[;:]|\Z)")
_QUOTED: Final = re.compile(r"\('[^']*'\)")
_REPEATED: Final = re.compile(r"(\{[a-z]+\})(?:[-_.,:~+]\1)+")
_VERSION: Final = re.compile(r"v[0-9]{1,3}(?:\.[0-9]{1,3}){0,3}(?:-?[a-z]{1,5}\.?[0-9]{0,3})?", re.IGNORECASE)


def shape(segment: str) -> str:
    """Return a name for the shape of a segment, such as `{id}`; the segment itself if it has no known shape."""
    for pattern, name in _SHAPES:
        if pattern.fullmatch(segment):
            return name
    if len(segment) <= MAX_EMAIL_CHARS and _EMAIL.fullmatch(segment):
        return "{email}"
    digits = len(_DIGIT.findall(segment[:MAX_SEGMENT_CHARS]))
    if digits and _HEX.fullmatch(segment):
        return "{hex}"
    if _KEY.fullmatch(segment) or len(segment) > MAX_SEGMENT_CHARS:
        return "{token}"
    return "{token}" if digits >= MIN_TOKEN_DIGITS and _TOKEN.fullmatch(segment) else segment


def outer_name(segment: str) -> str:
    """Return a segment without the values that can be named before secrets are hidden.

    What this leaves of a segment with a value is only an extension, so it is no part of a secret.
    """
    return _outer(segment) if len(segment) <= _MAX_AFFIXED_CHARS else _outer_name(segment)


def inner_name(segment: str) -> str:
    """Return a segment with the names of the values in it. Its secrets must be hidden already."""
    if not segment or segment in PLACEHOLDERS or not (_DIGIT.search(segment) or "," in segment or "('" in segment):
        return segment
    return _inner(segment)


def split_extension(segment: str) -> tuple[str, str]:
    """Return a segment's name and its extension with the dot. The extension is empty if it is not a usual one."""
    dot = segment.rfind(".")
    if dot <= 0:
        return segment, ""
    for at in (segment.rfind(".", 0, dot), dot):
        if at > 0 and _EXTENSION.fullmatch(segment, at):
            return segment[:at], segment[at:]
    return segment, ""


def _outer_name(segment: str) -> str:
    if ";" in segment and len(segment) <= MAX_EMAIL_CHARS:
        first, *parameters = segment.split(";", _MAX_MATRIX_PARAMETERS)
        return ";".join([_outer_name(first), *map(_matrix_parameter, parameters)])
    stem, extension = split_extension(segment)
    if len(stem) <= _MAX_AFFIXED_CHARS and _AFFIXED.fullmatch(stem):
        return segment
    whole = shape(segment) if not extension or "@" in segment or "%40" in segment else segment
    return shape(stem) + extension if whole == segment else whole


def _matrix_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    return f"{shape(name)}={shape(value)}" if equals else shape(name)


def _inner_name(segment: str) -> str:
    if _VERSION.fullmatch(segment):
        return segment
    stem, extension = split_extension(segment)
    named = _LIST.sub(LIST, _QUOTED.sub("('{name}')", stem), count=1)
    named = _REPEATED.sub(r"\1", _VALUES.sub(_named_value, named))
    return named + extension if len(named) <= MAX_SEGMENT_CHARS else f"{{token}}{extension}"


def _named_value(value: re.Match[str]) -> str:
    word = value["word"]
    return f"{word}{{id}}" if word else f"{{{value.lastgroup}}}"


_outer = lru_cache(_MAX_CACHED)(_outer_name)
_inner = lru_cache(_MAX_CACHED)(_inner_name)
