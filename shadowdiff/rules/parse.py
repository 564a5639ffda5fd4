"""Turn the declarations under `rules:` into checked rules.

In: parsed YAML or JSON, one mapping per rule.  Out: `Rule` values, in the same order.
Holds: an error names the rule's index, the key, the value and what would be right; nothing is guessed.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, cast

from shadowdiff.rules.jsonpath import Name, PathError, Query, parse_query
from shadowdiff.rules.pattern import Mask, PatternError
from shadowdiff.rules.rule import Rule, RuleError, RuleKind, Tolerance

COMMON_KEYS: Final = ("routes", "methods", "reason", "expires")
EQUIVALENCES: Final = ("null", "missing", "empty", "case", "number")
HEADER: Final = "header."
MAX_PATTERN_CHARS: Final = 2000

_KINDS: Final = tuple(str(kind) for kind in RuleKind)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h|d)")
_UNIT_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DIGITS_MAX: Final = 1000

# what each kind may be applied to besides a path into the body
_PLACES: Final[dict[RuleKind, tuple[str, ...]]] = {
    RuleKind.IGNORE: ("status", HEADER, "text"),
    RuleKind.TOLERANCE: (HEADER,),
    RuleKind.UNORDERED: ("text",),
    RuleKind.KEY: (),
    RuleKind.MASK: (HEADER, "text"),
    RuleKind.EQUIVALENT: (HEADER, "text"),
    RuleKind.RENAME: (),
    RuleKind.SUBSET: (),
    RuleKind.SCHEMA: (),
    RuleKind.REQUIRE: (HEADER,),
}
_OPTIONS: Final[dict[RuleKind, tuple[str, ...]]] = {
    RuleKind.IGNORE: (),
    RuleKind.TOLERANCE: ("abs", "rel", "digits", "time"),
    RuleKind.UNORDERED: (),
    RuleKind.KEY: ("by",),
    RuleKind.MASK: ("pattern", "with"),
    RuleKind.EQUIVALENT: ("as",),
    RuleKind.RENAME: ("from", "to"),
    RuleKind.SUBSET: (),
    RuleKind.SCHEMA: (),
    RuleKind.REQUIRE: (),
}


def parse_rules(items: Sequence[object]) -> tuple[Rule, ...]:
    """Return the rules that the items declare.

    Raises: RuleError, as soon as one item is not understood.
    """
    if not isinstance(items, Sequence) or isinstance(items, (str, bytes)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RuleError(f"rules: {_said(items)} is not a list; write one mapping per rule, such as - {{ignore: $.at}}")
    return tuple(_Item(index, item).rule() for index, item in enumerate(items))


class _Item:
    """One declaration on its way to a rule."""

    def __init__(self, index: int, item: object) -> None:
        self._at = f"rules[{index}]"
        if not isinstance(item, Mapping):
            raise RuleError(f"{self._at}: {_said(item)} is not a mapping; write it as {{ignore: $.path}}")
        self._item = {str(key): value for key, value in cast("Mapping[object, object]", item).items()}

    def rule(self) -> Rule:
        kind = self._kind()
        unknown = [key for key in self._item if key != kind and key not in COMMON_KEYS]
        if unknown:
            raise self._error(unknown[0], f"unknown key; beside {kind} a rule takes {', '.join(COMMON_KEYS)}")
        options = self._options(kind)
        path = self._path(kind, options, "from" if kind is RuleKind.RENAME else "path")
        extra = self._extra(kind, options)
        return Rule(
            kind=kind,
            path=path,
            routes=self._words("routes"),
            methods=tuple(word.upper() for word in self._words("methods")),
            reason=self._reason(),
            expires=self._expires(),
            **extra,
        )

    def _kind(self) -> RuleKind:
        kinds = [key for key in self._item if key in _KINDS]
        if len(kinds) != 1:
            raise self._kinds_error(kinds)
        return RuleKind(kinds[0])

    def _kinds_error(self, kinds: list[str]) -> RuleError:
        others = [key for key in self._item if key not in (*_KINDS, *COMMON_KEYS)]
        near = [(key, found) for key in others for found in get_close_matches(key.lower(), _KINDS, n=1)]
        if near and not kinds:
            return RuleError(f"{self._at}.{near[0][0]}: is no rule; did you mean {near[0][1]}?")
        found = " and ".join(kinds) or "none"
        among = f" among {', '.join(self._item)}" if self._item and not kinds else ""
        return RuleError(f"{self._at}: one of {', '.join(_KINDS)} must be named; found {found}{among}")

    def _options(self, kind: RuleKind) -> dict[str, object]:
        """Return the kind's own mapping; a bare path stands for {path: …}."""
        value = self._item[kind]
        if isinstance(value, str):
            return {"path": value}
        if not isinstance(value, Mapping):
            raise self._error(kind, "a path, or a mapping with path, was expected")
        options = {str(key): entry for key, entry in cast("Mapping[object, object]", value).items()}
        known = _OPTIONS[kind] if kind is RuleKind.RENAME else ("path", *_OPTIONS[kind])
        for key, entry in options.items():
            if key not in known:
                raise RuleError(
                    f"{self._at}.{kind}.{key}: {_said(entry)}: unknown key; {kind} takes {', '.join(known)}"
                )
        return options

    def _path(self, kind: RuleKind, options: dict[str, object], key: str) -> str:
        path = options.get(key)
        if not isinstance(path, str):
            raise RuleError(f"{self._at}.{kind}.{key}: {_said(path)}: a path such as $.items[*].id was expected")
        if path.startswith("$"):
            self._query(kind, key, path)
            return path
        if path.lower().startswith(HEADER):
            path = path.lower()
        place = HEADER if path.startswith(HEADER) else path
        if place not in _PLACES[kind] or (place == HEADER and not _HEADER_NAME.fullmatch(path[len(HEADER) :])):
            places = ["a path that begins with $"]
            places += [f"{HEADER}<name>" if place == HEADER else place for place in _PLACES[kind]]
            raise RuleError(f"{self._at}.{kind}.{key}: {path!r}: {kind} applies to {', or '.join(places)}")
        return path

    def _query(self, kind: RuleKind, key: str, path: str) -> Query:
        try:
            return parse_query(path)
        except PathError as error:
            raise RuleError(f"{self._at}.{kind}.{key}: {error}") from error

    def _extra(self, kind: RuleKind, options: dict[str, object]) -> dict[str, Any]:
        match kind:
            case RuleKind.TOLERANCE:
                return {"tolerance": self._tolerance(options)}
            case RuleKind.KEY:
                return {"by": self._by(options)}
            case RuleKind.MASK:
                return self._mask(options)
            case RuleKind.EQUIVALENT:
                return {"equivalences": self._equivalences(options)}
            case RuleKind.RENAME:
                return {"to": self._rename(options)}
            case _:
                return {}

    def _tolerance(self, options: dict[str, object]) -> Tolerance:
        bounds = {key: options[key] for key in _OPTIONS[RuleKind.TOLERANCE] if key in options}
        if not bounds:
            raise RuleError(f"{self._at}.tolerance: {_said(options)}: at least one of abs, rel, digits, time is needed")
        for key in ("abs", "rel"):
            if key in bounds and not _is_number(bounds[key]):
                raise RuleError(f"{self._at}.tolerance.{key}: {_said(bounds[key])}: a number of 0 or more was expected")
        digits = bounds.get("digits")
        if digits is not None and not (type(digits) is int and 1 <= digits <= _DIGITS_MAX):
            raise RuleError(
                f"{self._at}.tolerance.digits: {_said(digits)}: significant digits, from 1 on, were expected"
            )
        return Tolerance(
            abs=cast("float | None", bounds.get("abs")),
            rel=cast("float | None", bounds.get("rel")),
            digits=digits if isinstance(digits, int) else None,
            time_s=self._duration(bounds["time"]) if "time" in bounds else None,
        )

    def _duration(self, value: object) -> float:
        if _is_number(value):
            return float(cast("float", value))
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise RuleError(
                f"{self._at}.tolerance.time: {_said(value)}: a duration such as 500ms, 2s or 1m was expected"
            )
        return float(found.group(1)) * _UNIT_S[found.group(2)]

    def _by(self, options: dict[str, object]) -> tuple[str, ...]:
        value = options.get("by")
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):  # pyright: ignore[reportUnknownVariableType]
            raise RuleError(f"{self._at}.key.by: {_said(value)}: the members that identify an element, such as [sku]")
        by = tuple(cast("list[str]", names))
        for name in by:
            if name.startswith("$") and not is_singular(self._query(RuleKind.KEY, "by", name)):
                raise RuleError(f"{self._at}.key.by: {name!r}: only names, such as $.meta.id, lead to one identity")
        return by

    def _mask(self, options: dict[str, object]) -> dict[str, object]:
        pattern, replacement = options.get("pattern"), options.get("with", "*")
        if not isinstance(pattern, str) or not 0 < len(pattern) <= MAX_PATTERN_CHARS:
            raise RuleError(f"{self._at}.mask.pattern: {_said(pattern)}: an expression of RE2 was expected")
        if not isinstance(replacement, str):
            raise RuleError(f"{self._at}.mask.with: {_said(replacement)}: the text to put in its place was expected")
        try:
            Mask(pattern, replacement)
        except PatternError as error:
            raise RuleError(f"{self._at}.mask.pattern: {pattern!r}: not an expression of RE2: {error}") from error
        return {"pattern": pattern, "replacement": replacement}

    def _equivalences(self, options: dict[str, object]) -> tuple[str, ...]:
        value = options.get("as")
        words = ["null" if word is None else word for word in _listed(value)]
        if not words or not all(word in EQUIVALENCES for word in words):
            raise RuleError(
                f"{self._at}.equivalent.as: {_said(value)}: one or more of {', '.join(EQUIVALENCES)} expected"
            )
        if len({"null", "missing", "empty"}.intersection(words)) == 1:  # pyright: ignore[reportArgumentType]
            raise RuleError(
                f"{self._at}.equivalent.as: {_said(value)}: at least two of null, missing, empty make a class"
            )
        return tuple(word for word in EQUIVALENCES if word in words)

    def _rename(self, options: dict[str, object]) -> str:
        to = self._path(RuleKind.RENAME, options, "to")
        here, there = (self._query(RuleKind.RENAME, key, str(options[key])) for key in ("from", "to"))
        _, old, new = split_rename(here, there)
        if not old or not new or not is_singular(old) or not is_singular(new):
            raise RuleError(
                f"{self._at}.rename: {_said(options)}: from and to begin alike and end in names of their own, "
                "such as from $.items[*].cost to $.items[*].price"
            )
        return to

    def _words(self, key: str) -> tuple[str, ...]:
        value = self._item.get(key)
        words = _listed(value)
        if not all(isinstance(word, str) and word for word in words):
            raise self._error(key, "a list of words was expected")
        return tuple(cast("list[str]", words))

    def _reason(self) -> str:
        value = self._item.get("reason", "")
        if not isinstance(value, str):
            raise self._error("reason", "a text was expected")
        return value

    def _expires(self) -> dt.datetime | None:
        value = self._item.get("expires")
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = dt.datetime.fromisoformat(value)
            except ValueError:
                raise self._error("expires", "a date such as 2026-12-31, or a time, was expected") from None
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            value = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
        if not isinstance(value, dt.datetime):
            raise self._error("expires", "a date such as 2026-12-31, or a time, was expected")
        return value if value.tzinfo else value.replace(tzinfo=dt.UTC)

    def _error(self, key: str, expected: str) -> RuleError:
        return RuleError(f"{self._at}.{key}: {_said(self._item.get(key))}: {expected}")


def split_rename(here: Query, there: Query) -> tuple[Query, Query, Query]:
    """Return what both paths begin with, and how each goes on."""
    shared = 0
    for old, new in zip(here, there, strict=False):
        if old != new:
            break
        shared += 1
    return here[:shared], here[shared:], there[shared:]


def is_singular(query: Query) -> bool:
    """Whether the query names exactly one place, by names alone."""
    return all(
        len(segment.selectors) == 1 and isinstance(segment.selectors[0], Name) and not segment.descendant
        for segment in query
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def _listed(value: object) -> list[object]:
    if value is None:
        return []
    return list(cast("Sequence[object]", value)) if isinstance(value, (list, tuple)) else [value]


def _said(value: object) -> str:
    """Spell a value as it stands in a file of rules: YAML in one line."""
    return repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
