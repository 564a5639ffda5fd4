"""Find how v2's value follows from v1's: which relations hold for the two values of one difference.

Pure, and never raises. The work is bounded by the length that is looked at, and charged to a budget of its own, so that
relations never change a result. If that budget is used up, a difference has no relations.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from shadowdiff.compare.instants import instant_of_number, instant_of_text, relate_instants
from shadowdiff.compare.number_relations import MOST_DIGITS, is_usual, named_form, relate_numbers
from shadowdiff.compare.text_relations import (
    MOST_CHARS,
    MOST_EXCERPT_CHARS,
    OwnNames,
    constant,
    relate_origin,
    relate_texts,
)
from shadowdiff.model import Kind
from shadowdiff.model.relation import ARROW, MOST_PARAMETERS, PARAMETER_CHARS, Parameters, Relation
from shadowdiff.rules.json_values import MISSING, Missing, Value, kind_of, number_of, numeric

if TYPE_CHECKING:
    from shadowdiff.compare.number_relations import Found

Relations = tuple[int, Parameters]
"""The bits of all relations that hold, and the parameters of the most specific ones."""
NONE: Final[Relations] = (0, ())
_ERROR: Final = int(Relation.REPLACED_BY_ERROR)
_INTEGER_AS_DECIMAL: Final = int(Relation.INTEGER_AS_DECIMAL)
_NUMBER_AS_STRING: Final = int(Relation.NUMBER_AS_STRING)
_REORDERED: Final = int(Relation.REORDERED)
_EMPTY: Final = int(Relation.EMPTY)
_RETYPED: Final = int(Relation.RETYPED)
_CONSTANT: Final = int(Relation.CONSTANT)
_NUMBERS: Final = frozenset((int, float, Decimal))
_SCALARS: Final = frozenset((str, int, float, Decimal, bool, type(None)))
_ERROR_NAMES: Final = frozenset(("error", "errors", "exception"))
_HTTP_DIGITS: Final = 3
_REMOVED: Final = re.compile(r"\[-(.*?)-\]", re.DOTALL)
_ADDED: Final = re.compile(r"\{\+(.*?)\+\}", re.DOTALL)
_BASE_UNITS: Final = 8
_CHARS_PER_UNIT: Final = 32
_CHARS_PER_UNIT_BEYOND: Final = 1024


def relate(
    kind: Kind,
    name: str,
    values: tuple[Value | Missing, Value | Missing],
    shown: tuple[str | None, str | None],
    names: OwnNames | None = None,
) -> Relations:
    """Return the relations of two differing values.

    name: of the member that has them; empty without a name. shown: both values as JSON text. names: of the service.
    """
    if kind is Kind.ORDER:
        return _REORDERED, ()
    found: Found = {}
    one, other = values
    type_, type_other = type(one), type(other)
    if type_ is str and type_other is str:
        relate_strings(one, other, name, found, names=names)  # pyright: ignore[reportArgumentType]  # both are strings
    else:
        _relate_others(one, other, name, found)
        if type_ in _SCALARS and type_other in _SCALARS:
            left, right = _short(one, shown[0]), _short(other, shown[1])
            if max(len(left), len(right)) <= PARAMETER_CHARS and left != right:
                found[_CONSTANT] = constant(left, right)
    return summarized(found)


def relate_excerpts(kind: Kind, name: str, one: str, other: str, names: OwnNames | None = None) -> Relations:
    """Return the relations of two differing texts outside of a structured body: of a header, a line, or a status."""
    if kind is Kind.STATUS:
        return relate_statuses(one, other)
    if max(len(one), len(other)) > MOST_EXCERPT_CHARS:
        return NONE
    found: Found = {}
    if kind is Kind.TEXT:
        one, other = _plain(_REMOVED, "-]", one), _plain(_ADDED, "+}", other)
        end = "\n" if one.endswith("\n") and other.endswith("\n") else ""
        one, other = one.removesuffix(end), other.removesuffix(end)
    if one != other:
        relate_strings(one, other, name, found, is_line=kind is Kind.TEXT, names=names)
    return summarized(found)


def _plain(marks: re.Pattern[str], end: str, text: str) -> str:
    """Return a text without marks of changes. It stops at the last end of a mark, so that the search is linear."""
    stop = text.rfind(end) + len(end)
    return marks.sub(r"\1", text[:stop]) + text[stop:] if stop >= len(end) else text


def relate_statuses(one: str, other: str) -> Relations:
    """Return the relations of two statuses of HTTP or gRPC, or of a status and a failure."""
    replacement = _CONSTANT, constant(one, other)
    if _is_fine(one) and not _is_fine(other):
        return _ERROR | _CONSTANT, ((_ERROR, other), replacement)
    return _CONSTANT, (replacement,)


def _is_fine(status: str) -> bool:
    """Whether a status is no error: 1xx to 3xx in HTTP, 0 in gRPC. A failure has no status but a name."""
    return status == "0" or (len(status) == _HTTP_DIGITS and status[0] in "123")


def summarized(found: Found) -> Relations:
    """Return the bits of the relations that were found, and the parameters of the most specific ones."""
    mask = 0
    for bit in found:
        mask |= bit
    parameters = [(bit, text) for bit, text in found.items() if text]
    if len(parameters) > 1:
        parameters.sort()
    return mask, tuple(parameters[:MOST_PARAMETERS])


def units_of(one: object, other: object) -> int:
    """Return the work that relations of two values need at most."""
    if type(one) is not str or type(other) is not str:
        return _BASE_UNITS
    size = len(one) + len(other)
    if size > 2 * MOST_EXCERPT_CHARS:
        return _BASE_UNITS
    return _BASE_UNITS + min(size, 2 * MOST_CHARS) // _CHARS_PER_UNIT + size // _CHARS_PER_UNIT_BEYOND


def relate_strings(
    one: str, other: str, name: str, found: Found, *, is_line: bool = False, names: OwnNames | None = None
) -> None:
    """Find the relations of two differing texts."""
    if one and other:
        if names is not None and len(other) <= MOST_CHARS:
            relate_origin(one, other, names, found)
        relate_texts(one, other, name, found, is_line=is_line)
        return
    found[_EMPTY] = f"value{ARROW}empty" if one else f"empty{ARROW}value"
    if max(len(one), len(other)) <= PARAMETER_CHARS:
        found[_CONSTANT] = constant(one, other)


def _short(value: Value | Missing, shown: str | None) -> str:
    return value if type(value) is str else shown or ""


def _relate_others(one: Value | Missing, other: Value | Missing, name: str, found: Found) -> None:
    """Find the relations of two values that are not both strings."""
    left, right = _usual_number(one), _usual_number(other)
    if left is not None and right is not None:
        if left == right:
            found[_INTEGER_AS_DECIMAL] = "integer → decimal" if type(one) is int else "decimal → integer"
            found[_RETYPED] = ""
            return
        relate_numbers(left, right, name, found, as_written=False)
    _relate_absence(one, other, found)
    if isinstance(one, Missing) or isinstance(other, Missing) or type(one) is type(other):
        return
    found[_RETYPED] = "" if _EMPTY in found else f"{_type(one, right)}{ARROW}{_type(other, left)}"
    if _is_same_as_text(one, other):
        found[_RETYPED] = ""
        found[_NUMBER_AS_STRING] = f"{_type(one)}{ARROW}{_type(other)}"
    elif left is not None and type(other) is str:
        _relate_epoch(left, other, name, found, is_first=True)
    elif right is not None and type(one) is str:
        _relate_epoch(right, one, name, found, is_first=False)
    if _is_error(other) and not _is_error(one):
        found[_ERROR] = ""


def _usual_number(value: Value | Missing) -> Decimal | int | None:
    """Return a number of usual size; None for other values."""
    if type(value) not in _NUMBERS:
        return None
    if type(value) is int:
        return value if is_usual(value) else None
    number = number_of(value)  # pyright: ignore[reportArgumentType]  # a number is not missing
    if number is None or not is_usual(number) or len(number.as_tuple().digits) > MOST_DIGITS:
        return None
    return number


def _relate_absence(one: Value | Missing, other: Value | Missing, found: Found) -> None:
    left, right = absence(one), absence(other)
    if left == right or (isinstance(one, bool) and isinstance(other, bool)):
        return
    if "missing" in {left, right} and "value" in {left, right}:
        return
    found[_EMPTY] = f"{left}{ARROW}{right}"


def absence(value: Value | Missing) -> str:
    """Return `null`, `missing`, `empty`, `zero`, or `value` for all other values."""
    if value is None:
        return "null"
    if value is MISSING:
        return "missing"
    if isinstance(value, (str, list, dict)):
        return "value" if value else "empty"
    return "value" if value else "zero"


def _type(value: Value, number: object = None) -> str:
    """Return the name of a type.  number: the other value if it is a number, so that the kind of number matters."""
    kind = kind_of(value)
    return "number" if kind == "integer" and number is None else kind


def _is_same_as_text(one: Value, other: Value) -> bool:
    """Whether a number or boolean has the same text as a string, or is 1 or 0 for a boolean."""
    if isinstance(one, bool) or isinstance(other, bool):
        flag, value = (one, other) if isinstance(one, bool) else (other, one)
        return (type(value) is str and value.lower() == str(flag).lower()) or (type(value) is int and value == flag)
    if type(one) is not str and type(other) is not str:
        return False
    left, right = _numeric(one), _numeric(other)
    return left is not None and left == right


def _numeric(value: Value) -> Decimal | None:
    if type(value) in _NUMBERS or type(value) is str:
        return numeric(value)
    return None


def _relate_epoch(number: Decimal | int, text: str, name: str, found: Found, *, is_first: bool) -> None:
    """Find the relations of a Unix time and a time as text."""
    instant, against = instant_of_number(number), instant_of_text(text)
    if instant and against:
        both = (instant, against) if is_first else (against, instant)
        relate_instants(*both, found, certain=named_form(name) == "clock")


def _is_error(value: Value) -> bool:
    return isinstance(value, dict) and not _ERROR_NAMES.isdisjoint(value)
