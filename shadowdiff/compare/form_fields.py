"""Read the fields of a URL-encoded form.

Source: WHATWG URL, section 5.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.content_type import BrokenBodyError, decode

if TYPE_CHECKING:
    from shadowdiff.rules.json_values import Value

_NAME: Final = re.compile(rb"[A-Za-z0-9*._+%\[\]$@:~!/-]{1,64}")
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def form_fields(body: bytes, charset: str = "") -> Value:
    """Return the values of each name in order; a field without `=` has the empty name. Raises: BrokenBodyError.

    Names become parts of paths, and each path is counted. A text that is not really a form must not create many paths,
    so names must be short and form-encoded, and at least one field must have a value.
    """
    fields: dict[str, list[Value]] = {}
    has_value = not body
    for pair in body.split(b"&"):
        if pair:
            name, equals, value = pair.partition(b"=") if b"=" in pair else (b"", b"", pair)
            if equals and not _NAME.fullmatch(name):
                raise BrokenBodyError("not a form: a field name is not valid in a form")
            has_value = has_value or (value.strip(b"=") != b"" and equals != b"")
            fields.setdefault(_unescape(name, charset), []).append(_unescape(value, charset))
    if not has_value:
        raise BrokenBodyError("not a form: no field has a value")
    return dict(fields)


def _unescape(text: bytes, charset: str) -> str:
    raw = _ESCAPE.sub(lambda found: bytes((int(found.group(1), 16),)), text.replace(b"+", b" "))
    try:
        return decode(raw, charset or "utf-8")
    except (UnicodeError, LookupError) as error:
        raise BrokenBodyError(f"not {charset[:40] or 'utf-8'}: {error}") from error
