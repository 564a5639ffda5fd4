"""A rule as a value: what the user declared not to matter, or to matter less, and why.

Holds: a rule is checked when it is built by `parse_rules`; its path is a query of RFC 9535, or `status`,
`header.<name>`, `text`. It is frozen and hashable, so that a set of rules has an identity.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class RuleError(ValueError):
    """A rule cannot be understood; the message names the rule, the key, the value and what would be right."""


class RuleKind(StrEnum):
    """What a rule does, by the key it is declared under."""

    IGNORE = "ignore"
    TOLERANCE = "tolerance"
    UNORDERED = "unordered"
    KEY = "key"
    MASK = "mask"
    EQUIVALENT = "equivalent"
    RENAME = "rename"
    SUBSET = "subset"
    SCHEMA = "schema"
    REQUIRE = "require"


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """How far two values may lie apart: any one bound that holds is enough.

    digits: equal when rounded to that many significant digits.  time_s: two times at most that far apart.
    """

    abs: float | None = None
    rel: float | None = None
    digits: int | None = None
    time_s: float | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One declaration, checked.

    path: what it applies to; of a rename, the path in v1, and `to` is the path in v2.
    by: members that identify an element (key).  pattern, replacement: what a mask hides, and behind what.
    equivalences: of `null`, `missing`, `empty`, `case`, `number`.
    routes: route names (`GET /orders/{id}`) or bare templates; empty means all.  methods: upper case; empty means all.
    """

    kind: RuleKind
    path: str
    to: str = ""
    by: tuple[str, ...] = ()
    pattern: str = ""
    replacement: str = ""
    equivalences: tuple[str, ...] = ()
    tolerance: Tolerance | None = None
    routes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    reason: str = ""
    expires: datetime | None = None

    @property
    def label(self) -> str:
        """Name the rule in results: `ignore $.meta.generatedAt`."""
        return f"{self.kind} {self.path}" + (f" to {self.to}" if self.to else "")

    def applies(self, route: str, method: str) -> bool:
        """Whether the rule speaks of that route and method."""
        if self.methods and method not in self.methods:
            return False
        return not self.routes or route in self.routes or route.partition(" ")[2] in self.routes

    def expired(self, now: datetime) -> bool:
        """Whether the rule no longer holds at `now`."""
        return self.expires is not None and self.expires <= now
