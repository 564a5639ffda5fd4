"""The default format: one flat object with a `text` that Slack, Mattermost and others show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shadowdiff.notify.event import escape_markup

if TYPE_CHECKING:
    from shadowdiff.notify.event import Event


def encode(event: Event) -> bytes:
    """Return the event's text and its facts as one object."""
    head = {"text": escape_markup(event.text), "event": event.kind, "target": event.target, "at_ms": event.at_ms}
    return msgspec.json.encode({**head, **event.facts})
