"""Server-sent events, compared as an array of events.

Source: HTML Living Standard, section 9.2.6.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.exact import NotJsonError, parse_exact
from shadowdiff.compare.formats.format import Format, text_of

if TYPE_CHECKING:
    from shadowdiff.compare.content_type import Media
    from shadowdiff.rules.json_values import Value

_LINE_END: Final = re.compile("\r\n|\n|\r")


class EventStream(Format):
    """Reads `event`, `id`, `retry` and `data` of each event; parses data that is a JSON object or array.

    A blank line ends an event. Clients ignore the text after the last blank line, so this text is under `unfinished`.
    """

    name = "`text/event-stream`"
    docs = (
        "an array of events, each with `event`, `id`, `retry`, `data`. If data is a JSON object or array, it is"
        " compared as JSON: `$[*].data.choices`. An event without a blank line at its end has the path `unfinished`"
    )
    media_types = ("text/event-stream",)
    empty_is_sequence = True

    def value(self, body: bytes, media: Media) -> Value:
        found: list[Value] = []
        fields: dict[str, Value] = {}
        lines: list[str] = []
        *ended, rest = _LINE_END.split(text_of(body, ""))
        for line in [*ended, *([rest] if rest else [])]:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                lines.append(value)
            elif name in {"event", "id", "retry"}:
                fields[name] = value
            if not line and (fields or lines):
                found.append(_event(fields, lines))
                fields, lines = {}, []
        if fields or lines:
            found.append({"unfinished": _event(fields, lines)})
        return found


def _event(fields: dict[str, Value], lines: list[str]) -> Value:
    return {**fields, "data": _data("\n".join(lines))} if lines else fields


def _data(text: str) -> Value:
    if text[:1] in {"{", "["}:
        with suppress(NotJsonError):
            return parse_exact(text.encode("utf-8", "surrogatepass"))
    return text
