"""All kinds of rules, one module for each kind. To add a kind, add a module here and an entry in `_ALL`."""

from __future__ import annotations

from typing import Any, Final

from shadowdiff.rules.kinds.equivalent import Equivalent
from shadowdiff.rules.kinds.ignore import Ignore
from shadowdiff.rules.kinds.join import Join
from shadowdiff.rules.kinds.key import KeyBy
from shadowdiff.rules.kinds.kind import TEXT, WORDS, RuleKind
from shadowdiff.rules.kinds.mask import MaskWith
from shadowdiff.rules.kinds.rename import RenameTo
from shadowdiff.rules.kinds.require import Require
from shadowdiff.rules.kinds.schema import Schema
from shadowdiff.rules.kinds.subset import Subset
from shadowdiff.rules.kinds.tolerance import Tolerance
from shadowdiff.rules.kinds.unordered import Unordered

_ALL: Final = (Ignore, Tolerance, Unordered, KeyBy, MaskWith, Equivalent, RenameTo, Subset, Schema, Join, Require)
KINDS: Final[dict[str, RuleKind]] = {kind.name: kind() for kind in _ALL}
"""The kinds by the key that declares them, in the order of docs/rules.md."""

COMMON_OPTIONS: Final = {
    "routes": {**WORDS, "description": "The routes of the rule, such as GET /orders/{id}. If unset: all."},
    "methods": {**WORDS, "description": "The methods of the rule. If unset: all."},
    "reason": {"type": "string", "description": "Why the difference does not matter."},
    "expires": {**TEXT, "description": "The date from which the rule no longer applies: 2027-01-01."},
}
"""The keys that every rule can have, with their JSON Schema."""


def rule_schema() -> dict[str, Any]:
    """Return the JSON Schema of one rule: exactly one kind, and the common keys."""
    return {
        "type": "object",
        "properties": {name: kind.schema() for name, kind in KINDS.items()} | COMMON_OPTIONS,
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in KINDS],
    }
