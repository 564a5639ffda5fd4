"""Read and change members of the reference's objects."""

from __future__ import annotations

import re

from tests.differential.value_rules import MISSING, Value


def member(value: Value, name: str) -> Value:
    """Return a member of an object."""
    return next((found for known, found in value[1] if known == name), MISSING) if value[0] == "object" else MISSING


def names_of(one: Value, other: Value) -> list[str]:
    """Return the member names of two objects."""
    return sorted({name for value in (one, other) for name, _ in value[1]})


def at(value: Value, names: tuple[str, ...]) -> Value:
    """Return the value below another one at a path of names."""
    for name in names:
        value = member(value, name)
    return value


def put(value: Value, names: tuple[str, ...], placed: Value) -> Value:
    """Return a copy of an object with the value at a path of names replaced or removed."""
    below = placed if len(names) == 1 else put(member(value, names[0]), names[1:], placed)
    members = dict(value[1]) if value[0] == "object" else {}
    members[names[0]] = below
    return "object", tuple(sorted((name, found) for name, found in members.items() if found is not MISSING))


def styled(name: str, style: str) -> str:
    """Return a name of the generator, such as `a_b` or `aB`, in a style."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().split("_")
    return "_".join(words) if style == "snake_case" else words[0] + "".join(word.capitalize() for word in words[1:])
