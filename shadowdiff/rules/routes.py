"""Name the route of a request.

In: method and path as on the wire.  Out: a route such as `GET /products/{id}`.
Holds: pure; a template decides where one matches (literal segments before parameters); else segments that look
like identifiers collapse. Names are bounded in length and the memory of paths seen is bounded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_REMEMBERED: Final = 16_384
MAX_SEGMENTS: Final = 12
MAX_SEGMENT_CHARS: Final = 48
MAX_REMEMBERED_PATH_CHARS: Final = 512
MIN_TOKEN_DIGITS: Final = 2

_UUID: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}(?:-[0-9]{2}(?:T[0-9:.%A-Za-z+-]*)?)?")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:[.,][0-9]+)*")
_SHAPES: Final = ((_UUID, "{uuid}"), (_DATE, "{date}"), (_NUMBER, "{id}"))
_HEX: Final = re.compile(r"(?:0x)?[0-9a-f]{8,}", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[0-9A-Za-z_.~=-]{16,}")
_DIGIT: Final = re.compile(r"[0-9]")


class Router:
    """Templates such as `/products/{id}`, optionally with a method before them, made ready to match."""

    def __init__(self, templates: Sequence[str] = ()) -> None:
        self._templates = [_Template(template) for template in templates]
        self._templates.sort(key=lambda template: template.rank)
        self._remembered: dict[tuple[str, str], str] = {}

    def route(self, method: str, path: str) -> str:
        """Return the route's name; the query is left out of account."""
        path = path.partition("?")[0]
        known = self._remembered.get((method, path))
        return known if known is not None else self._learn(method, path)

    def _learn(self, method: str, path: str) -> str:
        route = self._match(method, path) or f"{method} {infer(path)}"
        if len(path) <= MAX_REMEMBERED_PATH_CHARS:
            while len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[method, path] = route
        return route

    def _match(self, method: str, path: str) -> str | None:
        segments = path.split("/")
        for template in self._templates:
            if template.matches(method, segments):
                return f"{method} {template.path}"
        return None


class _Template:
    """One template, split; `None` stands for a parameter."""

    def __init__(self, template: str) -> None:
        method, _, path = template.strip().rpartition(" ")
        self.method = method.strip().upper()
        self.path = path
        self._segments = [None if segment.startswith("{") else segment for segment in path.split("/")]
        self.rank = tuple(segment is None for segment in self._segments), not self.method

    def matches(self, method: str, segments: Sequence[str]) -> bool:
        if len(segments) != len(self._segments) or (self.method and self.method != method):
            return False
        return all(
            own == other if own is not None else other != ""
            for own, other in zip(self._segments, segments, strict=True)
        )


def infer(path: str) -> str:
    """Return the path with what looks like an identifier collapsed, and its length bounded."""
    segments = path.split("/")
    shown = [_collapse(segment) for segment in segments[: MAX_SEGMENTS + 1]]
    if len(segments) > MAX_SEGMENTS + 1:
        shown.append("{rest}")
    return "/".join(shown) or "/"


def _collapse(segment: str) -> str:
    for shape, name in _SHAPES:
        if shape.fullmatch(segment):
            return name
    digits = len(_DIGIT.findall(segment[:MAX_SEGMENT_CHARS]))
    if digits and _HEX.fullmatch(segment):
        return "{hex}"
    if len(segment) > MAX_SEGMENT_CHARS or (digits >= MIN_TOKEN_DIGITS and _TOKEN.fullmatch(segment)):
        return "{token}"
    return segment
