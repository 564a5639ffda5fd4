"""Write rules as the configuration has them: the way back from `parse_rules`.

In: rules.  Out: plain mappings, ready for YAML or JSON.
Holds: `parse_rules([declaration(rule)])` gives the same rule again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowdiff.rules.rule import RuleKind

if TYPE_CHECKING:
    from shadowdiff.rules.rule import Rule


def declaration(rule: Rule) -> dict[str, Any]:
    """Return the mapping that declares a rule, as short as it can be written."""
    options = _options(rule)
    made: dict[str, Any] = {str(rule.kind): options or rule.path}
    if rule.routes:
        made["routes"] = list(rule.routes)
    if rule.methods:
        made["methods"] = list(rule.methods)
    if rule.reason:
        made["reason"] = rule.reason
    if rule.expires is not None:
        made["expires"] = rule.expires.isoformat()
    return made


def _options(rule: Rule) -> dict[str, Any]:
    """Return what stands beside the path; empty where the path alone says it."""
    match rule.kind:
        case RuleKind.TOLERANCE:
            return {"path": rule.path, **_bounds(rule)}
        case RuleKind.KEY:
            return {"path": rule.path, "by": list(rule.by)}
        case RuleKind.MASK:
            return {"path": rule.path, "pattern": rule.pattern, "with": rule.replacement}
        case RuleKind.EQUIVALENT:
            return {"path": rule.path, "as": list(rule.equivalences)}
        case RuleKind.RENAME:
            return {"from": rule.path, "to": rule.to}
        case _:
            return {}


def _bounds(rule: Rule) -> dict[str, Any]:
    found = rule.tolerance
    if found is None:
        return {}
    bounds = {"abs": found.abs, "rel": found.rel, "digits": found.digits, "time": found.time_s}
    return {name: value for name, value in bounds.items() if value is not None}
