"""Say the difference of two JSON bodies in forms that other tools read.

In: two values.  Out: an RFC 6902 patch that turns v1's into v2's, or DeepDiff's own report.
Holds: exports speak of the bodies as they are; rules have no part in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowdiff.compare.arrays import Aligner, in_sequence
from shadowdiff.compare.tokens import exact_token
from shadowdiff.compare.values import Constant, Repeated, Value, same
from shadowdiff.compare.write import write

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALIGNER = Aligner(same, exact_token, None, None, lambda _index, _against: False)


class NotExportableError(ValueError):
    """A value holds what the form cannot say."""


def json_patch(one: Value, other: Value) -> str:
    """Return the operations of RFC 6902 that turn `one` into `other`, as JSON text.

    Raises: NotExportableError, for member names written twice and for NaN, which no patch can name.
    """
    return "[" + ",".join(_operations(one, other, "")) + "]"


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
    """Change what stays at its old index, remove from the end, then add from the start."""
    aligned = in_sequence(one, other, _ALIGNER)
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
    said = f'{{"op":"{name}","path":{write(pointer)}'
    for content in value:
        _check(content)
        said += f',"value":{write(content)}'
    return said + "}"


def _check(value: Value) -> None:
    if isinstance(value, Repeated):
        raise NotExportableError(f"a member name is written more than once, with the values {write(value)[:80]}")
    if isinstance(value, Constant):
        raise NotExportableError(f"{value} is no JSON value")
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check(child)


def _token(name: str) -> str:
    """Escape a name as RFC 6901 section 3 says."""
    return name.replace("~", "~0").replace("/", "~1")


def deep_diff(one: Value, other: Value) -> str:
    """Return DeepDiff's report of the two values, as JSON text.

    Raises: NotExportableError, for member names written twice and for NaN, which DeepDiff would show as other values.
    """
    from deepdiff import DeepDiff  # slow to import, and only an export needs it

    _check(one)
    _check(other)
    report: Any = DeepDiff(one, other, verbose_level=2)
    return str(report.to_json())
