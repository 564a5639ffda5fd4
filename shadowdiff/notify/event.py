"""An event that is sent to webhooks, as a sentence for people and as fields for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

FINGERPRINT_NEW: Final = "fingerprint.new"
VERDICT_CHANGED: Final = "verdict.changed"
TEXT_CHARS: Final = 1000


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event.

    kind: `fingerprint.new` or `verdict.changed`.  text: a sentence of plain text. facts: fields, already redacted.
    """

    kind: str
    target: str
    at_ms: int
    text: str
    facts: Mapping[str, Any]


def escape_markup(text: str) -> str:
    """Return the text, shortened if too long, with Slack's markup (links, mentions) escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")[:TEXT_CHARS]
