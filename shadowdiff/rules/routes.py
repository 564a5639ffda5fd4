"""Name the route of a request, such as `GET /products/{id}`.

A matching template determines the name; literal segments take precedence over parameters. Without a template, values in
the path are replaced by names (`rules/path_segments.py`), and a position with many words becomes `{name}` permanently
(`rules/path_parameters.py`). Paths are compared as in HTTP: case and a trailing slash matter, `%7E` equals `~`, `%2F`
is not a slash. A route's name changes only when one of its positions becomes `{name}`, and never if a rule names it.
Memory and the number of names are limited; later routes are `_other`, unless a rule names them. Processes exchange
route names and parameters, so that all processes use the same names.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Final

from shadowdiff.model import OTHER
from shadowdiff.rules.path_parameters import PathParameter, PathParameters
from shadowdiff.rules.rule import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_REMEMBERED: Final = 16_384
MAX_REMEMBERED_PATH_CHARS: Final = 512
MAX_CURRENT_NAMES: Final = 4096
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
        self._current: dict[str, str] = {}
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
        if moved:
            self._current.clear()
        known = dict.fromkeys(name for name in names if self.current_name(name) == name)
        known.update(self._new)
        if moved or known.keys() != self._in_use.keys():
            self._in_use = known
            self._remembered.clear()

    def current_name(self, route: str) -> str:
        """Return the current name for an earlier name: the covering template, or the inferred name of its path."""
        known = self._current.get(route)
        if known is None:
            if len(self._current) >= MAX_CURRENT_NAMES:
                self._current.clear()
            known = self._current[route] = self._find_current_name(route)
        return known

    def _find_current_name(self, route: str) -> str:
        method, space, named = route.partition(" ")
        path, mark, operation = named.partition(MARK)
        if not space or any(path == template.path for template in self._templates) or self._is_named(method, path):
            return route
        template = self._template(method, normal(path).split("/"))
        return f"{method} {template.path if template else self._parameters.current_name(path)}{mark}{operation}"

    def _template(self, method: str, segments: Sequence[str]) -> RouteTemplate | None:
        return next((one for one in self._templates if one.matches(method, segments)), None)

    def _is_named(self, method: str, path: str) -> bool:
        """Return whether a rule names this route."""
        return not self._named_by_rules.isdisjoint((f"{method} {path}", path))

    def _infer(self, method: str, segments: Sequence[str]) -> tuple[str, bool]:
        """Return the inferred path, and whether to remember it. A path that a rule names keeps its words."""
        if self._named_by_rules and self._is_named(method, shaped := self._parameters.shaped(segments)):
            return shaped, True
        found = len(self._parameters.found)
        inferred = self._parameters.name(segments)
        if len(self._parameters.found) != found:
            self._remembered.clear()
            self._current.clear()
            self._in_use = dict.fromkeys(name for name in self._in_use if self.current_name(name) == name)
            self._new = dict.fromkeys(name for name in self._new if self.current_name(name) == name)
        return inferred

    def _name(self, method: str, path: str) -> tuple[str, bool]:
        """Return a route's name (`_other` beyond the limit), and whether to remember it."""
        path, mark, operation = path.partition(MARK)
        segments = normal(path).split("/")
        template = self._template(method, segments)
        named, often = (template.path, True) if template else self._infer(method, segments)
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
