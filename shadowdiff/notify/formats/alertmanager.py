"""The format of Alertmanager's API: `POST /api/v2/alerts` with a list of one alert."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from shadowdiff.notify.event import Event

_NAMES: Final = {"fingerprint.new": "ShadowdiffNewDifference", "verdict.changed": "ShadowdiffVerdictChanged"}
_LABELS: Final = ("severity", "route", "fingerprint", "verdict")


def encode(event: Event) -> bytes:
    """Return one alert. Alertmanager resolves the alert automatically after `resolve_timeout`."""
    facts = {name: str(value) for name, value in event.facts.items()}
    labels = {name: facts.pop(name) for name in _LABELS if name in facts}
    alert = {
        "labels": {"alertname": _NAMES[event.kind], "target": event.target, **labels},
        "annotations": {"summary": event.text, **facts},
        "startsAt": datetime.fromtimestamp(event.at_ms / 1000, UTC),
        **({"generatorURL": facts["url"]} if "url" in facts else {}),
    }
    return msgspec.json.encode([alert])
