"""Name the route of a request, such as `GET /products/{id}`.

A matching template determines the name; literal segments take precedence over parameters. Without a template, values in
the path are replaced by names (`{id}`, `{uuid}`, `{date}`, `{email}`, `{hex}`, `{token}`). A position with many rare
words becomes `{name}` permanently; frequent words (`me`, `search`) stay words. Paths are compared as in HTTP: case and
a trailing slash matter, `%7E` equals `~`, `%2F` is not a slash. A route's name changes only when one of its positions
becomes `{name}`. Memory and the number of names are limited; later routes are `_other`, unless a rule names them.
Processes exchange route names and parameters, so that all processes use the same names.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import OTHER
from shadowdiff.rules.rule import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_REMEMBERED: Final = 16_384
MAX_REMEMBERED_PATH_CHARS: Final = 512
MAX_SEGMENTS: Final = 12
MAX_SEGMENT_CHARS: Final = 48
MAX_EMAIL_CHARS: Final = 254
"""Source: RFC 5321, section 4.5.3.1.3. The pattern needs quadratic time in a segment full of `%40`."""
MIN_TOKEN_DIGITS: Final = 2
WORDS_MAYBE_VALUES: Final = 32
"""A position with more words than this has values if at least half of the words are rare."""
WORDS_ALWAYS_VALUES: Final = 128
"""A position with more words than this has values, even if all words are frequent."""
OFTEN: Final = 3
"""Number of times that a word must occur to stay a word."""
KEPT_WORDS: Final = 32
MAX_POSITIONS: Final = 1024
"""Maximum number of positions that are tracked. Other positions are named only by shape."""
NAME: Final = "{name}"

_UUID: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}(?:-[0-9]{2}(?:T[0-9:.%A-Za-z+-]*)?)?")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:[.,][0-9]+)*")
_SHAPES: Final = ((_UUID, "{uuid}"), (_DATE, "{date}"), (_NUMBER, "{id}"))
_HEX: Final = re.compile(r"(?:0x)?[0-9a-f]{8,}", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[0-9A-Za-z_.~=-]{16,}")
_EMAIL: Final = re.compile(r"[^@/]+(?:@|%40)[^@/]+\.[^@/]+")
_KEY: Final = re.compile(r"(?:A[A-Z]{3}[0-9A-Z]{16}|(?:sk|rk|pk)_(?:live|test)_\w+|[0-9A-Za-z_]{40,})")
"""API keys of well-known services. Longer keys are recognized as tokens because of their length."""
_DIGIT: Final = re.compile(r"[0-9]")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_PARAMETER: Final = re.compile(r"\{[^{}]*\}")
_UNRESERVED: Final = frozenset(string.ascii_letters + string.digits + "-._~")


class Router:
    """Names routes by templates such as `/products/{id}`, optionally with a method before them.

    max_names: maximum number of names; 0 means no limit. named_by_rules: routes or templates that are never `_other`.
    hide: removes secrets from a path that does not match a template.
    """

    def __init__(
        self,
        templates: Sequence[str] = (),
        *,
        max_names: int = 0,
        named_by_rules: Iterable[str] = (),
        hide: Callable[[str], str] = str,
    ) -> None:
        self._templates = ranked_templates(templates)
        self._remembered: dict[tuple[str, str], str] = {}
        self._parameters = PathParameters(hide)
        self._hide = hide
        self._max_names = max_names
        self._named_by_rules = frozenset(named_by_rules)
        self._in_use: dict[str, None] = {}
        self._new: dict[str, None] = {}

    def route(self, method: str, path: str, operation: str = "") -> str:
        """Return the name of a request's route. The query string is ignored.  operation: its GraphQL operation."""
        path = _endpoint(path)
        if operation:
            path = f"{path}{MARK}{operation}"
        known = self._remembered.get((method, path))
        if known is not None:
            return known
        route, often = self._name(method, path)
        if route != OTHER and route not in self._in_use:
            self._in_use[route] = self._new[route] = None
        if often and len(path) <= MAX_REMEMBERED_PATH_CHARS:
            while len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[method, path] = route
        return route

    def peek(self, method: str, path: str) -> str:
        """Return the name that a request would get, without adding it. For requests that are never compared."""
        path = _endpoint(path)
        known = self._remembered.get((method, path))
        return known if known is not None else self._name(method, path)[0]

    def take_new_parameters(self) -> list[PathParameter]:
        """Return the path parameters found since the last call."""
        found, self._parameters.found = self._parameters.found, []
        return found

    def take_new_names(self) -> list[str]:
        """Return the route names added since the last call."""
        fresh, self._new = self._new, {}
        return list(fresh)

    def names_in_use(self) -> list[str]:
        """Return all route names in use."""
        return list(self._in_use)

    def adopt(self, names: Sequence[str], places: Iterable[PathParameter]) -> None:
        """Add the route names and parameters that all processes found. The limit of names still applies."""
        moved = self._parameters.take(places)
        known = dict.fromkeys(name for name in names if self.current_name(name) == name)
        known.update(self._new)
        if moved or known.keys() != self._in_use.keys():
            self._in_use = known
            self._remembered.clear()

    def current_name(self, route: str) -> str:
        """Return the current name for an earlier name: the same name, or one with `{name}` in place of a word."""
        method, space, named = route.partition(" ")
        path, mark, operation = named.partition(MARK)
        if not space or any(path == template.path for template in self._templates):
            return route
        return f"{method} {self._parameters.current_name(path)}{mark}{operation}"

    def _name(self, method: str, path: str) -> tuple[str, bool]:
        """Return a route's name (`_other` beyond the limit), and whether to remember it."""
        path, mark, operation = path.partition(MARK)
        segments = normal(path).split("/")
        template = next((one for one in self._templates if one.matches(method, segments)), None)
        found = len(self._parameters.found)
        named, often = (template.path, True) if template else self._parameters.name(segments)
        if len(self._parameters.found) != found:
            self._remembered.clear()
            self._in_use = dict.fromkeys(name for name in self._in_use if self.current_name(name) == name)
            self._new = dict.fromkeys(name for name in self._new if self.current_name(name) == name)
        if operation:  # a hash contains a dash, and is no secret
            named += mark + (operation if "-" in operation else self._hide(operation))
        name = f"{method} {named}"
        has_room = not self._max_names or len(self._in_use) < self._max_names
        fits = has_room or name in self._in_use or not self._named_by_rules.isdisjoint((name, named))
        return name if fits else OTHER, often


class RouteTemplate:
    """A template. A segment is a literal, a parameter, or both: `{name}.json` has two literals around a parameter.

    method: upper case; empty if the template has no method. rank: templates with a lower rank take precedence.
    """

    def __init__(self, template: str) -> None:
        method, _, path = template.strip().rpartition(" ")
        self.method = method.strip().upper()
        self.path = path
        self._segments = [_PARAMETER.split(segment) for segment in normal(path).split("/")]
        # Literals come first, then segments with both a literal and a parameter.
        ranks = (0 if len(literals) == 1 else 1 if any(literals) else 2 for literals in self._segments)
        self.rank = tuple(ranks), not self.method

    @property
    def pattern(self) -> str:
        """The RE2 expression of `METHOD path` that matches the same requests, in linear time."""
        path = "/".join("[^/]+".join(map(re.escape, literals)) for literals in self._segments)
        return f"(?:{re.escape(self.method) or '[^ ]*'} {path})"

    def matches(self, method: str, segments: Sequence[str]) -> bool:
        """Return whether a request has this route. segments: of its normalized path."""
        if len(segments) != len(self._segments) or (self.method and self.method != method):
            return False
        return all(map(_matches, self._segments, segments))


def ranked_templates(templates: Iterable[str]) -> list[RouteTemplate]:
    """Return the templates, with those first that take precedence."""
    return sorted(map(RouteTemplate, templates), key=lambda template: template.rank)


def _matches(literals: list[str], segment: str) -> bool:
    """Return whether the literals occur in this order, with a nonempty value for each parameter."""
    if len(literals) == 1:
        return segment == literals[0]
    first, *between, last = literals
    at = len(first)
    for literal in between:
        at = segment.find(literal, at + 1)
        if at < 0:
            return False
        at += len(literal)
    return segment.startswith(first) and segment.endswith(last) and len(segment) - len(last) > at


def _endpoint(path: str) -> str:
    return path.partition("?")[0].partition(MARK)[0]


def normal(path: str) -> str:
    """Return the normalized path of a request target.

    Query, fragment, scheme and authority are removed. Unreserved characters are unescaped, other escapes become
    upper case, and non-ASCII characters are escaped.
    Source: RFC 3986 section 6.2.2, RFC 9112 section 3.2.
    """
    path = path.partition("?")[0].partition("#")[0]
    if not path.startswith("/") and "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    if not path.isascii():
        raw = path.encode("utf-8", "surrogatepass")
        path = "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw)  # noqa: PLR2004
    return _ESCAPE.sub(_undone, path) if "%" in path else path or "/"


def _undone(escape: re.Match[str]) -> str:
    character = chr(int(escape.group(1), 16))
    return character if character in _UNRESERVED else escape.group().upper()


class PathParameter(msgspec.Struct, frozen=True):
    """A position that is a parameter, with the path before it and the words that stay words at this position."""

    before: str
    words: tuple[str, ...] = ()


def shape(segment: str) -> str:
    """Return a name for the shape of a segment, such as `{id}`; the segment itself if it has no known shape."""
    for pattern, name in _SHAPES:
        if pattern.fullmatch(segment):
            return name
    if len(segment) <= MAX_EMAIL_CHARS and _EMAIL.fullmatch(segment):
        return "{email}"
    if _KEY.fullmatch(segment):
        return "{token}"
    digits = len(_DIGIT.findall(segment[:MAX_SEGMENT_CHARS]))
    if digits and _HEX.fullmatch(segment):
        return "{hex}"
    if len(segment) > MAX_SEGMENT_CHARS or (digits >= MIN_TOKEN_DIGITS and _TOKEN.fullmatch(segment)):
        return "{token}"
    return segment


class PathParameters:
    """The words at each position of a path, and the positions that are parameters.

    hide: removes secrets from a path after its other values are named and before its words are stored.
    """

    def __init__(self, hide: Callable[[str], str] = str) -> None:
        self._hide = hide
        self._words: dict[str, dict[str, int]] = {}
        self._values: dict[str, frozenset[str]] = {}
        self.found: list[PathParameter] = []

    def name(self, segments: Sequence[str]) -> tuple[str, bool]:
        """Return the path with named parameters, and whether all its words are frequent enough to be remembered."""
        before, often = "", True
        shaped = "/".join(["", *(shape(one) if one else "" for one in segments[1 : MAX_SEGMENTS + 1])])
        for index, segment in enumerate(self._hide(shaped).split("/")[1:]):
            if segment and segment[0] != "{":
                often &= self._count(before, segment) >= OFTEN
            before = f"{before}/{self._named(before, segment)}"
            if index == MAX_SEGMENTS - 1 and len(segments) > MAX_SEGMENTS + 1:
                before += "/{rest}"
        return f"{segments[0]}{before}" or "/", often

    def current_name(self, path: str) -> str:
        """Return the current name for an earlier name, without counting its words."""
        before = ""
        head, *rest = self._hide(path).split("/")
        for segment in rest:
            before = f"{before}/{self._named(before, segment if segment[:1] == '{' else shape(segment))}"
        return head + before

    def take(self, places: Iterable[PathParameter]) -> bool:
        """Add path parameters that other processes found. Return whether any route name changes."""
        changed = False
        for place in places:
            words = frozenset(place.words)
            has_room = place.before in self._values or len(self._values) < MAX_POSITIONS
            if has_room and self._values.get(place.before) != words:
                changed = True
                self._settle(place.before, words)
        return changed

    def _named(self, before: str, segment: str) -> str:
        words = self._values.get(before)
        return segment if words is None or segment[:1] in ("", "{") or segment in words else NAME

    def _count(self, before: str, word: str) -> int:
        """Count a word at its position. Return how often the word has occurred, up to `OFTEN`."""
        if before in self._values:
            return OFTEN
        words = self._words.get(before)
        if words is None:
            if max(len(self._words), len(self._values)) >= MAX_POSITIONS:
                return OFTEN
            words = self._words[before] = {}
        times = words[word] = min(OFTEN, words.get(word, 0) + 1)
        if len(words) > WORDS_MAYBE_VALUES and times == 1:
            self._decide(before, words)
        return times

    def _decide(self, before: str, words: dict[str, int]) -> None:
        kept = [word for word, times in words.items() if times >= OFTEN]
        if 2 * len(kept) <= len(words) or len(words) > WORDS_ALWAYS_VALUES:
            place = PathParameter(before, tuple(sorted(kept[:KEPT_WORDS])))
            self.found.append(place)
            self._settle(before, frozenset(place.words))

    def _settle(self, before: str, words: frozenset[str]) -> None:
        self._values[before] = words
        self._words.pop(before, None)
        for place in [p for p in self._words if p.startswith(f"{before}/")]:
            if place[len(before) + 1 :].partition("/")[0] not in words:
                del self._words[place]
