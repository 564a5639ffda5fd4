"""What each route lost before anything of it could be paired.

In: a target, a method, a path, and what became of the request.  Out: counts by target and `route row.disposition`.
Holds: bounded in routes a target (past the bound `_other`); the name of a route is the one that pairs of it would have,
by the callable that is injected. What no request line is known of (a record that cannot be read, what died with its
process) is in the books' rows alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = "_other"
MOST_ROUTES = 200


def _unnamed(_target: str, _method: str, _path: str) -> str:
    return OTHER


class RouteLosses:
    """Plain counters, written on the event loop alone."""

    __slots__ = ("_most", "_name", "_routes", "counts")

    def __init__(self, name: Callable[[str, str, str], str] = _unnamed, most: int = MOST_ROUTES) -> None:
        self._name = name
        self._most = most
        self._routes: dict[str, set[str]] = {}
        self.counts: dict[str, dict[str, int]] = {}

    def add(self, target: str, what: str, method: str, path: str) -> None:
        """Count one more that was lost; `what` is a row and a disposition of the books, such as `mirrored.blocked`."""
        route = self._name(target, method, path)
        routes = self._routes.setdefault(target, set())
        if route not in routes:
            route = route if len(routes) < self._most else OTHER
            routes.add(route)
        field = f"{route} {what}"
        counts = self.counts.setdefault(target, {})
        counts[field] = counts.get(field, 0) + 1
