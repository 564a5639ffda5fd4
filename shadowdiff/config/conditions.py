"""The settings of a condition in a target's `include` and `exclude`."""

from __future__ import annotations

from typing import Any, Final

from pydantic import model_validator

from shadowdiff.config.base_section import Section, setting
from shadowdiff.config.value_types import (
    ConditionPath,
    ConditionRoute,
    ConditionValue,
    CookieName,
    HeaderName,
    Share,
)
from shadowdiff.model.condition import Condition, UserShare

MOST_CONDITIONS: Final = 100
"""Of one list, so that a request costs little."""


class UserSettings(Section):
    """A share of the users, drawn by a header or a cookie. All requests of one user are in it, or none."""

    share: Share = setting(..., "The share of the users.")
    header: HeaderName | None = setting(None, "The header that identifies a user, such as x-user-id.")
    cookie: CookieName | None = setting(None, "The cookie that identifies a user, instead of a header.")

    @model_validator(mode="after")
    def _one_source(self) -> UserSettings:
        if (self.header is None) == (self.cookie is None):
            raise ValueError("write either header or cookie, which identifies the user")
        if self.header == "cookie":
            raise ValueError("header cookie identifies nobody; write cookie: NAME")
        return self


class ConditionSettings(Section):
    """A condition. A request meets it if it has all its properties."""

    route: ConditionRoute | None = setting(None, "A template, optionally with a method.")
    path: ConditionPath | None = setting(None, "A path, optionally with a method. A trailing * matches every end.")
    header: dict[HeaderName, ConditionValue] | None = setting(
        None, "Request headers and their values. A trailing * matches every end."
    )
    users: UserSettings | None = setting(None, "A share of the users.")

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        """Read a condition that is a string instead of a map."""
        return {"path" if value.endswith("*") else "route": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _not_empty(self) -> ConditionSettings:
        if not (self.route or self.path or self.header or self.users):
            raise ValueError("write at least one of route, path, header and users")
        if self.header and "cookie" in self.header:
            raise ValueError("header cookie cannot be compared; for a share of the users, write users: {cookie: NAME}")
        return self

    def condition(self) -> Condition:
        """Return the condition as the stages use it."""
        users = self.users and UserShare(
            share=self.users.share, header=self.users.header or "", cookie=self.users.cookie or ""
        )
        return Condition(route=self.route or "", path=self.path or "", header=self.header or {}, users=users)
