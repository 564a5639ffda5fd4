"""The targets that the caller of the current request may use. `Queries` lists and finds only these targets.

The web port sets them for each request. Outside of a request, as in background tasks, every target is visible.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

Targets = frozenset[str] | None
"""Names of targets; None means all targets, and requests for unknown hosts."""

VISIBLE: Final[ContextVar[Targets]] = ContextVar("visible_targets", default=None)


def is_visible(target: str) -> bool:
    """Return whether the current request may use a target; only an unlimited one may use `_unknown` and ""."""
    visible = VISIBLE.get()
    return visible is None or target in visible
