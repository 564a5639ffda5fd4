"""Several JSON texts in one body, compared as an array: one text per line (NDJSON), or a JSON text sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.compare.exact import NotJsonError, parse_exact
from shadowdiff.compare.formats.format import BrokenBodyError, Format

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.compare.content_type import Media
    from shadowdiff.rules.json_values import Value

_SEQUENCE: Final = "json-seq"
_RECORD_SEPARATOR: Final = b"\x1e"
_BLANKS: Final = b" \t\r\n"
_SELF_DELIMITED: Final = frozenset({b"}", b"]", b'"', b""})


class JsonLines(Format):
    """Reads one value per line or text. Blank lines and a missing final line end do not matter."""

    name = "NDJSON, JSON Lines, `stream+json`, `json-seq`"
    docs = "an array with one value for each line, or for each text of a JSON text sequence: `$[2].id`"
    media_types = (
        "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonl",
        "application/jsonlines", "application/json-lines", "application/stream+json", "application/x-json-stream",
        "+ndjson", "+x-ndjson", "+jsonl", f"application/{_SEQUENCE}", f"+{_SEQUENCE}",
    )  # fmt: skip
    empty_is_sequence = True

    def value(self, body: bytes, media: Media) -> Value:
        if not media.name.endswith(_SEQUENCE):
            return _values(body.split(b"\n"), "line")
        before, *texts = body.split(_RECORD_SEPARATOR)
        if before.strip():
            raise BrokenBodyError("a JSON text sequence must begin with a record separator")
        if any(text.strip()[-1:] not in _SELF_DELIMITED and text.rstrip() == text for text in texts):
            raise BrokenBodyError("a JSON text sequence ends in the middle of a text")  # RFC 7464 section 2.4
        return _values(texts, "text")


def _values(texts: Iterable[bytes], unit: str) -> Value:
    values: list[Value] = []
    for number, text in enumerate(texts):
        if text.strip(_BLANKS):
            try:
                values.append(parse_exact(text))
            except NotJsonError as error:
                raise BrokenBodyError(f"{unit} {number}: {error}") from error
    return values
