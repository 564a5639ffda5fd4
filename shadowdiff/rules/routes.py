"""Name the route of a request.

In: method and path as on the wire.  Out: a route such as `GET /products/{id}`, or `_other`.
Holds: pure; a template decides where one matches (literal segments before parameters); else values in the path are
named (`segments.py`). A path is taken as HTTP has it: case and a trailing slash tell paths apart, `%7E` and `~` are
one, `%2F` is no slash. A name once given stays, but for words at a place that turns out to take values, which change
once. At most `most` names are given; what comes later is `_other`, unless a rule speaks of it. What this process named
and found is offered to the others, and theirs is taken.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shadowdiff.rules.segments import Place, Places

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OTHER: Final = "_other"
MAX_REMEMBERED: Final = 16_384
MAX_REMEMBERED_PATH_CHARS: Final = 512

_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_PARAMETER: Final = re.compile(r"\{[^{}]*\}")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Router:
    """Templates such as `/products/{id}`, optionally with a method before them, made ready to match.

    most: names given at most; 0: without a bound.  spoken_of: routes or templates that rules name, never `_other`.
    """

    def __init__(self, templates: Sequence[str] = (), *, most: int = 0, spoken_of: Iterable[str] = ()) -> None:
        self._templates = [_Template(template) for template in templates]
        self._templates.sort(key=lambda template: template.rank)
        self._remembered: dict[tuple[str, str], str] = {}
        self._places = Places()
        self._most = most
        self._spoken_of = frozenset(spoken_of)
        self._given: dict[str, None] = {}
        self.fresh: dict[str, None] = {}

    def route(self, method: str, path: str) -> str:
        """Return the route's name; the query is left out of account."""
        path = path.partition("?")[0]
        known = self._remembered.get((method, path))
        return known if known is not None else self._learn(method, path)

    def told(self, method: str, path: str) -> str:
        """Return the name that a request would have, and give none: for what is counted and never compared."""
        path = path.partition("?")[0]
        known = self._remembered.get((method, path))
        if known is not None:
            return known
        found = len(self._places.found)
        name, _ = self._name(method, normal(path))
        if len(self._places.found) != found:
            self._forget_moved()
        has_room = not self._most or len(self._given) < self._most
        return name if name in self._given or has_room or self._is_spoken_of(name) else OTHER

    def take_found(self) -> list[Place]:
        """Return the places found to take values since the last call."""
        found, self._places.found = self._places.found, []
        return found

    def take_fresh(self) -> list[str]:
        """Return the names given since the last call."""
        fresh, self.fresh = self.fresh, {}
        return list(fresh)

    def given(self) -> list[str]:
        """Return the names that stand apart."""
        return list(self._given)

    def adopt(self, names: Sequence[str], places: Iterable[Place]) -> None:
        """Take what all processes know: the names given (the bound is theirs together), and the places of values."""
        moved = self._places.take(places)
        known = dict.fromkeys(name for name in names if self.named_now(name) == name)
        known.update(self.fresh)
        if moved or known.keys() != self._given.keys():
            self._given = known
            self._remembered.clear()

    def named_now(self, route: str) -> str:
        """Return what a name given earlier is called by now: the same, or with a place turned to `{name}`."""
        method, space, path = route.partition(" ")
        if not space or any(path == template.path for template in self._templates):
            return route
        return f"{method} {self._places.named_now(path)}"

    def _learn(self, method: str, path: str) -> str:
        found = len(self._places.found)
        name, often = self._name(method, normal(path))
        if len(self._places.found) != found:
            self._forget_moved()
        route = self._admit(name)
        if often and len(path) <= MAX_REMEMBERED_PATH_CHARS:
            while len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[method, path] = route
        return route

    def _name(self, method: str, path: str) -> tuple[str, bool]:
        segments = path.split("/")
        for template in self._templates:
            if template.matches(method, segments):
                return f"{method} {template.path}", True
        named, often = self._places.name(segments)
        return f"{method} {named}", often

    def _forget_moved(self) -> None:
        """Free the names that a place which turned to values had used up."""
        self._remembered.clear()
        self._given = {name: None for name in self._given if self.named_now(name) == name}
        self.fresh = {name: None for name in self.fresh if self.named_now(name) == name}

    def _admit(self, name: str) -> str:
        if name in self._given:
            return name
        if self._most and len(self._given) >= self._most and not self._is_spoken_of(name):
            return OTHER
        self._given[name] = self.fresh[name] = None
        return name

    def _is_spoken_of(self, name: str) -> bool:
        return name in self._spoken_of or name.partition(" ")[2] in self._spoken_of


class _Template:
    """One template, split. A segment is a literal, a parameter, or both: `{name}.json`."""

    def __init__(self, template: str) -> None:
        method, _, path = template.strip().rpartition(" ")
        self.method = method.strip().upper()
        self.path = path
        self._segments = [_Segment(segment) for segment in normal(path).split("/")]
        self.rank = tuple(segment.rank for segment in self._segments), not self.method

    def matches(self, method: str, segments: Sequence[str]) -> bool:
        if len(segments) != len(self._segments) or (self.method and self.method != method):
            return False
        return all(own.matches(other) for own, other in zip(self._segments, segments, strict=True))


class _Segment:
    """One segment of a template, as the literals around its parameters; rank 0 is literal, 1 partly, 2 a parameter."""

    __slots__ = ("_literals", "rank")

    def __init__(self, segment: str) -> None:
        self._literals = _PARAMETER.split(segment)
        self.rank = 0 if len(self._literals) == 1 else 1 if any(self._literals) else 2

    def matches(self, segment: str) -> bool:
        """Whether the literals come in this order, with something in each parameter's place."""
        first, *between = self._literals
        if not between:
            return segment == first
        at = len(first)
        for literal in between[:-1]:
            at = segment.find(literal, at + 1)
            if at < 0:
                return False
            at += len(literal)
        last = between[-1]
        return segment.startswith(first) and segment.endswith(last) and len(segment) - len(last) > at


def normal(path: str) -> str:
    """Return the path of a request target in one spelling.

    No query or fragment; of an absolute form its path; escapes of unreserved characters undone, the others in upper
    case; what is no ASCII escaped.  Source: RFC 3986 section 6.2.2, RFC 9112 section 3.2.
    """
    path = path.partition("?")[0].partition("#")[0]
    if not path.startswith("/") and "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    if not path.isascii():
        path = "".join(c if c.isascii() else _escaped(c) for c in path)
    return _ESCAPE.sub(_undone, path) if "%" in path else path or "/"


def _undone(escape: re.Match[str]) -> str:
    character = chr(int(escape.group(1), 16))
    return character if character in _UNRESERVED else escape.group().upper()


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def infer(path: str) -> str:
    """Return the path with values named by their shape alone."""
    return Places().name(normal(path).split("/"))[0]
