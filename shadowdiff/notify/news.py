"""What is told: an event in a sentence, which Slack and others show, and as fields for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

FINGERPRINT_NEW: Final = "fingerprint.new"
VERDICT_CHANGED: Final = "verdict.changed"
TEXT_CHARACTERS: Final = 1000


class News(msgspec.Struct, frozen=True, kw_only=True):
    """One event.  text: a sentence of plain text.  facts: the same for programs, already redacted."""

    event: str
    target: str
    at_ms: int
    text: str
    facts: Mapping[str, Any]

    def body(self) -> bytes:
        """Return what is posted."""
        text = _plain(self.text)[:TEXT_CHARACTERS]
        told = {"text": text, "event": self.event, "target": self.target, "at_ms": self.at_ms, **self.facts}
        return msgspec.json.encode(told)


def _plain(text: str) -> str:
    """Write what Slack reads as markup (links, mentions) as the characters that they are."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
