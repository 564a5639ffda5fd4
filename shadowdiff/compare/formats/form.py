"""URL-encoded forms, compared as objects with an array of values for each name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.compare.form_fields import form_fields
from shadowdiff.compare.formats.format import Format

if TYPE_CHECKING:
    from shadowdiff.compare.content_type import Media
    from shadowdiff.rules.json_values import Value


class Form(Format):
    """Reads the values of each name."""

    name = "URL-encoded form"
    docs = "an object of arrays of strings: `$.name[0]`; a field without `=` has the empty name"
    media_types = ("application/x-www-form-urlencoded",)

    def value(self, body: bytes, media: Media) -> Value:
        return form_fields(body, media.charset)
