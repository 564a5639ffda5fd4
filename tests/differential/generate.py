"""Draw small pairs of responses and rules. Rules often cover the differences, and array elements are often similar."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from tests.differential import documents, rename
from tests.differential.focus import focused, focused_lines
from tests.differential.reference import Response
from tests.differential.vary import varied, varied_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

Rules = list[dict[str, Any]]
MAX_ELEMENTS: Final = 8
MAX_DEPTH: Final = 3

_FIELDS: Final = ("a", "b", "c", "id", "seq", "at")
_NEW: Final = ("x", "y")
_TEXTS: Final = (
    "",
    "a",
    "A",
    "b",
    "1",
    "1.0",
    "2",
    "2.5",
    "pod-1",
    "pod-2",
    "POD-1",
    "at 10:01",
    "at 10:02",
    "10:01 pod-1",
)
_TIMES: Final = (*(f"2026-03-01T10:00:0{second}Z" for second in range(4)), "2026-03-01t10:00:02z")
_NUMBERS: Final = (0, 1, 2, 3, 1.0, 1.5, 2.0, 2.5, 3.25, -1, -2.0, 1772359200, 1772359201, 1772359200500)
_PATTERNS: Final = ("\\d+", "\\d+", "\\d", "pod-\\d+", "\\d\\d:\\d\\d", "[a-z]+", "^a", "-\\d", "[ab]")
_SPELLINGS: Final = {
    "2.5": ("2.50", "25e-1", "2.50000000000000000000000", "2.5"),
    "3.25": ("3.25", "3.25000000000000000000001"),
    "1772359200500": ("1772359200500", "17723592005001234567890"),
}
_CLASSES: Final = (
    *(["case"], ["number"], ["null", "missing"], ["null", "empty"], ["missing", "empty"]),
    *(["null", "missing", "empty"], ["case", "number", "null", "missing", "empty"], ["zero"], ["zero", "number"]),
)
_LINES: Final = ("a", "b", "id,at", "1,10:00", "1,10:01", "2,10:00", "2,10:01", "pod-1 up", "pod-2 up", "POD-1 UP", "")
_FORMS: Final = ("a=1&b=2", "b=2&a=1", "a=x+y&b=", "a=x%20y&b=", "a=1&a=2")
_TEXT_TYPES: Final = ("text/plain", "text/csv", "text/markdown")
_HEADERS: Final = ("content-language", "content-disposition", "x-total-count", "x-shard")
_HEADER_VALUES: Final = ("1", "2", "3", "pod-1", "pod-2", "de", "en")


class Case(NamedTuple):
    """A pair, and the rules under which it is compared."""

    one: Response
    other: Response
    rules: Rules


def draw(random: Random) -> Case:
    """Return one random case."""
    kind = random.random()
    if kind < 0.2:
        case = _focused(random, text=kind < 0.02)
    elif kind < 0.31:
        case = _text(random)
    elif kind < 0.39:
        case = _renamed(random)
    elif kind < 0.45:
        case = _with_documents(random)
    else:
        case = _json(random, lines=kind < 0.48, long=kind > 0.97)
    if random.random() < 0.08:
        case = _with_headers(random, case)
    if random.random() < 0.03:
        case.rules.extend(random.choice([[], [{"ignore": "status"}]]))
        case = case._replace(other=case.other._replace(status=random.choice([200, 201, 404])))
    random.shuffle(case.rules)
    return case


def _focused(random: Random, *, text: bool) -> Case:
    if text:
        lines, lines_other, rules = focused_lines(random)
        return _case("text/plain", "\n".join([*lines, ""]), "\n".join([*lines_other, ""]), rules)
    one, other, rules = focused(random)
    return _case("application/json", json.dumps(one), json.dumps(other), rules)


def _renamed(random: Random) -> Case:
    one = rename.drawn(random)
    rules = [rule_for(random, one) for _ in range(random.choice([0, 0, 1, 2]))]
    other, renames = rename.rearranged(random, varied(random, one, rules))
    rules += [rule_for(random, other) for _ in range(random.choice([0, 0, 1, 2]))]
    other = mutated(random, other, random.choice([0, 0, 0, 1]))
    if random.random() < 0.2:
        one, other = other, one
    return _case("application/json", json.dumps(one), json.dumps(other), rules + renames)


def _with_documents(random: Random) -> Case:
    make = _shape(random, MAX_DEPTH - 1, top=True)
    one = _in_strings(random, _array(random, make)(random) if random.random() < 0.4 else make(random))
    rules = [rule_for(random, one) for _ in range(random.choice([0, 0, 1, 1, 2, 3]))]
    other = mutated(random, varied(random, one, rules), random.choice([0, 0, 0, 1]))
    if random.random() < 0.2:
        one, other = other, one
    return _case("application/json", json.dumps(one), json.dumps(other), rules)


def _in_strings(random: Random, value: Any, share: float = 0.5) -> Any:
    """Put some objects and arrays into strings."""
    inside: Any = value
    if isinstance(value, dict):
        inside = {name: _in_strings(random, below) for name, below in cast("dict[str, Any]", value).items()}
    elif isinstance(value, list):
        inside = [_in_strings(random, below) for below in cast("list[Any]", value)]
    if inside is value or random.random() > share:
        return random.choice(_FORMS) if random.random() < 0.05 else inside
    return documents.write(random, random.choice(["json", "json", "base64"]), inside)


# JSON


def _json(random: Random, *, lines: bool, long: bool) -> Case:
    shape = _array(random, _shape(random, MAX_DEPTH - 1)) if lines else _shape(random, MAX_DEPTH, top=True)
    if long:
        shape = _long_array(random, _shape(random, 1))
    one = shape(random)
    roll = random.random()
    if roll < 0.6:
        rules = [rule_for(random, one) for _ in range(random.choice([1, 1, 2, 2, 2, 3, 3, 4, 5]))]
        other = mutated(random, varied(random, one, rules), random.choice([0, 0, 0, 0, 0, 1, 2]))
    else:
        other = shape(random) if roll < 0.75 else mutated(random, one, random.choice([0, 1, 1, 1, 2, 2, 3, 4]))
        rules = [rule_for(random, one, other) for _ in range(random.choice([0, 1, 1, 2, 2, 2, 3, 3, 4, 5]))]
    if one == other and random.random() < 0.6:
        other = mutated(random, varied(random, one, rules), 1)
    if roll > 0.4 and random.random() < 0.3:
        one, other = other, one
    if lines and isinstance(one, list) and isinstance(other, list):
        return _case("application/x-ndjson", _lines(one), _lines(other), rules)
    if random.random() < 0.04 and isinstance(one, dict) and isinstance(other, dict):
        one, other = _padded(random, one, other)
    written, against = json.dumps(one), json.dumps(other, indent=random.choice([None, None, 1]))
    if random.random() < 0.2:
        written, against = (_spelled(random, text) for text in (written, against))
    return _case("application/json", written, against, rules)


def _padded(random: Random, *values: Any) -> list[dict[str, Any]]:
    """Add an equal member that makes the bodies long, because the product reads long bodies with other code."""
    pad = random.choice(["x" * 2500, [1.5] * 600, {f"m{at}": at for at in range(250)}])
    front = random.random() < 0.5
    return [{"pad": pad, **value} if front else {**value, "pad": pad} for value in values]


def _spelled(random: Random, text: str) -> str:
    """Write some numbers in another form, or with so many digits that a fast parser cannot read them exactly."""
    for number, others in _SPELLINGS.items():
        text = re.sub(rf"(?<![\w\"]){re.escape(number)}(?![\w\"])", random.choice(others), text)
    return text


def _lines(values: Any) -> str:
    return "\n".join(map(json.dumps, values))


def _case(kind: str, one: str, other: str, rules: Rules) -> Case:
    return Case(Response(200, {}, kind, one), Response(200, {}, kind, other), rules)


def _shape(random: Random, depth: int, *, top: bool = False) -> Callable[[Random], Any]:
    """Return a function that makes similar values, so that elements resemble each other."""
    roll = random.random()
    if depth == 0 or (roll < 0.3 and not top):
        return _scalar(random)
    if roll < 0.65:
        return _array(random, _shape(random, depth - 1))
    names = random.sample(_FIELDS, random.randint(1, 3))
    members = {name: _shape(random, depth - 1) for name in names}
    always = random.random() < 0.7
    return lambda random: {name: make(random) for name, make in members.items() if always or random.random() < 0.8}


def _array(random: Random, element: Callable[[Random], Any]) -> Callable[[Random], list[Any]]:
    longest = random.choice([2, 3, 3, 4, 4, 5, MAX_ELEMENTS])
    return lambda random: [element(random) for _ in range(random.randint(0 if random.random() < 0.2 else 1, longest))]


def _long_array(random: Random, element: Callable[[Random], Any]) -> Callable[[Random], list[Any]]:
    longest = random.choice([12, 20, 40])
    return lambda random: [element(random) for _ in range(random.randint(MAX_ELEMENTS, longest))]


def _scalar(random: Random) -> Callable[[Random], Any]:
    pool: tuple[Any, ...] = random.choice([_NUMBERS[:4], _NUMBERS[:9], _NUMBERS, _TEXTS, _TEXTS[7:], _TIMES])
    if random.random() < 0.15:
        pool = (*pool, None, True, False, "", [], {})
    pool = tuple(random.sample(pool, min(len(pool), random.randint(1, 4))))
    return lambda random: random.choice(pool)


def mutated(random: Random, value: Any, times: int) -> Any:
    """Return a copy of the value with some changes."""
    value = json.loads(json.dumps(value))
    for _ in range(times):
        places = list(_containers(value))
        if not places:
            return _changed(random, value)
        _mutate(random, random.choice(places))
    return value


def _containers(value: Any) -> Iterator[Any]:
    below = _children(value)
    if below:
        yield value
    for _, child in below:
        yield from _containers(child)


def _children(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return list(cast("dict[str | int, Any]", value).items())
    return list(enumerate(cast("list[Any]", value))) if isinstance(value, list) else []


def _mutate(random: Random, place: Any) -> None:
    if isinstance(place, dict):
        _mutate_object(random, cast("dict[str, Any]", place))
    else:
        _mutate_array(random, place)


def _mutate_object(random: Random, place: dict[str, Any]) -> None:
    name = random.choice(list(place))
    roll = random.random()
    if roll < 0.6:
        place[name] = _changed(random, place[name])
    elif roll < 0.75:
        del place[name]
    elif roll < 0.9:
        place[random.choice(_NEW)] = place.pop(name)
    else:
        place[random.choice(_FIELDS)] = _changed(random, place[name])


def _mutate_array(random: Random, place: list[Any]) -> None:
    index, against = random.randrange(len(place)), random.randrange(len(place))
    roll = random.random()
    if roll < 0.3:
        place[index], place[against] = place[against], place[index]
    elif roll < 0.4:
        random.shuffle(place)
    elif roll < 0.5:
        place.append(place.pop(0))
    elif roll < 0.6:
        del place[index]
    elif roll < 0.75 and len(place) != MAX_ELEMENTS:
        place.insert(against, _changed(random, json.loads(json.dumps(place[index]))))
    else:
        place[index] = _changed(random, place[index])


def _changed(random: Random, value: Any) -> Any:
    options: list[Any]
    if random.random() < 0.06:
        options = [None, "", [], {}, True, 0]
    elif isinstance(value, bool) or value is None:
        options = [True, False, None, "", 1]
    elif isinstance(value, (int, float)):
        options = [value + 1, value - 1, value + 0.5, float(value), str(value), value + 2, value * 2]
    elif isinstance(value, str):
        options = [*_TEXTS, *_TIMES, value.upper(), value.lower(), value + "1"]
        if (document := documents.read(value)) is not None and random.random() < 0.8:
            inside = json.loads(json.dumps(document[1], default=float))
            options = [
                documents.write(random, document[0], inside if document[0] == "form" else mutated(random, inside, 1))
            ]
    elif isinstance(value, list):
        elements = cast("list[Any]", value)
        options = [[], [*elements, *elements[:1]][:MAX_ELEMENTS], elements[::-1], elements[1:], *elements]
    else:
        options = [
            {name: _changed(random, child) if random.random() < 0.5 else child for name, child in _children(value)}
        ]
    return random.choice(options)


# Rules


def rule_for(random: Random, *values: Any) -> dict[str, Any]:
    """Return a random rule for a place in one of the values."""
    make = random.choice(_RULES)
    places = [found for value in values for found in _places(value, ())]
    fitting = [place for place, value in places if isinstance(value, _FITS.get(make, object))]
    rule = make(random, random.choice(fitting or [()]))
    if random.random() < 0.02:
        rule |= random.choice(
            [{"expires": "2026-01-01"}, {"routes": ["GET /y"]}, {"methods": ["POST"]}, {"routes": ["/x"]}]
        )
    return rule


def _places(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    yield place, value
    if isinstance(value, str) and (document := documents.read(value)) is not None:
        yield from _places(document[1], (*place, "{form}" if document[0] == "form" else "{json}"))
    for step, child in _children(value):
        yield from _places(child, (*place, step))


def _path(random: Random, place: tuple[Any, ...]) -> str:
    written = "$"
    skipped = False
    for index, step in enumerate(place):
        if index < len(place) - 1 and random.random() < 0.08:
            skipped = True
            continue
        dots = ".." if skipped or random.random() < 0.05 else ""
        skipped = False
        if isinstance(step, int):
            written += dots + _index(random, step)
        elif random.random() < 0.06:
            written += random.choice([f"{dots}['{step}','b']", f"{dots or '.'}*", f'{dots}["{step}"]'])
        else:
            written += f"{dots or '.'}{step}"
    return written


def _index(random: Random, index: int) -> str:
    if random.random() < 0.9:
        return "[*]"
    return random.choice([f"[{index}]", "[-1]", "[1:]", "[:2]", "[::2]", f"[0,{index}]"])


def _ignore(random: Random, place: tuple[Any, ...]) -> dict[str, Any]:
    if not place and random.random() < 0.95:
        return {"ignore": "$.c"}
    return {"ignore": _path(random, place)}


def _tolerance(random: Random, place: tuple[Any, ...]) -> dict[str, Any]:
    bound = random.choice(
        [
            {"abs": 1},
            {"abs": 0.5},
            {"abs": 0},
            {"rel": 0.5},
            {"rel": 1.5},
            {"digits": 1},
            {"time": "1s"},
            {"time": "500ms"},
        ]
    )
    return {"tolerance": {"path": _path(random, place), **bound}}


def _mask(random: Random, place: tuple[Any, ...]) -> dict[str, Any]:
    with_ = random.choice([{}, {}, {}, {"with": ""}])
    return {"mask": {"path": _path(random, place), "pattern": random.choice(_PATTERNS), **with_}}


def _equivalent(random: Random, place: tuple[Any, ...]) -> dict[str, Any]:
    return {"equivalent": {"path": _path(random, place), "as": random.choice(_CLASSES)}}


def _rename(random: Random, place: tuple[Any, ...]) -> dict[str, Any]:
    names = [at for at, step in enumerate(place) if isinstance(step, str)]
    if not names:
        return {"unordered": _path(random, place)}
    at = random.choice(names)
    inside = _path(random, place[:at])
    old = place[at] if place[at] not in _NEW else random.choice(_FIELDS)
    return {"rename": {"from": f"{inside}.{old}", "to": f"{inside}.{random.choice(_NEW)}"}}


def _of_arrays(kind: str) -> Callable[[Random, tuple[Any, ...]], dict[str, Any]]:
    def make(random: Random, place: tuple[Any, ...]) -> dict[str, Any]:
        arrays = [place[:at] for at, step in enumerate(place) if isinstance(step, int)]
        path = _path(random, random.choice(arrays) if arrays else place)
        if kind == "key":
            by = random.choice([["id"], ["seq"], ["a"], ["id", "a"], ["$.a.id"], ["$.b.a"]])
            return {"key": {"path": path, "by": by}}
        return {kind: path}

    return make


def _of_trees(kind: str) -> Callable[[Random, tuple[Any, ...]], dict[str, Any]]:
    def make(random: Random, place: tuple[Any, ...]) -> dict[str, Any]:
        return {kind: _path(random, place[: random.randint(0, len(place))])}

    return make


_RULES: Final = (
    _ignore, _ignore, _tolerance, _tolerance, _tolerance, _mask, _mask, _mask, _equivalent, _equivalent, _rename,
    _rename, _of_arrays("unordered"), _of_arrays("unordered"), _of_arrays("key"), _of_arrays("key"),
    _of_trees("schema"), _of_trees("subset"),
)  # fmt: skip
_FITS: Final[dict[Any, Any]] = {
    _tolerance: (int, float, str),
    _mask: str,
    _equivalent: (int, float, str, type(None)),
}


# Text and headers


def _text(random: Random) -> Case:
    pool = random.sample(_LINES, random.randint(2, 6))
    lines = [random.choice(pool) for _ in range(random.randint(1, 6))]
    rules: Rules = [
        random.choice(
            [{"unordered": "text"}, {"unordered": "text"}, {"equivalent": {"path": "text", "as": ["case"]}},
             *[{"mask": {"path": "text", "pattern": pattern}} for pattern in _PATTERNS]]
        ) for _ in range(random.choice([0, 1, 1, 2, 2, 3]))
    ]  # fmt: skip
    other = [varied_line(random, line, rules) for line in lines]
    if {"unordered": "text"} in rules or random.random() < 0.1:
        random.shuffle(other)
    for _ in range(random.choice([0, 0, 0, 1, 1, 2])):
        index, roll = random.randrange(len(other) + 1), random.random()
        other[index : index + (roll < 0.7)] = [random.choice(_LINES)] if roll > 0.2 else []
    if random.random() < 0.02:
        rules.append(random.choice([{"ignore": "text"}, {"ignore": "$"}]))
    ends = [random.choice(["\n", "\n", ""]) for _ in range(2)]
    written = "\n".join(lines) + ends[0]
    against = "\n".join(other) + ends[random.random() < 0.1]
    return _case(random.choice(_TEXT_TYPES), written or "a", against or "a", rules)


def _header(random: Random) -> str:
    """Return a header value, or a list on one or several lines."""
    values = random.choices(_HEADER_VALUES, k=random.choice([1, 1, 1, 2, 2, 3]))
    return random.choice([", ", "\n"]).join(values)


def _with_headers(random: Random, case: Case) -> Case:
    name = random.choice(_HEADERS)
    one, other = ({name: _header(random)} if random.random() < 0.9 else {} for _ in range(2))
    rules = list(case.rules)
    for _ in range(random.choice([0, 1, 1, 2])):
        path = f"header.{random.choice(_HEADERS)}"
        rules.append(
            random.choice(
                [{"ignore": path}, {"mask": {"path": path, "pattern": random.choice(_PATTERNS)}},
                 {"tolerance": {"path": path, "abs": 1}}, {"equivalent": {"path": path, "as": ["case"]}}]
            )
        )  # fmt: skip
    return Case(case.one._replace(headers=one), case.other._replace(headers=other), rules)
