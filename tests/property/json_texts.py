"""Strategies for JSON texts that are hard to compare, and an oracle that parses JSON with independent code.

The strategies draw a tree once and write it in several ways (spacing, escapes, number spelling, member order). Equal
pairs are then as frequent as different pairs.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, cast

from hypothesis import strategies as st

NUMBERS = [
    "0", "-0", "1", "1.0", "1.00", "10e-1", "true", "false", "null", '"1"', "-1", "0.0", "-0.0", "0e0", "1e2", "100",
    "100.0", "1E+2", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
    "18446744073709551617", "9007199254740992", "9007199254740993", "9007199254740993.0", "9007199254740992.0", "0.1",
    "0.10000000000000001", "0.30000000000000004", "0.3", "1e400", "10e399", "1e-400", "1e308", "1.7976931348623157e308",
    "5e-324", "4.9e-324", "2e-324", "123456789012345678", "1234567890.12345678", "NaN", "1e99999999999999999999",
    '"{\\"a\\":1}"', '"{ \\"a\\": 1}"', '"{\\"a\\":1.0}"', '"[1,[2]]"', '"[1, [2]]"', '"eyJhIjoxfQ=="', '"eyJhIjogMX0"',
    '"a=1&b=2"', '"b=2&a=%31"',
    '""', '"\\u003a"', '":"', '"a:b"', '"\\ud800"', '"é"', '"e\\u0301"', '"\\u00e9"', "[]", "{}",
]  # fmt: skip
"""Notations of numbers that some parsers read wrongly."""

names = st.sampled_from(["a", "b", "c", "a.b", "", "é", "'", '"', "\\", ":", "id", "0"])
scalars = st.one_of(
    st.sampled_from(NUMBERS),
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-9, 9).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda value: f"{value:f}"),
    st.text(max_size=6).map(json.dumps),
)
Tree = Any
"""A scalar's text, a list of trees, or a tuple of (name, tree) pairs."""
trees: st.SearchStrategy[Tree] = st.recursive(
    scalars,
    lambda below: st.one_of(st.lists(below, max_size=5), st.lists(st.tuples(names, below), max_size=5).map(tuple)),
    max_leaves=14,
)


@st.composite
def written(draw: st.DrawFn, tree: Tree) -> bytes:
    """Draw one of the many JSON texts that mean the given tree."""
    compact = draw(st.booleans())
    text = _write(draw, tree, compact=compact)
    return text.encode("utf-8", "surrogatepass")


def _write(draw: st.DrawFn, tree: Tree, *, compact: bool) -> str:
    blank = "" if compact else draw(st.sampled_from(["", " ", "\n  ", "\t"]))
    if isinstance(tree, str):
        return tree
    if isinstance(tree, list):
        elements = cast("list[Tree]", tree)
        return f"[{blank}" + f",{blank}".join(_write(draw, below, compact=compact) for below in elements) + f"{blank}]"
    members = list(tree)
    if len({name for name, _ in members}) == len(members) and draw(st.booleans()):
        members = draw(st.permutations(members))
    said = [f"{_name(draw, name)}:{blank}{_write(draw, below, compact=compact)}" for name, below in members]
    return f"{{{blank}" + f",{blank}".join(said) + f"{blank}}}"


def _name(draw: st.DrawFn, name: str) -> str:
    return json.dumps(name, ensure_ascii=draw(st.booleans()))


@st.composite
def changed(draw: st.DrawFn, tree: Tree) -> Tree:
    """Return the tree with one value changed, or unchanged."""
    if isinstance(tree, str):
        return draw(st.one_of(st.just(tree), scalars))
    if not tree or draw(st.integers(0, 5)) == 0:
        return draw(st.one_of(st.just(tree), scalars))
    at = draw(st.integers(0, len(tree) - 1))
    if isinstance(tree, list):
        choice = draw(st.integers(0, 3))
        if choice == 0:
            return [*tree[:at], *tree[at + 1 :]]
        if choice == 1:
            return [*tree[:at], draw(trees), *tree[at:]]
        return [*tree[:at], draw(changed(tree[at])), *tree[at + 1 :]]
    name, below = tree[at]
    rest = (*tree[:at], *tree[at + 1 :])
    return rest if draw(st.integers(0, 4)) == 0 else (*tree[:at], (name, draw(changed(below))), *tree[at + 1 :])


@st.composite
def pairs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw two texts that are equal, nearly equal, or unrelated."""
    tree = draw(trees)
    kind = draw(st.integers(0, 3))
    other = tree if kind == 0 else draw(trees) if kind == 1 else draw(changed(tree))
    if draw(st.booleans()):  # the comparison parses texts with a common start with other code
        tree, other = ['"both begin alike"', tree], ['"both begin alike"', other]
    return draw(written(tree)), draw(written(other))


def oracle(text: bytes) -> Any:
    """Parse a JSON text into nested tuples. Two tuples are equal exactly if the JSON values are equal."""
    return json.loads(
        text.decode("utf-8", "surrogatepass"),
        object_pairs_hook=_object,
        parse_int=lambda digits: ("integer", Decimal(digits)),
        parse_float=lambda digits: ("number", *_decimal(digits)),
        parse_constant=lambda name: ("constant", name),
    )


def _object(members: list[tuple[str, Any]]) -> Any:
    said: dict[str, list[Any]] = {}
    for name, value in members:
        said.setdefault(name, []).append(_typed(value))
    return ("object", tuple((name, tuple(said[name])) for name in sorted(said)))


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return ("array", tuple(map(_typed, cast("list[Any]", value))))
    if isinstance(value, bool):
        return ("boolean", value)
    return ("string", value) if isinstance(value, str) else value


def same_by_oracle(one: bytes, other: bytes) -> bool:
    """Return whether two texts have the same meaning according to the oracle."""
    return bool(_typed(oracle(one)) == _typed(oracle(other)))


def _decimal(digits: str) -> tuple[int, str, int]:
    """Return a number's sign, digits without outer zeros, and exponent."""
    mantissa, _, exponent = digits.lower().partition("e")
    sign = -1 if mantissa.startswith("-") else 1
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    plain = (whole + fraction).lstrip("0")
    if not plain:
        return 0, "", 0
    stripped = plain.rstrip("0")
    return sign, stripped, int(exponent or "0") - len(fraction) + len(plain) - len(stripped)
