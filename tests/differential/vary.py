"""Change a value only where rules cover the difference, so most pairs are covered and many pairings compete."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

from tests.differential import documents, paths

if TYPE_CHECKING:
    from random import Random

    from tests.differential.paths import Place, Query

LONG = 9
Rule = tuple["Query", str, dict[str, Any]]


def varied(random: Random, value: Any, rules: list[dict[str, Any]]) -> Any:
    """Return a copy of `value` with differences that the rules cover."""
    found: list[Rule] = []
    for item in rules:
        kind = next(iter(item))
        options = item[kind] if isinstance(item[kind], dict) else {"path": item[kind]}
        path = str(options.get("path", options.get("from")))
        if path.startswith("$"):
            query = paths.parse(path)
            found.append((query[:-1] if kind == "rename" else query, kind, options))
    return _Variation(random, found).of(json.loads(json.dumps(value)), (), free=False)


def varied_line(random: Random, line: str, rules: list[dict[str, Any]]) -> str:
    """Return a copy of a text line with differences that masks or a rule about case cover."""
    for item in rules:
        if "mask" in item:
            line = re.sub(item["mask"]["pattern"], lambda found: _another(random, found[0]), line, flags=re.ASCII)
        if "equivalent" in item and random.random() < 0.5:
            line = line.swapcase()
    return line


class _Variation:
    """Random changes to values under rules."""

    def __init__(self, random: Random, rules: list[Rule]) -> None:
        self._random = random
        self._rules = rules

    def of(self, value: Any, place: Place, *, free: bool) -> Any:
        here = [(kind, options) for query, kind, options in self._rules if paths.selects(query, place)]
        self._random.shuffle(here)
        for kind, options in here:
            if kind == "ignore" and self._random.random() < 0.7:
                return self._random.choice([value, 0, 1, 2, "a", None, [], [1]])
            if self._random.random() < 0.8:
                value = self._leaf(kind, options, value)
        free = free or any(kind == "schema" for kind, _ in here)
        document = documents.read(value) if isinstance(value, str) else None
        if document and document[0] != "form":
            inside = self.of(json.loads(json.dumps(document[1], default=float)), (*place, "{json}"), free=free)
            value = documents.write(self._random, document[0], inside)
        elif document and document[0] == "form":
            value = documents.write(self._random, "form", document[1])
        elif isinstance(value, list):
            elements = cast("list[Any]", value)
            value = [self.of(element, (*place, (i, len(elements))), free=free) for i, element in enumerate(elements)]
        elif isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            value = {name: self.of(member, (*place, name), free=free) for name, member in members.items()}
        elif free and isinstance(value, (int, str)) and not isinstance(value, bool):
            value = self._random.randint(0, 3) if isinstance(value, int) else self._random.choice(["a", "b", "pod-1"])
        for kind, options in here:
            value = self._container(kind, options, value)
        return value

    def _leaf(self, kind: str, options: dict[str, Any], value: Any) -> Any:
        random = self._random
        if kind == "tolerance":
            return self._near(options, value)
        if kind == "mask" and isinstance(value, str):
            return re.sub(options["pattern"], lambda found: _another(random, found[0]), value, flags=re.ASCII)
        if kind == "equivalent":
            return self._equivalent(options["as"], value)
        return value

    def _near(self, options: dict[str, Any], value: Any) -> Any:
        sign = self._random.choice([-1, 0, 1])
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            step = options.get("abs", 1 if "time" in options else value * options.get("rel", 0.1))
            return type(value)(value + sign * step)
        if isinstance(value, str) and value.isdigit() and "abs" in options:
            return str(int(value) + sign * options["abs"])
        if isinstance(value, str) and value.endswith("Z") and "time" in options:
            return f"{value[:-2]}{(int(value[-2]) + sign) % 10}Z"
        return value

    def _omits_zero(self) -> bool:
        return any(kind == "equivalent" and "zero" in options["as"] for _, kind, options in self._rules)

    def _equivalent(self, classes: list[str], value: Any) -> Any:
        random = self._random
        if value in (None, "", [], {}) and not isinstance(value, (bool, int, float)):
            named: list[Any] = [None] * ("null" in classes) + ["", []] * ("empty" in classes)
            return random.choice(named or [value])
        if isinstance(value, str) and "case" in classes:
            return value.swapcase()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and "number" in classes:
            return random.choice([str(value), value])
        return value

    def _container(self, kind: str, options: dict[str, Any], value: Any) -> Any:
        random = self._random
        if isinstance(value, list):
            elements = cast("list[Any]", value)
            if kind in {"unordered", "key"}:
                random.shuffle(elements)
            if kind == "schema" and elements and random.random() < 0.5:
                elements.insert(random.randrange(len(elements)), random.choice(elements))
            if kind == "subset" and random.random() < 0.5:
                elements.insert(random.randint(0, len(elements)), random.choice([*elements, 1]))
            return elements if len(elements) > LONG else elements[:8]
        if isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            old, new = (str(options.get(key, "")).rpartition(".")[2] for key in ("from", "to"))
            if kind == "rename" and old in members and random.random() < 0.8:
                members[new] = members.pop(old)
            if kind == "subset" and random.random() < 0.5:
                members["x"] = 1
            if random.random() < 0.5:  # a rule about `zero` may cover some of the members that are left out
                members = {name: member for name, member in members.items() if member or not self._omits_zero()}
            return members
        return value


def _another(random: Random, text: str) -> str:
    """Return a text with other digits and some other letters."""
    return "".join(
        str(random.randint(0, 3)) if char.isdigit() else random.choice("aab") if char in "ab" else char for char in text
    )
