"""Describe a cause in one sentence: what differs, where, and how v2's value follows from v1's.

Pure. The parameter is safe to show; without a parameter the sentence says only what holds for all pairs of the cause.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from shadowdiff.display.wording import FAILURES, Segment, cut, filled, short_path
from shadowdiff.model import GRAPHQL_ERRORS, Failure, Kind, Severity
from shadowdiff.model.relation import ARROW, NO_RELATION, Relation

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE_CHARS: Final = 90
_HASHED: Final = "‹redacted"
_GRPC_STATUS: Final = "header.grpc-status"
_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_ARTICLES: Final = {
    "array": "an array", "boolean": "a boolean", "constant": "not a JSON value", "decimal": "a decimal",
    "integer": "an integer", "null": "null", "number": "a number", "object": "an object", "repeated": "repeated",
    "string": "a string",
}  # fmt: skip
_ABSENT: Final = frozenset(("null", "missing", "empty", "zero", "value"))
_CASES: Final = frozenset(("upper", "lower"))
_UNICODE_FORMS: Final = frozenset(("NFC", "NFD", "NFKC"))
_DIGITS: Final = frozenset(("any", *map(str, range(30))))
_FORMS: Final = {
    "uuid": "{subject} is another UUID in each response",
    "token": "{subject} is another token in each response",
    "hash": "{subject} is another hash in each response",
    "clock": "{subject} is the time of the response",
    "duration": "{subject} is a duration, which differs in each response",
    "counter": "{subject} is a counter, which differs in each response",
    "pod": "{subject} is the name of a pod",
}
_INSTANTS: Final = {
    "zone": "{subject} is the same time in another zone",
    "precision": "{subject} is the same time with another precision",
    "epoch": "{subject} is the same time in another unit or format",
    "format": "{subject} is the same time in another format",
}
_ESCAPES: Final = {
    "plain → html": "v2 escapes {subject} for HTML",
    "html → plain": "v2 does not escape {subject} for HTML",
    "html → html": "v2 escapes {subject} for HTML in another way",
    "plain → percent": "v2 percent-encodes {subject}",
    "percent → plain": "v2 does not percent-encode {subject}",
    "percent → percent": "v2 percent-encodes {subject} in another way",
    "plain → backslash": "v2 escapes {subject} with backslashes",
    "backslash → plain": "v2 does not escape {subject} with backslashes",
    "backslash → backslash": "v2 escapes {subject} with backslashes in another way",
}
_WITHOUT: Final = {
    Relation.OWN_ORIGIN: "{subject} has v2's own host name",
    Relation.REPLACED_BY_ERROR: "{subject} is an error in v2",
    Relation.SAME_INSTANT: "{subject} is the same time in another form",
    Relation.INTEGER_AS_DECIMAL: "{subject} is the same number, with a fraction in one version only",
    Relation.NUMBER_AS_STRING: "{subject} is the same value with another type in v2",
    Relation.CASE: "{subject} differs only in case",
    Relation.WHITE_SPACE: "{subject} differs only in white space",
    Relation.NORMALIZATION: "{subject} differs only in Unicode normalization",
    Relation.ESCAPING: "{subject} differs only in how it is escaped",
    Relation.REORDERED: "order of {subject} differs",
    Relation.EMPTY: "{subject} is null, missing, empty or zero in one version",
    Relation.VERSION: "{subject} has another version in v2",
    Relation.ROUNDED: "{subject} has another number of decimals in v2",
    Relation.SCALED: "{subject} is in another unit in v2",
    Relation.TIME_SHIFTED: "{subject} is another time in v2",
    Relation.PREFIX: "{subject} starts differently in v2",
    Relation.SUFFIX: "{subject} ends differently in v2",
    Relation.TRUNCATED: "{subject} is cut off in v2",
    Relation.GENERATED: "{subject} is generated for each response",
    Relation.RETYPED: "type of {subject} differs",
}
"""The sentences of relations whose parameter is missing or varies."""
_KINDS: Final = {
    Kind.STATUS: "status differs",
    Kind.HEADER: "{subject} differs",
    Kind.TYPE: "type of {subject} differs",
    Kind.VALUE: "{subject} differs",
    Kind.ADDED: "v2 adds {subject}",
    Kind.REMOVED: "{subject} is missing in v2",
    Kind.ORDER: "order of {subject} differs",
    Kind.TEXT: "{subject} differs",
    Kind.BYTES: "{subject} differs",
}
"""The sentences of changes without a relation."""
Template = tuple[str, dict[str, str]]
"""A sentence with `{subject}` and with the names of quoted texts, and these texts."""


def cause_sentence(
    kind: Kind, place: str, relation: Relation, parameter: str = "", *, severity: Severity, routes: int = 1
) -> list[Segment]:
    """Return one sentence about a cause.

    place: a path pattern. relation: the one that describes the cause, or `NO_RELATION`. parameter: of the relation;
    empty if it varies or is unknown. routes: how many routes have the cause.
    """
    template, quoted = _template(kind, place, relation, parameter, severity)
    subject, where = _subject(kind, place)
    sentence = filled(template.replace("{subject}", subject), quoted={"where": where, **quoted}, named={})
    return [*sentence, Segment(f" on {routes:,} routes")] if routes > 1 else sentence


def _subject(kind: Kind, place: str) -> tuple[str, str]:
    """Return what the sentence is about, with `{where}` for a quoted place, and that place."""
    if kind is Kind.HEADER and place.startswith("header."):
        return "header {where}", cut(short_path(place.removeprefix("header.")), PLACE_CHARS)
    if place in {"text", "text[*]"}:
        return "text", ""
    if place.startswith("bytes"):
        return "binary body", ""
    if place.startswith("text[") and place.endswith("]"):
        return "text {where}", cut(place[5:-1], PLACE_CHARS)
    return "{where}", cut(short_path(place), PLACE_CHARS)


def _template(kind: Kind, place: str, relation: Relation, parameter: str, severity: Severity) -> Template:
    if place == GRAPHQL_ERRORS:
        return "v2's GraphQL response has errors" if relation else "GraphQL errors differ", {}
    if kind is Kind.STATUS:
        return _status(place, relation, parameter)
    if kind is Kind.HEADER and relation is NO_RELATION and severity is not Severity.VALUE:
        return ("v2 adds {subject}" if severity is Severity.ADDITIVE else "{subject} is missing in v2"), {}
    write = _WITH.get(relation)
    found = write(parameter) if write and parameter and _HASHED not in parameter else None
    if found is None and relation is Relation.CONSTANT and parameter:
        found = _constant(parameter)
    return found or (_WITHOUT.get(relation) or _KINDS[kind], {})


def _status(place: str, relation: Relation, parameter: str) -> Template:
    one, arrow, other = parameter.partition(ARROW)
    protocol = "gRPC status " if place == _GRPC_STATUS else ""
    after = other if arrow else one
    if after in FAILURES:
        return f"v2 {FAILURES[Failure(after)]}", {}
    if arrow:
        return f"v2 returns {protocol}{{other}} instead of {{one}}", {"one": one, "other": other}
    if relation is Relation.REPLACED_BY_ERROR:
        if not one:
            return f"v2 returns {protocol}errors instead of successful responses", {}
        return f"v2 returns {protocol}{{one}} instead of a successful response", {"one": one}
    return "status differs", {}


def _constant(parameter: str) -> Template:
    one, _, other = parameter.partition(ARROW)
    return "{subject} differs: {one} → {other}", {"one": one, "other": other}


def _number_as_string(parameter: str) -> Template | None:
    found = _retyped(parameter)
    return (f"{found[0]}, with the same value", found[1]) if found else None


def _retyped(parameter: str) -> Template | None:
    one, _, other = parameter.partition(ARROW)
    if one not in _ARTICLES or other not in _ARTICLES:
        return None
    return f"{{subject}} is {_ARTICLES[other]} in v2, {_ARTICLES[one]} in v1", {}


def _case(parameter: str) -> Template | None:
    return (f"{{subject}} is in {parameter} case in v2", {}) if parameter in _CASES else None


def _normalization(parameter: str) -> Template | None:
    if parameter not in _UNICODE_FORMS:
        return None
    return f"{{subject}} differs only in Unicode normalization: v2 sends {parameter}", {}


def _empty(parameter: str) -> Template | None:
    one, _, other = parameter.partition(ARROW)
    if not {one, other} <= _ABSENT:
        return None
    if other == "missing":
        return f"{{subject}} is missing in v2, {one} in v1", {}
    if one == "missing":
        return f"v2 adds {{subject}}, which is {other}", {}
    if one == "value":
        return f"{{subject}} is {other} in v2; v1 has a value", {}
    if other == "value":
        return f"{{subject}} has a value in v2, and is {one} in v1", {}
    return f"{{subject}} is {other} in v2, {one} in v1", {}


def _version(parameter: str) -> Template:
    one, _, other = parameter.partition(ARROW)
    return "{subject} has version {other} in v2, {one} in v1", {"one": one, "other": other}


def _rounded(parameter: str) -> Template | None:
    one, _, other = parameter.partition(ARROW)
    if "any" not in {one, other} or not {one, other} <= _DIGITS:
        return None
    digits, version, rest = (other, "v2", "") if one == "any" else (one, "v1", ", not in v2")
    decimals = "whole numbers" if digits == "0" else "1 decimal" if digits == "1" else f"{digits} decimals"
    return f"{{subject}} is rounded to {decimals} in {version}{rest}", {}


def _scaled(parameter: str) -> Template | None:
    if parameter == "-1":
        return "{subject} has the opposite sign in v2", {}
    if parameter.removeprefix("1/").isdecimal():
        is_part = parameter.startswith("1/")
        return f"{{subject}} is {parameter} {'of' if is_part else 'times'} v1's value", {}
    return None


def _time_shifted(parameter: str) -> Template | None:
    seconds = _number(parameter)
    if seconds is None:
        return None
    return f"{{subject}} is exactly {_duration(abs(seconds))} {'earlier' if seconds < 0 else 'later'} in v2", {}


def _offset(parameter: str) -> Template | None:
    number = _number(parameter)
    if number is None:
        return None
    return f"{{subject}} is exactly {parameter.lstrip('+-')} {'lower' if number < 0 else 'higher'} in v2", {}


def _affix(name: str) -> Callable[[str], Template]:
    def template(parameter: str) -> Template:
        verb, side = ("adds", "to") if parameter.startswith("+") else ("removes", "from")
        return f"v2 {verb} the {name} {{part}} {side} {{subject}}", {"part": parameter[1:]}

    return template


def _truncated(parameter: str) -> Template | None:
    return (f"{{subject}} ends after {parameter} characters in v2", {}) if parameter.isdecimal() else None


def _generated(parameter: str) -> Template | None:
    return (_FORMS[parameter], {}) if parameter in _FORMS else None


def _instant(parameter: str) -> Template | None:
    return (_INSTANTS[parameter], {}) if parameter in _INSTANTS else None


def _escaping(parameter: str) -> Template | None:
    return (_ESCAPES[parameter], {}) if parameter in _ESCAPES else None


_WITH: Final[dict[Relation, Callable[[str], Template | None]]] = {
    Relation.SAME_INSTANT: _instant,
    Relation.INTEGER_AS_DECIMAL: _number_as_string,
    Relation.NUMBER_AS_STRING: _number_as_string,
    Relation.CASE: _case,
    Relation.NORMALIZATION: _normalization,
    Relation.ESCAPING: _escaping,
    Relation.EMPTY: _empty,
    Relation.VERSION: _version,
    Relation.ROUNDED: _rounded,
    Relation.SCALED: _scaled,
    Relation.TIME_SHIFTED: _time_shifted,
    Relation.OFFSET: _offset,
    Relation.PREFIX: _affix("prefix"),
    Relation.SUFFIX: _affix("suffix"),
    Relation.TRUNCATED: _truncated,
    Relation.GENERATED: _generated,
    Relation.RETYPED: _retyped,
}


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _duration(seconds: Decimal) -> str:
    """Return a duration in the largest unit that divides it."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds % size == 0), (1, "s"))
    return f"{seconds / size:,f} {unit}"
