"""`equivalent`: null, missing, empty or zero values, texts in another case, or numbers and their texts are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from shadowdiff.rules.json_values import MISSING, Missing, Value, number_of, numeric
from shadowdiff.rules.kinds.kind import ValueRule, ValueRuleKind, listed
from shadowdiff.rules.rule import HEADER

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from shadowdiff.rules.kinds.kind import Options
    from shadowdiff.rules.rule import Rule

_ABSENT: Final = frozenset({"null", "missing", "empty"})
_CLASSES: Final = ("null", "missing", "empty", "zero", "case", "number")


class _OneClass(ValueRule):
    has_classes = True

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule)
        self.absent = _ABSENT.intersection(rule.options)
        self.omits_zero = "zero" in rule.options
        self.covers_missing = self.omits_zero or "missing" in self.absent
        self.ignores_case = "case" in rule.options
        self.reads_numbers = "number" in rule.options

    def covers(self, one: Value | Missing, other: Value | Missing) -> bool:
        """Return whether both values are in the same class."""
        if self.absent and _absence(one) in self.absent and _absence(other) in self.absent:
            return True
        if self.ignores_case and type(one) is str and type(other) is str and one.casefold() == other.casefold():
            return True
        if isinstance(one, Missing) or isinstance(other, Missing):
            return self.omits_zero and (_is_zero(one) or _is_zero(other))
        if not self.reads_numbers:
            return False
        left, right = numeric(one), numeric(other)
        return left is not None and right is not None and left == right

    def class_of(self, value: Value) -> Hashable | None:
        if self.absent and (value is None or value == "" or isinstance(value, (dict, list))):
            return "absent or with members"
        if self.reads_numbers and (number := numeric(value)) is not None:
            return "number", number
        return ("text", value.casefold()) if self.ignores_case and type(value) is str else None


class Equivalent(ValueRuleKind):
    """Covers two values that are in the same class. The options are the names of the classes."""

    name = "equivalent"
    example = '`{equivalent: {path: "$.note", as: ["null", missing, empty]}}`'
    covers = (
        "two values that are equal in a class in `as`. `null`, `missing`, `empty`: name at least two of them;"
        " shadowdiff then treats them as equal. `zero`: one side has no value, and the other has `0`, `false`, `null`"
        " or an empty value. `case`: texts that differ only in upper and lower case. `number`: equal"
        ' numbers, even if written as text (`7` and `"7.0"`)'
    )
    places = (HEADER, "text")
    options: ClassVar[Mapping[str, Any]] = {
        "as": {"anyOf": [{"enum": ["zero", "case", "number"]}, {"type": "array", "items": {"enum": [None, *_CLASSES]}}]}
    }
    required = ("as",)
    value_rule = _OneClass

    def parse(self, options: Options) -> tuple[str, ...]:
        words = ["null" if word is None else word for word in listed(options.get("as"))]
        if not words or not all(word in _CLASSES for word in words):
            raise options.error("as", f"expected one or more of {', '.join(_CLASSES)}")
        if sum(word in _ABSENT for word in words) == 1:
            raise options.error(
                "as", "expected at least two of null, missing, empty, which are then equal to each other"
            )
        return tuple(word for word in _CLASSES if word in words)

    def declare(self, rule: Rule) -> dict[str, Any]:
        return {"as": list(rule.options)}


def _absence(value: Value | Missing) -> str:
    if value is None:
        return "null"
    if value is MISSING:
        return "missing"
    return "empty" if value == "" or (isinstance(value, (list, dict)) and not value) else "present"


def _is_zero(value: Value | Missing) -> bool:
    """Return whether a program may leave out the value because it is the zero value of its type."""
    if isinstance(value, Missing):
        return False
    return value is False or _absence(value) != "present" or number_of(value) == 0
