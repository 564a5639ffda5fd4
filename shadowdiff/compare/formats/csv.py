"""CSV with a header row, compared as the names of the columns and a row for each other line.

The Content-Type must have the parameter `header=present`, because nothing else shows whether the first row is a header.
Source: RFC 4180.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.content_type import BrokenBodyError
from shadowdiff.compare.exact import members_of
from shadowdiff.compare.formats.format import Format, text_of

if TYPE_CHECKING:
    from shadowdiff.compare.content_type import Media
    from shadowdiff.rules.json_values import Value

_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
csv.field_size_limit(1 << 30)  # bodies have a limit of their own


class Csv(Format):
    """Reads fields as text. A row with another number of fields than the header is an array, so that none gets lost."""

    name = "`text/csv; header=present`"
    docs = (
        "an object with `header`, the names of the columns, and `rows`, an object for each row: `$.rows[2].price`. A"
        " row with more or fewer fields than the header is an array"
    )
    media_types = ("text/csv; header=present",)

    def value(self, body: bytes, media: Media) -> Value:
        try:
            header, *rows = csv.reader(_LINE.findall(text_of(body, media.charset)), strict=True)
        except (csv.Error, ValueError) as error:
            raise BrokenBodyError(f"not CSV: {error}") from error
        return {"header": [*header], "rows": [_row(header, row) for row in rows]}


def _row(header: list[str], row: list[str]) -> Value:
    return members_of(list(zip(header, row, strict=True))) if len(row) == len(header) else [*row]
