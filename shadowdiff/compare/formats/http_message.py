"""HTTP messages, such as the parts of an OData batch, compared by start line, headers and body.

A message is an object: `status`, `reason` and `version` of a response, or `method`, `target` and `version` of a
request; and `type`, `parameters`, `headers` and `body`, as for a part of a multipart body. Headers that differ between
any two deployments are left out, as in a response. A Content-Length is left out if it is right.
Source: RFC 9112, sections 2 and 10.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.compared_headers import ALL_HEADERS, EXCLUDED
from shadowdiff.compare.formats.format import BrokenBodyError, Format
from shadowdiff.compare.formats.multipart import HTTP, boundaries_in, check_nesting, entity, note_boundaries

if TYPE_CHECKING:
    from shadowdiff.compare.content_type import Media
    from shadowdiff.compare.formats.format import Bodies
    from shadowdiff.compare.formats.multipart import FormatOf
    from shadowdiff.rules.json_values import Value

_RESPONSE: Final = re.compile(r"HTTP/(?P<version>[0-9](?:\.[0-9])?) (?P<status>[0-9]{3})(?: (?P<reason>.*))?")
_REQUEST: Final = re.compile(
    r"(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]+) (?P<target>\S+) HTTP/(?P<version>[0-9](?:\.[0-9])?)"
)
_LENGTH: Final = "content-length"
_LINE_ENDS: Final = b"\r\n"


class HttpMessage(Format):
    """Reads one response or request.  format_of: finds the format of its body."""

    name = "`application/http`"
    docs = (
        "an object with `status`, `reason` and `version`, or `method`, `target` and `version`; `type`, `parameters`,"
        " `headers` and `body` as for a part: `$[0].body.body.price`"
    )
    media_types = (HTTP,)
    has_lengths = True

    def __init__(self, format_of: FormatOf) -> None:
        self._format_of = format_of

    def value(self, body: bytes, media: Media) -> Value:
        return self.embedded(body, media, 0)

    def embedded(self, body: bytes, media: Media, depth: int) -> Value:
        check_nesting(depth)
        head, gap, content = body.partition(b"\r\n\r\n")
        if not gap and not head.endswith(_LINE_ENDS):
            raise BrokenBodyError("an HTTP message has no blank line after its headers")
        line, _, fields = head.removesuffix(_LINE_ENDS).partition(_LINE_ENDS)
        text = line.decode("utf-8", "surrogateescape")
        start = _RESPONSE.fullmatch(text) or _REQUEST.fullmatch(text)
        if start is None:
            raise BrokenBodyError("an HTTP message begins with no status line or request line")
        found: dict[str, Value] = dict(start.groupdict())
        if "status" in found:
            found["status"] = int(start["status"])
        return found | self._entity(fields, content, depth)

    def _entity(self, fields: bytes, content: bytes, depth: int) -> dict[str, Value]:
        found = entity(fields, content, "", self._format_of, depth)
        headers = found.pop("headers", None)
        if isinstance(headers, dict):
            kept = {name: value for name, value in headers.items() if _is_compared(name, value, content)}
            if kept:
                found["headers"] = kept
        return found

    def _try_values(self, bodies: Bodies) -> tuple[Value | BrokenBodyError, Value | BrokenBodyError]:
        one, other = super()._try_values(bodies)
        note_boundaries(boundaries_in(one, None), boundaries_in(other, None), bodies.findings)
        return one, other


def _is_compared(name: str, value: Value, content: bytes) -> bool:
    if name == _LENGTH:
        return value not in {str(len(content)), str(len(content.rstrip(_LINE_ENDS)))}
    return ALL_HEADERS.usual[name.encode("utf-8", "surrogateescape")] != EXCLUDED
