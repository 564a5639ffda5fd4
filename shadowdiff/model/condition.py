"""The entries of a target's `include` and `exclude`, as frozen types."""

from __future__ import annotations

import msgspec

MAX_VALUE_CHARS = 256
"""Characters of a header or cookie that conditions read. A recorder sends at most this much of a value."""


class UserShare(msgspec.Struct, frozen=True, kw_only=True):
    """A share of the users, drawn by the value of a header or a cookie; one of the two is empty."""

    share: float
    header: str = ""
    cookie: str = ""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that have all the stated properties.

    route: a template, such as `/products/{id}`, optionally with a method before it. path: a path, or with a trailing
    `*` the start of a path, optionally with a method. header: values by lower-case name; with a trailing `*` the start
    of the value. users: a share of the users.
    """

    route: str = ""
    path: str = ""
    header: dict[str, str] = {}
    users: UserShare | None = None

    def __str__(self) -> str:
        """Return the condition in one line."""
        parts = [f"{name} {value}" for name, value in (("route", self.route), ("path", self.path)) if value]
        parts += [f"header {name}: {value}" for name, value in self.header.items()]
        if self.users:
            source = f"header {self.users.header}" if self.users.header else f"cookie {self.users.cookie}"
            parts.append(f"{self.users.share * 100:g} % of users by {source}")
        return " and ".join(parts)
