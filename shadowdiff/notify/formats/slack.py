"""The format of Slack's incoming webhooks: a text, followed by a block with the facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shadowdiff.notify.event import escape_markup

if TYPE_CHECKING:
    from shadowdiff.notify.event import Event

_SHOWN = ("severity", "count", "route", "verdict", "was")
_MOST_CHARS = 2000


def encode(event: Event) -> bytes:
    """Return a message with one section and, below it, a block with the main facts."""
    text = escape_markup(event.text)
    facts = " · ".join(f"{name} {event.facts[name]}" for name in _SHOWN if name in event.facts)
    blocks = [
        {"type": "section", "text": {"type": "mrkdwn", "text": text}},
        {"type": "context", "elements": [{"type": "plain_text", "text": f"{event.target} · {facts}"[:_MOST_CHARS]}]},
    ]
    return msgspec.json.encode({"text": text, "blocks": blocks})
