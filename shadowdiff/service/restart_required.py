"""The settings that need a restart because a running process cannot change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shadowdiff.config import Config

RELOADED: Final = frozenset({"targets", "access", "log", "source", "warnings"})
"""Settings that a reload applies, or that nothing depends on; all others need a new process."""
SHARED: Final = frozenset({"store", "listen"})
"""Those that all worker processes share, so that not even a new worker can change them."""


def changed(new: Config, old: Config) -> list[str]:
    """Return the settings that differ and need a restart."""
    names = (name for name in type(new).model_fields if name not in RELOADED)
    return [name for name in names if getattr(new, name) != getattr(old, name)]
