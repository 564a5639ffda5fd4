"""What a reload cannot change in a process that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shadowdiff.config import Config

FIXED: Final = (
    "store",
    "pairing",
    "listen",
    "limits",
    "samples",
    "redaction",
    "telemetry",
    "drain_s",
    "tls",
    "web",
    "webhooks",
)
"""Settings that need a new process."""
HELD: Final = frozenset({"store", "listen"})
"""Of those, what all worker processes share, so that not even new workers take it."""


def changed(new: Config, old: Config) -> list[str]:
    """Return which of the fixed settings differ."""
    return [name for name in FIXED if getattr(new, name) != getattr(old, name)]
