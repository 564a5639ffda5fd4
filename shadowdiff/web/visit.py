"""One request to the web port while it is answered: who asks, from where, and what they changed.

Held in a context variable, so that templates and handlers reach it without passing it on.
"""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from shadowdiff.web.access import Caller

if TYPE_CHECKING:
    from collections.abc import Callable

CSRF_FIELD: Final = "csrf"
NOBODY: Final = Caller("", "none", "anonymous")


@dataclass(slots=True)
class Change:
    """What a request changed, in one word and some facts."""

    what: str
    target: str = ""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class Visit:
    """Who asks and from where.

    given_csrf: the token of the cookie that came along, empty where none did.
    minted_csrf: the one made for a form of this answer, where none came along.
    change: what was changed; a write that says nothing is noted by its address.
    changed_nothing: set by a handler whose POST only tries something.
    """

    caller: Caller = NOBODY
    source: str = ""
    given_csrf: str = ""
    minted_csrf: str = ""
    change: Change | None = None
    changed_nothing: bool = False

    def csrf(self) -> str:
        """Return what a form of this answer must bear."""
        if self.caller.nonce:
            return self.caller.nonce
        if not (self.given_csrf or self.minted_csrf):
            self.minted_csrf = secrets.token_urlsafe(16)
        return self.given_csrf or self.minted_csrf


VISIT: ContextVar[Visit] = ContextVar("visit")


def visit() -> Visit:
    """Return the request at hand; one of nobody outside of any."""
    return VISIT.get(None) or Visit()


def note(what: str, target: str = "", **facts: Any) -> None:
    """Say what the request at hand changed, for the audit log."""
    visit().change = Change(what, target, facts)


def csrf_field() -> Markup:
    """Return the hidden field that every form bears, so that none of another site is taken for it."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, visit().csrf())


def shared() -> dict[str, Callable[[], Any]]:
    """Return what templates may call."""
    return {"csrf_field": csrf_field, "visitor": lambda: visit().caller}
