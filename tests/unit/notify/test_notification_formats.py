"""Every format is in the settings and the docs, and writes an event as its receivers expect it."""

from __future__ import annotations

import json
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from shadowdiff.config.value_types import WebhookFormat
from shadowdiff.notify import formats
from shadowdiff.notify.event import Event
from shadowdiff.notify.formats import DEFAULT, FORMATS

EVENT = Event(
    kind="verdict.changed",
    target="shop",
    at_ms=1000,
    text="it <changed> & more",
    facts={"verdict": "fail", "was": "pass", "url": "https://sd.example/targets/shop"},
)
EXPECTED: dict[str, Any] = {
    "default": {
        "text": "it &lt;changed&gt; &amp; more",
        "event": "verdict.changed",
        "target": "shop",
        "at_ms": 1000,
        "verdict": "fail",
        "was": "pass",
        "url": "https://sd.example/targets/shop",
    },
    "slack": {
        "text": "it &lt;changed&gt; &amp; more",
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": "it &lt;changed&gt; &amp; more"}},
            {"type": "context", "elements": [{"type": "plain_text", "text": "shop · verdict fail · was pass"}]},
        ],
    },
    "alertmanager": [
        {
            "labels": {"alertname": "ShadowdiffVerdictChanged", "target": "shop", "verdict": "fail"},
            "annotations": {
                "summary": "it <changed> & more",
                "was": "pass",
                "url": "https://sd.example/targets/shop",
            },
            "startsAt": "1970-01-01T00:00:01Z",
            "generatorURL": "https://sd.example/targets/shop",
        }
    ],
}
PAGE = (Path(__file__).parents[3] / "docs/webhooks.md").read_text(encoding="utf-8")


def test_every_module_is_a_format_with_an_expected_body() -> None:
    """A format that is not registered, or not tested, fails here."""
    modules = {module.name for module in pkgutil.iter_modules(formats.__path__)}
    assert modules == set(FORMATS) == set(EXPECTED)
    assert DEFAULT in FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_writes_the_body_that_its_receivers_expect(name: str) -> None:
    """Text is escaped for receivers that read markup."""
    assert EXPECTED[name] == json.loads(FORMATS[name](EVENT))


@pytest.mark.parametrize("name", FORMATS)
def test_the_settings_take_every_format_and_the_docs_explain_it(name: str) -> None:
    """The docs have one row for each format."""
    adapter = TypeAdapter[str](WebhookFormat)
    assert name == adapter.validate_python(name)
    assert f"| `{name}` |" in PAGE
    with pytest.raises(ValidationError, match="write one of alertmanager, default, slack"):
        adapter.validate_python("carrier-pigeon")
