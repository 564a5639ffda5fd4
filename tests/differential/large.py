"""Large pairs in which every element can pair with many others, with results that are known by construction."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.differential.reference import Response

if TYPE_CHECKING:
    from collections.abc import Callable

Rules = list[dict[str, Any]]
Made = tuple[Any, Any, Rules]


class Large(NamedTuple):
    """A pair, its rules, and its result if the work budget suffices."""

    one: Response
    other: Response
    rules: Rules
    result: str


def _near(path: str, bound: float = 1) -> dict[str, Any]:
    return {"tolerance": {"path": path, "abs": bound}}


def _shuffled(values: list[Any]) -> list[Any]:
    return Random(1).sample(values, len(values))


def _shifted_counter(size: int) -> Made:
    events = [{"seq": at, "type": "seen"} for at in range(size + 1)]
    return events[:-1], events[1:], [{"ignore": "$[*].seq"}]


def _shifted_numbers(size: int) -> Made:
    return list(range(size)), list(range(1, size + 1)), [_near("$[*]")]


def _numbers_in_a_chain(size: int) -> Made:
    return list(range(size)), list(range(size, 0, -1)), [{"unordered": "$"}, _near("$[*]")]


def _numbers_between_two(size: int) -> Made:
    half = size // 2
    return [0] * half + [2] * half, [1] * (2 * half), [{"unordered": "$"}, _near("$[*]")]


def _one_without_a_partner(size: int) -> Made:
    return [0] * (size - 1) + [9], [1] * size, [{"unordered": "$"}, _near("$[*]")]


def _one_too_many_for_its_partners(size: int) -> Made:
    half = size // 2
    one = [0] * (half + 1) + [2] * (half - 1)
    return _shuffled(one), _shuffled([-1] * half + [3] * half), [{"unordered": "$"}, _near("$[*]")]


def _two_numbers_near(size: int) -> Made:
    random = Random(2)
    one = [{"a": random.randint(0, 40), "b": random.randint(0, 40)} for _ in range(size)]
    other = [{name: value + random.choice([-1, 0, 1]) for name, value in point.items()} for point in one]
    return one, _shuffled(other), [{"unordered": "$"}, _near("$[*].a"), _near("$[*].b")]


def _subsequence_within_tolerance(size: int) -> Made:
    random = Random(3)
    one = [random.randint(0, 6) for _ in range(size)]
    other = [found for value in one for found in [random.randint(0, 6)] * random.randint(0, 1) + [value + 1]]
    return one, other, [{"subset": "$"}, _near("$[*]")]


def _alternating(size: int) -> Made:
    one, other = ([{"k": (at + first) % 2, "seq": at} for at in range(size)] for first in (0, 1))
    return one, other, [{"ignore": "$[*].seq"}]


def _inner_sets(size: int) -> Made:
    tags = [[at % 3, at % 5, at % 7, 1, 2, 3] for at in range(size // 4)]
    one = [{"at": at, "tags": found} for at, found in enumerate(tags)]
    other = [{"at": -1, "tags": found[::-1]} for found in reversed(tags)]
    return one, other, [{"unordered": "$"}, {"unordered": "$[*].tags"}, {"ignore": "$[*].at"}]


def _sets_of_sets(size: int) -> Made:
    def tree(depth: int, *, turned: bool) -> Any:
        if depth == 0:
            return 1
        below = [tree(depth - 1, turned=turned), [], 0, *[[tree(depth - 1, turned=turned)]]]
        return below[::-1] if turned else below

    depth = size.bit_length() - 4
    return tree(depth, turned=False), tree(depth, turned=True), [{"unordered": "$"}, {"unordered": "$..*"}]


def _keys_of_another_kind(size: int) -> Made:
    one = [{"id": at, "v": at % 7} for at in range(size)]
    other = _shuffled([{"id": str(at), "v": at % 7} for at in range(size)])
    return one, other, [{"key": {"path": "$", "by": ["id"]}}, {"equivalent": {"path": "$[*].id", "as": ["number"]}}]


def _keys_behind_one_mask(size: int) -> Made:
    one = [{"id": f"pod-{at}", "v": at} for at in range(size)]
    other = [{"id": f"pod-{at + size}", "v": at} for at in reversed(range(size))]
    return one, other, [{"key": {"path": "$", "by": ["id"]}}, {"mask": {"path": "$[*].id", "pattern": "pod-\\d+"}}]


def _keys_within_tolerance(size: int) -> Made:
    one = [{"id": at} for at in range(size)]
    return (
        one,
        [{"id": at + 1} for at in reversed(range(size))],
        [{"key": {"path": "$", "by": ["id"]}}, _near("$[*].id")],
    )


def _renamed_and_moved(size: int) -> Made:
    one = [{"cost": at % 50, "v": at} for at in range(size)]
    other = [{"price": at % 50, "v": at} for at in reversed(range(size))]
    return one, other, [{"unordered": "$"}, {"rename": {"from": "$[*].cost", "to": "$[*].price"}}]


def _nulls_left_out(size: int) -> Made:
    one = [None if at % 2 else at for at in range(size)]
    return one, one[::2], [{"equivalent": {"path": "$[*]", "as": ["null", "missing"]}}]


def _upper_case_moved(size: int) -> Made:
    one = [f"name {at % 90}" for at in range(size)]
    return (
        one,
        [text.upper() for text in reversed(one)],
        [
            {"unordered": "$"},
            {"equivalent": {"path": "$[*]", "as": ["case"]}},
        ],
    )


def _shapes_of_many_kinds(size: int) -> Made:
    one = [{f"m{bit}": [at] for bit in range(10) if at >> bit & 1} for at in range(size)]
    return one, [{name: [0, 1] for name in element} for element in reversed(one)], [{"schema": "$"}]


def _deep_shapes(_size: int) -> Made:
    def nested(value: int) -> Any:
        found: Any = value
        for _ in range(25):
            found = [found]
        return found

    return nested(1), nested(5), [{"schema": "$"}]


def _changed_type_at_the_end(size: int) -> Made:
    one: list[Any] = [{"items": [{"qty": 1}] * (at % 3)} for at in range(size)]
    return one, [*one[1:], {"items": [{"qty": "1"}]}], [{"schema": "$"}]


MAKERS: Final[tuple[tuple[Callable[[int], Made], str], ...]] = (
    (_shifted_counter, "ignored"),
    (_shifted_numbers, "ignored"),
    (_numbers_in_a_chain, "ignored"),
    (_numbers_between_two, "ignored"),
    (_one_without_a_partner, "mismatch"),
    (_one_too_many_for_its_partners, "mismatch"),
    (_two_numbers_near, "ignored"),
    (_subsequence_within_tolerance, "ignored"),
    (_alternating, "mismatch"),
    (_inner_sets, "ignored"),
    (_sets_of_sets, "ignored"),
    (_keys_of_another_kind, "ignored"),
    (_keys_behind_one_mask, "ignored"),
    (_keys_within_tolerance, "ignored"),
    (_renamed_and_moved, "ignored"),
    (_nulls_left_out, "ignored"),
    (_upper_case_moved, "ignored"),
    (_shapes_of_many_kinds, "ignored"),
    (_deep_shapes, "ignored"),
    (_changed_type_at_the_end, "mismatch"),
)
TEXTS: Final = ("masked lines in another order", "masked lines and one inserted")


def json_case(maker: Callable[[int], Made], result: str, size: int) -> Large:
    """Return a pair of JSON bodies."""
    one, other, rules = maker(size)
    left, right = (Response(200, {}, "application/json", json.dumps(side)) for side in (one, other))
    return Large(left, right, rules, result)


def text_case(name: str, size: int) -> Large:
    """Return a pair of texts whose lines are equal under a mask."""
    one = [f"{at % 9},10:{at % 60:02}" for at in range(size)]
    other = [f"{at % 9},11:{at % 50:02}" for at in range(size)]
    rules: Rules = [{"mask": {"path": "text", "pattern": "\\d\\d:\\d\\d"}}]
    if name == TEXTS[0]:
        other, rules = _shuffled(other), [*rules, {"unordered": "text"}]
    else:
        other.insert(size // 2, "new")
    left, right = (Response(200, {}, "text/csv", "\n".join([*lines, ""])) for lines in (one, other))
    return Large(left, right, rules, "ignored" if name == TEXTS[0] else "mismatch")
