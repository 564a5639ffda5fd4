"""HTTP messages, such as the parts of an OData batch, compared by start line, headers and body.

A message is an object: the `status` of a response, or `method` and `target` of a request; and `type`, `parameters`,
`headers` and `body`, as for a part of a multipart body. The reason and the version do not matter, as in a response. A
Content-Length is left out if it is right.
Source: RFC 9112, sections 2 and 10.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.formats.format import BrokenBodyError, Format
from shadowdiff.compare.formats.multipart import check_nesting, entity, read_messages
from shadowdiff.compare.message_headers import HTTP, LENGTH

if TYPE_CHECKING:
    from shadowdiff.compare.content_type import Media
    from shadowdiff.compare.formats.format import Bodies
    from shadowdiff.compare.formats.multipart import FormatOf
    from shadowdiff.rules.json_values import Value

_RESPONSE: Final = re.compile(r"HTTP/[0-9](?:\.[0-9])? (?P<status>[0-9]{3})(?: .*)?")
_REQUEST: Final = re.compile(r"(?P<method>[!#$%&'*+.^_`|~0-9A-Za-z-]+) (?P<target>\S+) HTTP/[0-9](?:\.[0-9])?")
_LINE_ENDS: Final = b"\r\n"


class HttpMessage(Format):
    """Reads one response or request.  format_of: finds the format of its body."""

    name = "`application/http`"
    docs = (
        "an object with `status`, or `method` and `target`; `type`, `parameters`, `headers` and `body` as for a part:"
        " `$[0].body.body.price`"
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
        headers = found.get("headers")
        if isinstance(headers, dict) and headers.get(LENGTH) in _lengths(content):
            del headers[LENGTH]
        return found

    def _try_values(self, bodies: Bodies) -> tuple[Value | BrokenBodyError, Value | BrokenBodyError]:
        one, other = super()._try_values(bodies)
        read_messages(one, other, bodies)
        return one, other


def _lengths(content: bytes) -> tuple[str, str]:
    """Return the right lengths of a body; the line end after it may belong to the boundary."""
    return str(len(content)), str(len(content.rstrip(_LINE_ENDS)))
