"""The settings that need a restart because a running process cannot change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shadowdiff.config import Config

RELOADED: Final = frozenset({"targets", "access", "log", "source", "warnings"})
"""Settings that a reload applies. A change of any other setting needs a new process."""
SHARED: Final = frozenset({"store", "listen"})
"""Settings that all worker processes share. A new worker cannot change them either."""


def changed(new: Config, old: Config) -> list[str]:
    """Return the settings that differ and need a restart."""
    names = (name for name in type(new).model_fields if name not in RELOADED)
    return [name for name in names if getattr(new, name) != getattr(old, name)]
