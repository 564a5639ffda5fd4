"""A rule as a frozen, hashable value.

`parse_rules` checks a rule when it builds it. A path is an RFC 9535 query, `status`, `text`, or `header.<name>`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

MARK: Final = "#"
"""Between the path and the GraphQL operation in a route's name. Paths do not contain it."""
HEADER: Final = "header."
"""The prefix of a path that names a response header."""


def names_of_route(route: str) -> tuple[str, ...]:
    """Return the names by which settings may name a route, the most exact one first.

    The operations of a GraphQL path also have the names of the path.
    """
    endpoint, mark, _ = route.partition(MARK)
    names = (route, route.partition(" ")[2])
    return (*names, endpoint, endpoint.partition(" ")[2]) if mark else names


class RuleError(ValueError):
    """A declaration is not a valid rule. The message names the rule, the key, the value and the fix."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One checked declaration.

    kind: the name of its `RuleKind`.  to: the second path, if the kind has two paths.
    options: the kind's options from the declaration; None if the kind has no options.
    routes: route names (`GET /orders/{id}`) or templates, which include the operations of a GraphQL path; empty means
    all. methods: upper case; empty means all.
    """

    kind: str
    path: str
    to: str = ""
    options: Any = None
    routes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    reason: str = ""
    expires: datetime | None = None

    @property
    def label(self) -> str:
        """The rule's name in results, such as `ignore $.meta.generatedAt`."""
        return f"{self.kind} {self.path}" + (f" to {self.to}" if self.to else "")

    @property
    def header(self) -> str:
        """The lower-case name of the header that the rule applies to; empty if it does not apply to a header."""
        return self.path[len(HEADER) :] if self.path.startswith(HEADER) else ""

    def applies(self, route: str, method: str) -> bool:
        """Return whether the rule applies to this route and method."""
        if self.methods and method not in self.methods:
            return False
        return not self.routes or any(name in self.routes for name in names_of_route(route))

    def expired(self, now: datetime) -> bool:
        """Return whether the rule has expired at `now`."""
        return self.expires is not None and self.expires <= now
