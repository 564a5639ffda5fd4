"""Decide which requests of a target are sent to v2 and compared: by method and route, and by `include` and `exclude`.

The mirror port and the records port use the same decision, so they never treat the two halves of a request differently.
Matching takes linear time (RE2). The recorders in `recorder/` decide in the same way; `fixtures/conditions.json` has
test vectors. Callers pass the request; this module reads no clock and does no I/O.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from shadowdiff.model.condition import MAX_VALUE_CHARS
from shadowdiff.rules.graphql import GraphqlPaths
from shadowdiff.rules.pattern import compiled
from shadowdiff.rules.routes import RouteTemplate, normal, ranked_templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shadowdiff.model import Target
    from shadowdiff.model.condition import Condition

    ValueOf = Callable[[str], str]
    """Returns the value of a request's header by its lower-case name; empty if the request does not have it."""
    InSample = Callable[[str, float], bool]
    RawHeaders = Iterable[tuple[bytes, bytes]]

COOKIE: Final = "cookie"
_UNCLEAR: Final = re.compile(r"[#;\\]|//|(?:^|/)\.\.?(?:/|$)|%(?:2[EF]|5C|25|3B|23|00)", re.IGNORECASE)
"""Parts of a path that some servers resolve to another path: dot segments, encoded or doubled separators."""
_COOKIES: Final = re.compile("[;,]")
_NEVER: Final = "[^\\x00-\\x{10FFFF}]"


class NotRecordedError(Exception):
    """A condition reads a request header that the record does not state; the argument is the header's name."""


def method_of(entry: str) -> str:
    """Return the method of one entry of `methods`, such as `POST` of `POST /search`."""
    return entry.partition(" ")[0]


class Traffic:
    """The requests of one target that are sent to v2 and compared.

    methods: the methods that are sent on every route. graphql: the paths at which queries are sent with POST.
    selects: whether the target has `include` or `exclude`.
    """

    def __init__(self, target: Target) -> None:
        self.methods = frozenset(entry for entry in target.methods if " " not in entry)
        self._allowed = ranked_templates(entry for entry in target.methods if " " in entry)
        self._route_methods = frozenset(template.method for template in self._allowed)
        self._routes = ranked_templates(target.routes)
        self.graphql = GraphqlPaths(target.graphql)
        self.selects = bool(target.include or target.exclude)
        self._include = _Conditions(target.include) if target.include else None
        self._exclude = _Conditions(target.exclude)

    def allows(self, method: str, path: str | bytes) -> bool:
        """Return whether a method may be sent on the route of this path.

        If several routes match, the most specific one decides: `POST /items/{id}` does not allow `POST /items/purge` if
        `routes` names the latter. A path that v2 may resolve to another path is never sent because of its route.
        """
        if method in self.methods:
            return True
        path = (path if isinstance(path, str) else path.decode("latin-1")).partition("?")[0]
        if method == "POST" and self.graphql.match(method, path):
            return not _UNCLEAR.search(path)
        if method not in self._route_methods or _UNCLEAR.search(path):
            return False
        segments = normal(path).split("/")
        best = next((each.rank[0] for each in self._allowed if each.matches(method, segments)), None)
        if best is None:
            return False
        better = takewhile(lambda each: each.rank[0] < best, self._routes)
        return not any(each.matches(method, segments) for each in better)

    def includes(self, method: str, path: str | bytes, value_of: ValueOf, in_sample: InSample) -> bool:
        """Return whether a request meets at least one condition of `include`, if there are any, and none of `exclude`.

        Raises: NotRecordedError, if `value_of` does.
        """
        request = f"{method} {wire_path(path)}"
        exclude, include = self._exclude, self._include
        if exclude.match_path(request):
            return False
        if include and not (include.match_path(request) or include.match_rest(request, value_of, in_sample)):
            return False
        return not exclude.match_rest(request, value_of, in_sample)


class _Conditions:
    """The conditions of one list. One expression represents all conditions with only a route or a path."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        simple = [one for one in conditions if not one.header and not one.users and not (one.route and one.path)]
        self._simple = compiled("|".join(pattern for one in simple for pattern in _patterns(one)) or _NEVER)
        self._others = [_Condition(one) for one in conditions if one not in simple]

    def match_path(self, request: str) -> bool:
        """Return whether the method and the normalized path alone meet a condition."""
        return self._simple.fullmatch(request) is not None

    def match_rest(self, request: str, value_of: ValueOf, in_sample: InSample) -> bool:
        """Return whether a request meets one of the other conditions."""
        return any(one.holds(request, value_of, in_sample) for one in self._others)


class _Condition:
    """One condition with several properties."""

    def __init__(self, condition: Condition) -> None:
        self._patterns = [compiled(pattern) for pattern in _patterns(condition)]
        self._header = tuple(condition.header.items())
        self._users = condition.users

    def holds(self, request: str, value_of: ValueOf, in_sample: InSample) -> bool:
        if any(pattern.fullmatch(request) is None for pattern in self._patterns):
            return False
        if not all(_has_value(value_of(name), expected) for name, expected in self._header):
            return False
        users = self._users
        if users is None:
            return True
        value = value_of(users.header) if users.header else cookie_of(value_of(COOKIE), users.cookie)
        return value != "" and in_sample(value, users.share)


def header_value(headers: RawHeaders, name: str) -> str:
    """Return the start of a header's value; several fields with this name are joined, as Envoy joins them."""
    raw = name.encode()
    joined = b",".join(value for known, value in headers if known == raw).decode("latin-1").strip(" \t")
    return joined if name == COOKIE else _start(joined)


def recorded_value(headers: RawHeaders, name: str) -> str:
    """Return the value as a recorder states it. Raises: NotRecordedError, if the record does not state the header."""
    raw = name.encode()
    if all(known != raw for known, _ in headers):
        raise NotRecordedError(name)
    return header_value(headers, name)


def cookie_of(header: str, name: str) -> str:
    """Return the start of the first cookie with this name; empty if the request does not have it."""
    for part in _COOKIES.split(header):
        known, equals, value = part.strip(" \t").partition("=")
        if equals and known == name:
            return _start(value)
    return ""


def _start(value: str) -> str:
    return value[:MAX_VALUE_CHARS].strip(" \t")


def wire_path(path: str | bytes) -> str:
    """Return the normalized path of a request. A character of a text is one byte on the wire, if all of them can be."""
    if isinstance(path, bytes):
        path = path.decode("latin-1")
    if not path.isascii():
        try:
            raw = path.encode("latin-1")
        except UnicodeEncodeError:
            raw = path.encode("utf-8", "surrogatepass")
        path = "".join(chr(byte) if byte < 0x80 else f"%{byte:02X}" for byte in raw)  # noqa: PLR2004
    return normal(path)


def _patterns(condition: Condition) -> list[str]:
    """Return the expressions for `METHOD path` of a condition's route and path."""
    found: list[str] = []
    if condition.route:
        found.append(RouteTemplate(condition.route).pattern)
    if condition.path:
        method, _, path = condition.path.rpartition(" ")
        end = ".*" if path.endswith("*") else ""
        found.append(f"(?:{re.escape(method) or '[^ ]*'} {re.escape(normal(path.removesuffix('*')))}{end})")
    return found


def _has_value(value: str, expected: str) -> bool:
    """Compare a header with the value of a condition. A header without a value counts as missing."""
    if expected.endswith("*"):
        return value != "" and value.startswith(expected[:-1])
    return value == expected
