"""Rules are written in the form of the configuration, and parse to the same rules."""

from __future__ import annotations

import pytest
import yaml

from shadowdiff.rules import declaration, parse_rules

DECLARED = [
    {"ignore": "$.meta.at", "reason": "clock", "routes": ["GET /a/{id}"], "methods": ["GET"]},
    {"ignore": "header.etag", "expires": "2027-01-31T00:00:00+00:00"},
    {"tolerance": {"path": "$.total", "abs": 0.01, "rel": 0.1, "digits": 3, "time": 2.0}},
    {"unordered": "$.tags"},
    {"key": {"path": "$.items", "by": ["sku", "$.meta.id"]}},
    {"mask": {"path": "text", "pattern": "from '[^']+': \\d+", "with": "#"}},
    {"equivalent": {"path": "$..note", "as": ["null", "missing"]}},
    {"rename": {"from": "$.items[*].cost", "to": "$.items[*].price"}},
    {"rename": {"from": "$..*", "to": "camelCase"}},
    {"rename": {"from": "$", "to": "$.data"}},
    {"subset": "$"},
    {"schema": "$.free"},
    {"join": "$[*].data.delta"},
    {"join": {"path": "$[*].response", "except": ["created_at", "$.meta.id"]}},
    {"require": "header.x-data-version"},
]


@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: next(iter(declared)))
def test_a_rule_written_and_read_again_is_the_same_rule(declared: dict[str, object]) -> None:
    """The rules pass through YAML, as in an export."""
    (rule,) = parse_rules([declared])
    assert parse_rules([yaml.safe_load(yaml.safe_dump(declaration(rule)))]) == (rule,)


@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: next(iter(declared)))
def test_a_rule_is_written_as_it_was_declared(declared: dict[str, object]) -> None:
    """Without additional keys."""
    assert declaration(parse_rules([declared])[0]) == declared
