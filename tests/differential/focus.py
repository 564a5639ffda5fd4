"""Draw pairs in which several rules apply to the elements of one array, so that many assignments compete.

Both sides are drawn from the same few elements. The search must find the elements that can be paired or omitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from random import Random

Rules = list[dict[str, Any]]
_ORDERS: Final[tuple[list[str], ...]] = (
    *(["unordered"], ["unordered"], ["unordered", "subset"], ["key"], ["key", "subset"]),
    *([], [], ["subset"], ["schema"], ["unordered", "schema"]),
)
_PLACES: Final[tuple[tuple[str, tuple[str | int, ...]], ...]] = (
    *(("$", ()), ("$", ()), ("$.a", ("a",)), ("$.a.b", ("a", "b")), ("$[*]", (0,))),
)
_MASKS: Final = ("\\d+", "pod-\\d", "[a-z]+")


class Kind(NamedTuple):
    """Elements of one kind, and rules about them. `{}` in a path stands for the array's path."""

    elements: tuple[Any, ...]
    rules: Rules


_KINDS: Final = (
    Kind((0, 1, 2, 3, 4, -1, -3.0), [
        {"tolerance": {"path": "{}[*]", "abs": 1}},
        {"tolerance": {"path": "{}[*]", "rel": 0.5}},
        {"tolerance": {"path": "{}[*]", "rel": 1.5}},
        {"schema": "{}[*]"},
        {"ignore": "{}[1]"},
    ]),
    Kind((0, 1, 2, 2.0, "2", "3.5", None), [
        {"tolerance": {"path": "{}[*]", "abs": 1}},
        {"equivalent": {"path": "{}[*]", "as": ["zero"]}},
        {"equivalent": {"path": "{}[*]", "as": ["number"]}},
    ]),
    Kind((0, 1, None, None, "", []), [
        {"equivalent": {"path": "{}[*]", "as": ["null", "missing"]}},
        {"equivalent": {"path": "{}[*]", "as": ["missing", "empty"]}},
        {"equivalent": {"path": "{}[*]", "as": ["null", "empty"]}},
        {"tolerance": {"path": "{}[*]", "abs": 1}},
    ]),
    Kind(("pod-1", "pod-2", "POD-1", "POD-2", "pod-1 up"), [
        {"equivalent": {"path": "{}[*]", "as": ["case"]}},
        {"mask": {"path": "{}[*]", "pattern": "\\d"}},
        {"mask": {"path": "{}[*]", "pattern": "[a-z]+"}},
    ]),
    Kind(({"a": 1}, {"a": 2}, {"x": 1}, {"x": 2}, {"a": None}, {}, {"a": 1, "x": 1}), [
        {"rename": {"from": "{}[*].a", "to": "{}[*].x"}},
        {"ignore": "{}[*].x"},
        {"equivalent": {"path": "{}[*].a", "as": ["null", "missing"]}},
        {"tolerance": {"path": "{}[*].a", "abs": 1}},
    ]),
    Kind(({"id": 1, "v": 1}, {"id": 2, "v": 1}, {"id": "1", "v": 2}, {"id": "2", "v": 1}, {"v": 1}, {"id": 3}), [
        {"equivalent": {"path": "{}[*].id", "as": ["number"]}},
        {"tolerance": {"path": "{}[*].v", "abs": 1}},
        {"tolerance": {"path": "{}[*].id", "abs": 1}},
        {"equivalent": {"path": "{}[*].id", "as": ["null", "missing"]}},
        {"ignore": "{}[*].v"},
    ]),
    Kind(({"a": None}, {"x": 1}, {"a": 1}, {"x": None}, {"x": 2, "b": 1}), [
        {"rename": {"from": "{}[*].a", "to": "{}[*].x"}},
        {"equivalent": {"path": "{}[*].a", "as": ["null", "missing"]}},
        {"ignore": "{}[*].x"},
    ]),
    Kind(([], [1], [2], [1, 2], [2, 1], [3], [1, 1]), [
        {"unordered": "{}[*]"},
        {"tolerance": {"path": "{}[*][*]", "abs": 1}},
        {"subset": "{}[*]"},
        {"ignore": "{}[*][0]"},
        {"schema": "{}[*]"},
    ]),
    Kind((
        '{"a":1}', '{ "a": 1}', '{"a":2}', '{"A":1}', "[1,2]", "[1, 2]", "[2,1]", "eyJhIjoxfQ==", "eyJhIjogMX0=", "a",
    ), [
        {"mask": {"path": "{}[*]", "pattern": "\\d"}},
        {"mask": {"path": "{}[*]", "pattern": "[a-z]+"}},
        {"equivalent": {"path": "{}[*]", "as": ["case"]}},
        {"tolerance": {"path": "{}[*].{json}.a", "abs": 1}},
        {"ignore": "{}[*].{json}.a"},
        {"unordered": "{}[*].{json}"},
        {"ignore": "{}[*].{json}[0]"},
        {"equivalent": {"path": "{}[*].{json}.a", "as": ["null", "missing"]}},
        {"rename": {"from": "{}[*].{json}.a", "to": "{}[*].{json}.A"}},
        {"schema": "{}[*].{json}"},
    ]),
    Kind((
        {"p": "[1,2]"}, {"p": "[1, 2]"}, {"p": "[2,1]"}, {"p": "[1,3]"}, {"p": "a=1&b=2"}, {"p": "b=2&a=1"}, {"p": 1},
    ), [
        {"unordered": "{}[*].p.{json}"},
        {"tolerance": {"path": "{}[*].p.{json}[*]", "abs": 1}},
        {"ignore": "{}[*].p.{form}.a"},
        {"mask": {"path": "{}[*].p", "pattern": "2"}},
    ]),
    Kind(({"t": []}, {"t": [1]}, {"t": [1, 2]}, {"t": ["1"]}, {"t": [2, 1]}, {}, {"t": None}), [
        {"unordered": "{}[*].t"},
        {"schema": "{}[*].t"},
        {"ignore": "{}[*].t[*]"},
        {"equivalent": {"path": "{}[*].t", "as": ["null", "missing", "empty"]}},
    ]),
)  # fmt: skip


def focused(random: Random) -> tuple[Any, Any, Rules]:
    """Return two values, and rules that apply to the same array."""
    kind = random.choice(_KINDS)
    path, place = random.choice(_PLACES)
    pool = random.sample(kind.elements, random.randint(2, min(4, len(kind.elements))))
    size = random.randint(1, 6)
    one = [random.choice(pool) for _ in range(size)]
    other = [random.choice(pool) for _ in range(random.choice([size, size, size, size - 1, size + 1]))]
    if random.random() < 0.3:
        other = random.sample(one, len(one))
    rules = random.sample(kind.rules, random.randint(1, min(3, len(kind.rules))))
    declared = [_at(rule, path) for rule in rules] + [_about(order, path) for order in random.choice(_ORDERS)]
    if random.random() < 0.1:
        declared.append({"ignore": f"{path}[{random.choice(['0', '-1', '1:', '::2'])}]"})
    return _inside(one, place), _inside(other, place), declared


def _about(kind: str, path: str) -> dict[str, Any]:
    return {"key": {"path": path, "by": ["id"]}} if kind == "key" else {kind: path}


def _at(rule: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a rule with the array's path."""
    return {
        kind: options.replace("{}", path)
        if isinstance(options, str)
        else {name: value.replace("{}", path) if isinstance(value, str) else value for name, value in options.items()}
        for kind, options in rule.items()
    }


def _inside(value: Any, place: tuple[str | int, ...]) -> Any:
    for step in reversed(place):
        value = [value] if isinstance(step, int) else {step: value}
    return value


def focused_lines(random: Random) -> tuple[list[str], list[str], Rules]:
    """Return the lines of two texts, and rules under which a line can pair with several others."""
    pool = random.sample(["pod-1 up", "pod-2 up", "POD-1 UP", "POD-2 UP", "pod-1 UP", "10:01 a", "10:02 A"], 4)
    one = [random.choice(pool) for _ in range(random.randint(1, 6))]
    other = [random.choice(pool) for _ in one]
    masks: Rules = [{"mask": {"path": "text", "pattern": pattern}} for pattern in random.sample(_MASKS, 2)]
    case = {"equivalent": {"path": "text", "as": ["case"]}}
    rules = [*masks[: random.randint(0, 2)], *random.choice([[], [case], [case]]), {"unordered": "text"}]
    return one, other, rules
