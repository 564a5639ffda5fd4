"""The JSON Schema of the configuration, for editors: completion, descriptions, and typos underlined.

Out: the schema as data.  Holds: it refuses unknown keys as the loader does; what rests on two values at once, or on
the syntax of a rule's path, is the loader's to check.
"""

from __future__ import annotations

from typing import Any, Final

from shadowdiff.config.settings import Root
from shadowdiff.config.units import DURATION_PATTERN, SIZE_PATTERN, duration_text, size_text
from shadowdiff.rules import RuleKind

_TEXT: Final = {"type": "string", "minLength": 1}
_WORDS: Final = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_BOUND: Final = {"type": "number", "minimum": 0}
_COMMON: Final = {
    "reason": {"type": "string", "description": "Why this does not matter."},
    "routes": _WORDS | {"description": "The routes it holds for, such as GET /orders/{id}. Left out: all."},
    "methods": _WORDS | {"description": "The methods it holds for. Left out: all."},
    "expires": _TEXT | {"description": "The date from which it no longer holds, such as 2027-01-01."},
}
_OPTIONS: Final[dict[RuleKind, dict[str, Any]]] = {
    RuleKind.TOLERANCE: {
        "path": _TEXT,
        "abs": _BOUND,
        "rel": _BOUND,
        "digits": {"type": "integer", "minimum": 1},
        "time": {"type": ["string", "number"]},
    },
    RuleKind.KEY: {"path": _TEXT, "by": _WORDS},
    RuleKind.MASK: {"path": _TEXT, "pattern": _TEXT, "with": {"type": "string"}},
    RuleKind.EQUIVALENT: {
        "path": _TEXT,
        "as": {
            "anyOf": [
                {"enum": ["case", "number"]},
                {"type": "array", "items": {"enum": [None, "null", "missing", "empty", "case", "number"]}},
            ]
        },
    },
    RuleKind.RENAME: {"from": _TEXT, "to": _TEXT},
}


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the configuration file."""
    schema = Root.model_json_schema()
    target = schema["$defs"]["TargetSettings"]["properties"]
    target["rules"]["items"] = {"$ref": "#/$defs/Rule"}
    for part in (schema, *schema["$defs"].values()):
        for setting in part.get("properties", {}).values():
            _with_units(setting)
    schema["$defs"]["Rule"] = _rule()
    schema["title"] = "shadowdiff configuration"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _with_units(setting: dict[str, Any]) -> None:
    """Write the default of a duration or size as the file would."""
    write = {DURATION_PATTERN: duration_text, SIZE_PATTERN: size_text}.get(setting.get("pattern", ""))
    if write and "default" in setting:
        setting["default"] = write(setting["default"])


def _rule() -> dict[str, Any]:
    """Return the schema of one rule: exactly one kind, and what every rule may have."""
    kinds = {str(kind): _kind(_OPTIONS.get(kind)) for kind in RuleKind}
    return {
        "type": "object",
        "properties": kinds | _COMMON,
        "additionalProperties": False,
        "oneOf": [{"required": [kind]} for kind in kinds],
    }


def _kind(options: dict[str, Any] | None) -> dict[str, Any]:
    """Return the schema of one kind: a bare path where it needs no more, or its options."""
    properties = options or {"path": _TEXT}
    required = [name for name in properties if name in {"path", "by", "pattern", "as", "from", "to"}]
    own = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return own if options else {"anyOf": [_TEXT, own]}
