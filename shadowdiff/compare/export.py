"""Export the difference of two JSON bodies: as an RFC 6902 patch from v1 to v2, or as a DeepDiff report.

Rules do not apply to exports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowdiff.compare.arrays import Aligner, in_sequence
from shadowdiff.compare.finding import write
from shadowdiff.compare.value_tokens import exact_token
from shadowdiff.compare.work import Budget, TooComplexError
from shadowdiff.rules.json_values import Constant, Repeated, Value, same

if TYPE_CHECKING:
    from collections.abc import Iterator


class NotExportableError(ValueError):
    """The export cannot represent a value."""


def json_patch(one: Value, other: Value) -> str:
    """Return the RFC 6902 operations that turn `one` into `other`, as JSON text.

    Raises: NotExportableError for duplicate member names and NaN, which a patch cannot express, and for arrays that
    take too much work to align.
    """
    try:
        return "[" + ",".join(_operations(one, other, "")) + "]"
    except TooComplexError as error:
        raise NotExportableError("aligning the arrays takes too much work") from error


def _operations(one: Value, other: Value, pointer: str) -> Iterator[str]:
    if same(one, other):
        return
    if type(one) is dict and type(other) is dict:
        for name in one:
            if name not in other:
                yield _operation("remove", f"{pointer}/{_token(name)}")
        for name, value in other.items():
            below = f"{pointer}/{_token(name)}"
            if name not in one:
                yield _operation("add", below, value)
            else:
                yield from _operations(one[name], value, below)
    elif type(one) is list and type(other) is list:
        yield from _elements(one, other, pointer)
    else:
        yield _operation("replace", pointer, other)


def _elements(one: list[Value], other: list[Value], pointer: str) -> Iterator[str]:
    """Change elements at their old index, then remove elements from the end, then add elements from the start."""
    aligned = in_sequence(one, other, Aligner(same, exact_token, Budget()))
    if aligned.moved:
        yield _operation("replace", pointer, other)
        return
    for index, against in aligned.pairs:
        yield from _operations(one[index], other[against], f"{pointer}/{index}")
    for index in reversed(aligned.removed):
        yield _operation("remove", f"{pointer}/{index}")
    for index in aligned.added:
        yield _operation("add", f"{pointer}/{index}", other[index])


def _operation(name: str, pointer: str, *value: Value) -> str:
    operation = f'{{"op":"{name}","path":{write(pointer)}'
    for content in value:
        _check(content)
        operation += f',"value":{write(content)}'
    return operation + "}"


def _check(value: Value) -> None:
    if isinstance(value, Repeated):
        raise NotExportableError(f"a member name occurs more than once, with the values {write(value)[:80]}")
    if isinstance(value, Constant):
        raise NotExportableError(f"{value} is not a JSON value")
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check(child)


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def deep_diff(one: Value, other: Value) -> str:
    """Return the DeepDiff report of the two values, as JSON text.

    Raises: NotExportableError for duplicate member names and NaN, which DeepDiff would show as other values.
    """
    from deepdiff import DeepDiff  # imported here because the import is slow, and only exports need it

    _check(one)
    _check(other)
    report: Any = DeepDiff(one, other, verbose_level=2)
    return str(report.to_json())
