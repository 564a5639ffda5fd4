"""Parse rules from declarations, and turn rules back into declarations.

Errors name the rule's index, the key, the value and the fix. The parser never guesses. Each kind's module in `kinds`
defines the kind's options.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast

from shadowdiff.rules.kinds import COMMON_OPTIONS, KINDS
from shadowdiff.rules.kinds.kind import Options, RuleKind, listed, spell
from shadowdiff.rules.rule import Rule, RuleError


def parse_rules(items: Sequence[object]) -> tuple[Rule, ...]:
    """Return the rules in parsed YAML or JSON, in order. Raises: RuleError for the first invalid rule."""
    if not isinstance(items, Sequence) or isinstance(items, (str, bytes)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RuleError(f"rules: {spell(items)} is not a list; write one mapping per rule, such as - {{ignore: $.at}}")
    return tuple(_rule(f"rules[{index}]", item) for index, item in enumerate(items))


def declaration(rule: Rule) -> dict[str, Any]:
    """Return the shortest mapping that declares a rule: `parse_rules([declaration(rule)])` returns the same rule."""
    kind = KINDS[rule.kind]
    options = kind.declare(rule)
    declared = {
        rule.kind: {kind.path_option: rule.path, **options} if options else rule.path,
        "routes": list(rule.routes),
        "methods": list(rule.methods),
        "reason": rule.reason,
        "expires": rule.expires and rule.expires.isoformat(),
    }
    return {key: value for key, value in declared.items() if value}


def _rule(at: str, item: object) -> Rule:
    if not isinstance(item, Mapping):
        raise RuleError(f"{at}: {spell(item)} is not a mapping; write it as {{ignore: $.path}}")
    declared = Options(at, cast("Mapping[object, object]", item))
    kind = _kind(declared)
    for key in declared.values:
        if key != kind.name and key not in COMMON_OPTIONS:
            raise declared.error(key, f"unknown key; with {kind.name}, a rule may have {', '.join(COMMON_OPTIONS)}")
    options = _options(declared, kind)
    return Rule(
        kind=kind.name,
        path=options.path(kind.path_option, kind),
        to=kind.second_path(options),
        options=kind.parse(options),
        routes=_words(declared, "routes"),
        methods=tuple(word.upper() for word in _words(declared, "methods")),
        reason=_reason(declared),
        expires=_expires(declared),
    )


def _kind(declared: Options) -> RuleKind:
    kinds = [key for key in declared.values if key in KINDS]
    if len(kinds) == 1:
        return KINDS[kinds[0]]
    others = [key for key in declared.values if key not in (*KINDS, *COMMON_OPTIONS)]
    near = [(key, found) for key in others for found in get_close_matches(key.lower(), KINDS, n=1)]
    if near and not kinds:
        raise RuleError(f"{declared.at}.{near[0][0]}: unknown kind of rule; did you mean {near[0][1]}?")
    found = " and ".join(kinds) or "none"
    among = f" among {', '.join(declared.values)}" if declared.values and not kinds else ""
    raise RuleError(f"{declared.at}: expected exactly one of {', '.join(KINDS)}; found {found}{among}")


def _options(declared: Options, kind: RuleKind) -> Options:
    """Return the mapping of the kind's options. A plain path is an abbreviation of {path: …}."""
    value, at = declared.get(kind.name), f"{declared.at}.{kind.name}"
    if isinstance(value, str):
        return Options(at, {"path": value})
    if not isinstance(value, Mapping):
        raise declared.error(kind.name, "expected a path, or a mapping with path")
    options = Options(at, cast("Mapping[object, object]", value))
    known = (kind.path_option, *kind.options)
    for key in options.values:
        if key not in known:
            raise options.error(key, f"unknown key; {kind.name} takes {', '.join(known)}")
    return options


def _words(declared: Options, key: str) -> tuple[str, ...]:
    words = listed(declared.get(key))
    if not all(isinstance(word, str) and word for word in words):
        raise declared.error(key, "expected a list of words")
    return tuple(cast("list[str]", words))


def _reason(declared: Options) -> str:
    value = declared.get("reason", "")
    if not isinstance(value, str):
        raise declared.error("reason", "expected a text")
    return value


def _expires(declared: Options) -> dt.datetime | None:
    value = declared.get("expires")
    if value is None:
        return None
    try:
        time = dt.datetime.fromisoformat(str(value) if isinstance(value, (str, dt.date)) else "")
    except ValueError:
        raise declared.error("expires", "expected a date such as 2026-12-31, or a time") from None
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)
