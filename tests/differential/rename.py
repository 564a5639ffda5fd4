"""Rename, move and wrap members of a value, and return the `rename` rules that cover these changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from tests.differential.objects import styled

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Rules = list[dict[str, Any]]
Change = tuple[Any, Rules]
_NAMES: Final = ("a_b", "c_d", "b", "id", "e")
_NEW: Final = ("x", "y", "aB")
_STYLES: Final = ("camelCase", "snake_case")


def drawn(random: Random, depth: int = 3) -> Any:
    """Return a value with names that can be renamed."""
    if depth == 0 or (depth < 3 and random.random() < 0.3):
        return random.choice([0, 1, 2, 3, "1", "", None, 1.5])
    if depth < 3 and random.random() < 0.3:
        return [drawn(random, depth - 1) for _ in range(random.randint(1, 3))]
    return {name: drawn(random, depth - 1) for name in random.sample(_NAMES, random.randint(1, 3))}


def rearranged(random: Random, value: Any) -> Change:
    """Return another form of a value, and rules that cover the changes."""
    value = json.loads(json.dumps(value))
    rules: Rules = []
    for _ in range(random.choice([1, 1, 2, 2, 3])):
        value, more = random.choice(_CHANGES)(random, value)
        rules += more
    return value, rules


def _objects(value: Any, path: str = "$") -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        found.append((path, members))
        for name, member in members.items():
            found += _objects(member, f"{path}.{name}")
    elif isinstance(value, list):
        for element in cast("list[Any]", value):
            found += _objects(element, f"{path}[*]")
    return found


def _rule(start: str, to: str) -> Rules:
    return [{"rename": {"from": start, "to": to}}]


def _one_name(random: Random, value: Any) -> Change:
    objects = _objects(value)
    if not objects:
        return value, []
    path, chosen = random.choice(objects)
    if not chosen:
        return value, []
    old = random.choice(list(chosen))
    new = random.choice([name for name in _NEW if name != old])
    anywhere = random.random() < 0.4
    for here, each in objects:
        if (anywhere or here == path) and old in each and random.random() < 0.9:
            each[new] = each.pop(old)
    return value, _rule(f"$..{old}", f"$..{new}") if anywhere else _rule(f"{path}.{old}", f"{path}.{new}")


def _style(random: Random, value: Any) -> Change:
    style = random.choice(_STYLES)
    for _, each in _objects(value):
        for name in list(each):
            if random.random() < 0.9:
                each[styled(name, style)] = each.pop(name)
    return value, _rule(random.choice(["$..*", "$..*", "$.*", "$.b..*"]), style)


def _move(random: Random, value: Any) -> Change:
    """Move members into a nested object, or out of it."""
    objects = [(path, each) for path, each in _objects(value) if each]
    if not objects:
        return value, []
    path, chosen = random.choice(objects)
    rules: Rules = []
    for name in random.sample(list(chosen), random.randint(1, min(2, len(chosen)))):
        member = chosen[name]
        if name in _NEW:
            continue
        if isinstance(member, dict) and member and random.random() < 0.7:
            inner = random.choice(list(cast("dict[str, Any]", member)))
            rules += _rule(f"{path}.{name}.{inner}", f"{path}.y")
            chosen["y"] = cast("dict[str, Any]", member).pop(inner)
            if not member and random.random() < 0.7:
                del chosen[name]
        elif isinstance(chosen.setdefault("x", {}), dict):
            rules += _rule(f"{path}.{name}", f"{path}.x.{name}")
            chosen["x"][name] = chosen.pop(name)
    return value, rules


def _envelope(random: Random, value: Any) -> Change:
    """Put a value into an envelope, or take it out."""
    holders = [(path, each) for path, each in _objects(value) if each]
    if not holders or random.random() < 0.4:
        return _whole(random, value)
    path, chosen = random.choice(holders)
    name = random.choice(list(chosen))
    member = chosen[name]
    if isinstance(member, dict) and member and random.random() < 0.5:
        members = cast("dict[str, Any]", member)
        inner = random.choice(list(members))
        chosen[name] = members[inner]
        return value, _rule(f"{path}.{name}.{inner}", f"{path}.{name}")
    deep = random.random() < 0.3
    chosen[name] = {"x": {"y": member} if deep else member, **random.choice([{}, {}, {"n": None}])}
    return value, _rule(f"{path}.{name}", f"{path}.{name}.x" + (".y" if deep else ""))


def _whole(random: Random, value: Any) -> Change:
    if isinstance(value, dict) and value and random.random() < 0.4:
        members = cast("dict[str, Any]", value)
        name = random.choice(list(members))
        return members[name], _rule(f"$.{name}", "$")
    around: dict[str, Any] = {"x": value, **random.choice([{}, {}, {"n": 1}])}
    return around, _rule("$", "$.x")


_CHANGES: Final[tuple[Callable[[Random, Any], Change], ...]] = (_one_name, _one_name, _style, _move, _envelope)
