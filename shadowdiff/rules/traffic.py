"""Decide which requests of a target are sent to v2 and compared.

The mirror port and the records port use the same decision, so they never treat the two halves of a request differently.
Matching takes linear time. Callers pass the request; this module reads no clock and does no I/O.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from shadowdiff.rules.graphql import GraphqlPaths
from shadowdiff.rules.routes import RouteTemplate, normal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.model import Target

_UNCLEAR: Final = re.compile(r"[#;\\]|//|(?:^|/)\.\.?(?:/|$)|%(?:2[EF]|5C|25|3B|23|00)", re.IGNORECASE)
"""Parts of a path that some servers resolve to another path: dot segments, encoded or doubled separators."""


def method_of(entry: str) -> str:
    """Return the method of one entry of `methods`, such as `POST` of `POST /search`."""
    return entry.partition(" ")[0]


class Traffic:
    """The requests of one target that are sent to v2 and compared.

    methods: the methods that are sent on every route. graphql: the paths at which queries are sent with POST.
    """

    def __init__(self, target: Target) -> None:
        self.methods = frozenset(entry for entry in target.methods if " " not in entry)
        self._allowed = _templates(entry for entry in target.methods if " " in entry)
        self._route_methods = frozenset(template.method for template in self._allowed)
        self._routes = _templates(target.routes)
        self.graphql = GraphqlPaths(target.graphql)

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


def _templates(routes: Iterable[str]) -> list[RouteTemplate]:
    return sorted(map(RouteTemplate, routes), key=lambda template: template.rank)
