"""Compare two responses under rules by exhaustive search, as docs/comparing.md and docs/rules.md describe.

The reference imports nothing from shadowdiff, is slow, and is written to be read. A pair is `match` if the compared
values are exactly equal. It is `ignored` if rules cover every difference under some assignment, otherwise `mismatch`:

- Values are compared exactly. Member order is ignored; 1, 1.0, true and "1" differ; null, missing and empty differ.
- The path of a difference is its path in v1. An added element has v1's path of the array and v2's index.
- In an assignment that keeps the order (any array), elements are paired in order. An element without a partner is
  removed or added. `ignore` at its path or above covers it, and so does `equivalent` with `missing`. A `subset`
  strictly above an added element covers it. Rules for paths below the element do not cover it.
- A one-to-one assignment (`unordered`, `key`) is the same in any order. `key` allows what `unordered` allows: elements
  that are completely covered have keys that are equal or covered, elements without the key pair with each other,
  and elements with different keys are not covered anyway. A rule can only add assignments, so rules can still cover
  an array under `key` or `unordered` in order.
- `tolerance`, `mask` and `equivalent` apply to the path they name. One rule that covers the difference is enough.
- `rename` is optional. If v1 has `from` without `to`, and v2 has `to` without `from`, the two values can be compared
  with each other, under the rules of both paths. The rest of both objects is compared without them. If a renamed value
  was in an object that the other side lacks, that object is compared with an empty one. A style of names is a rename
  of each member whose name v2 has in the style. If one of the two paths is the rule's own place, the other side has an
  envelope. The value inside has no second envelope of the same place, and no other rename of that place is used.
- Two strings that hold documents of one kind (JSON objects or arrays, the same in base64, forms) are compared inside,
  as if the document were the member `{json}` or `{form}` of the string.
- `schema` covers scalars of one type at and below its path. At the path itself, `schema` also compares shapes. The
  values at one path, without indexes, form a pool on each side. Each value needs a partner of its shape in the other
  pool, at every depth. A missing member is one more value of the pool. An empty array has the same shape as any other
  array. An array without elements is only neutral if all arrays of its pool are empty, so a changed type is never
  hidden. A value that the other side can lack, and each value inside it, needs no partner but can be one.
- Text is compared line by line (with line ends) in order, and under `unordered: text` in any order. One rule, or all
  masks applied in the listed order, can cover a line pair. A rule that covers the whole text covers all of it.
  If neither text ends with a line end, their last lines can change places with others.

The docs do not define masks of one path that cover a difference only together. This module has two references for such
masks: `strict` covers what must be covered, and the other covers what can be. The comparison must lie between the two.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from itertools import compress, product
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tests.differential import documents, paths, value_rules
from tests.differential.assignments import in_order, one_to_one
from tests.differential.objects import at, member, names_of, put, styled
from tests.differential.value_rules import LEAVES, MISSING, SCALARS, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.differential.paths import Place, Query

Declaration = dict[str, Any]
ROUTE = "GET /x"
NOW = "2026-06-01"
_TAGS = {type(None): "null", bool: "boolean", int: "integer", Decimal: "number", str: "string"}


class Response(NamedTuple):
    """One side's response as sent; `headers` has the compared ones without Content-Type, one entry per header line."""

    status: int
    headers: dict[str, str]
    type: str
    body: str


class Rule(NamedTuple):
    """One declaration; `query` is the path of a rule for the body."""

    kind: str
    options: dict[str, Any]
    where: str
    query: Query | None
    old: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    style: str = ""


class Reading(NamedTuple):
    """Renamed values with their places, and the rest of both values."""

    pairs: list[tuple[Value, Value, Place]]
    one: Value
    other: Value


class Pooled(NamedTuple):
    """A value in a pool.

    alone: a rule allows that the other side has no partner for this value. loose: an outer value is alone.
    """

    value: Value
    place: Place
    loose: bool = False
    alone: bool = False

    @property
    def needs_a_partner(self) -> bool:
        """Whether the other side's pool must contain a value of the same shape."""
        return not self.loose and not self.alone


Pool = list[Pooled]


def expected(one: Response, other: Response, rules: Sequence[Declaration], *, strict: bool) -> str:
    """Return `match`, `ignored` or `mismatch`."""
    reference = Reference(rules, strict=strict)
    parts = [
        _status(one, other, reference),
        *(
            reference.field(name, one.headers.get(name), other.headers.get(name))
            for name in {**one.headers, **other.headers}
        ),
        _body(one, other, reference),
    ]
    if "mismatch" in parts:
        return "mismatch"
    return "ignored" if "ignored" in parts else "match"


def _status(one: Response, other: Response, reference: Reference) -> str:
    return _result(one.status == other.status, lambda: reference.names("ignore", "status"))


def _body(one: Response, other: Response, reference: Reference) -> str:
    if one.type.startswith("text/"):
        return _result(one.body == other.body, lambda: reference.text(one.body, other.body))
    left, right = read(one), read(other)
    return _result(left == right, lambda: reference.covers(left, right, ()))


def _result(equal: bool, covered: Callable[[], bool]) -> str:
    return "match" if equal else "ignored" if covered() else "mismatch"


def read(response: Response) -> Value:
    """Return the value of a JSON body, or JSON lines as an array."""
    if "ndjson" in response.type:
        return "array", tuple(freeze(_parse(line)) for line in response.body.splitlines() if line.strip())
    return freeze(_parse(response.body))


def _parse(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def freeze(value: Any) -> Value:
    """Return a parsed value that is tagged with its type, so that values compare exactly."""
    match value:
        case list():
            return "array", tuple(map(freeze, cast("list[Any]", value)))
        case dict():
            return "object", tuple(
                sorted((name, freeze(below)) for name, below in cast("dict[str, Any]", value).items())
            )
        case _:
            return _TAGS[type(value)], value


class Reference:
    """The rules that apply, and the exhaustive search under them."""

    def __init__(self, rules: Sequence[Declaration], *, strict: bool) -> None:
        self._rules = [_rule(item) for item in rules if _holds(item)]
        self._strict = strict
        self._by_index = any(rule.query and paths.by_index(rule.query) for rule in self._rules)
        self._known: dict[tuple[Value, Value, Place], bool] = {}
        self._selected: dict[Place, list[Rule]] = {}

    # The rules that apply at a path

    def at(self, place: Place) -> list[Rule]:
        """Return the rules attached to exactly this path."""
        if place not in self._selected:
            self._selected[place] = [
                rule
                for rule in self._rules
                if rule.query is not None and any(paths.selects(rule.query, each) for each in paths.spelled(place))
            ]
        return self._selected[place]

    def above(self, kind: str, place: Place, *, strictly: bool = False) -> bool:
        """Return whether a rule of this kind selects the path or one above it."""
        return any(
            rule.kind == kind and rule.query is not None and paths.selects(rule.query, each[:end])
            for each in paths.spelled(place)
            for end in range(len(each) + (not strictly))
            for rule in self._rules
        )

    def names(self, kind: str, where: str) -> bool:
        """Return whether a rule of this kind names a place outside the body's value."""
        return any(rule.kind == kind and rule.where == where for rule in self._rules)

    def _leaf(self, rules: Sequence[Rule], one: Value, other: Value) -> bool:
        found = [(rule.kind, rule.options) for rule in rules if rule.kind in LEAVES]
        return any(value_rules.covers(*rule, one, other) for rule in found) or (
            not self._strict and value_rules.covers_together(found, one, other)
        )

    # Headers and text

    def field(self, name: str, one: str | None, other: str | None) -> str:
        """Return the result for one header."""
        rules = [rule for rule in self._rules if rule.where == f"header.{name}"]
        left, right = _members_of(one), _members_of(other)
        return _result(
            left == right,
            lambda: (
                self._field(rules, _joined(left), _joined(right))
                or (
                    left is not None
                    and right is not None
                    and len(left) == len(right)
                    and all(
                        mine == theirs or self._field(rules, mine, theirs)
                        for mine, theirs in zip(left, right, strict=True)
                    )
                )
            ),
        )

    def _field(self, rules: list[Rule], one: str | None, other: str | None) -> bool:
        left, right = (MISSING if text is None else ("string", text) for text in (one, other))
        return any(rule.kind == "ignore" for rule in rules) or self._leaf(rules, left, right)

    def text(self, one: str, other: str) -> bool:
        """Return whether rules cover all differences of two texts."""
        rules = [rule for rule in self._rules if rule.where == "text"]
        whole = self.names("ignore", "$") or self.names("ignore", "text")
        if whole or self._leaf(rules, ("string", one), ("string", other)):
            return True
        masks = [rule.options for rule in rules if rule.kind == "mask"]
        lines, lines_other = one.splitlines(keepends=True), other.splitlines(keepends=True)

        def pair(index: int, against: int) -> bool:
            left, right = lines[index], lines_other[against]
            return (
                left == right
                or self._leaf(rules, ("string", left), ("string", right))
                or value_rules.hide(masks, left) == value_rules.hide(masks, right)
            )

        if len(lines) != len(lines_other):
            return False
        if all(pair(index, index) for index in range(len(lines))):
            return True
        if not one.endswith("\n") and not other.endswith("\n"):
            lines[-1] += "\n"
            lines_other[-1] += "\n"
        sizes = len(lines), len(lines)
        return self.names("unordered", "text") and one_to_one(sizes, pair, _never, _never)

    # Values

    def covers(self, one: Value, other: Value, place: Place) -> bool:
        """Return whether two values are equal or rules cover every difference between them."""
        if one == other:
            return True
        known = (one, other, place if self._by_index else _without_indexes(place))
        if known not in self._known:
            self._known[known] = self._any_way(one, other, place)
        return self._known[known]

    def _any_way(self, one: Value, other: Value, place: Place) -> bool:
        here = self.at(place)
        if any(rule.kind == "ignore" for rule in here) or self._leaf(here, one, other):
            return True
        if one is MISSING or other is MISSING:
            return one is MISSING and self.above("subset", place, strictly=True)
        if one[0] == other[0] and one[0] in SCALARS:
            return self.above("schema", place) or self._documents(one, other, place)
        if any(self._reads(reading, place) for reading in self._readings(one, other, place)):
            return True
        return (
            one[0] == other[0]
            and any(rule.kind == "schema" for rule in here)
            and self._shapes([Pooled(one, place)], [Pooled(other, place)])
        )

    def _documents(self, one: Value, other: Value, place: Place) -> bool:
        if one[0] != "string":
            return False
        left, right = documents.read(one[1]), documents.read(other[1])
        if left is None or right is None or left[0] != right[0]:
            return False
        step = "{form}" if left[0] == "form" else "{json}"
        return self.covers(freeze(left[1]), freeze(right[1]), (*place, step))

    def _reads(self, reading: Reading, place: Place) -> bool:
        one, other = reading.one, reading.other
        if one[0] != other[0] or one[0] in SCALARS:
            return False
        return all(self.covers(*pair) for pair in reading.pairs) and (
            self._members(one, other, place) if one[0] == "object" else self._arrays(one, other, place)
        )

    def _members(self, one: Value, other: Value, place: Place) -> bool:
        return all(self.covers(member(one, name), member(other, name), (*place, name)) for name in names_of(one, other))

    def _readings(self, one: Value, other: Value, place: Place) -> Iterator[Reading]:
        """Yield the values unchanged, and under each set of renames."""
        envelope = bool(place) and isinstance(place[-1], paths.Both) and not (place[-1].old and place[-1].new)
        inside = (
            [rule for rule in self.at(place[:-1]) if not (rule.style or (rule.old and rule.new))] if envelope else []
        )
        found = [
            each
            for rule in self.at(place)
            if rule.kind == "rename"
            for each in _in_names(rule, one, other)
            if _is_renamed(one, other, each) and rule not in inside
        ]
        for rule in found:
            if not rule.old or not rule.new:
                yield _read(one, other, [rule], place)
        found = sorted(
            (each for each in found if each.old and each.new), key=lambda each: (-len(each.old), -len(each.new))
        )
        for chosen in product((False, True), repeat=len(found)):
            yield _read(one, other, list(compress(found, chosen)), place)

    def _arrays(self, one: Value, other: Value, place: Place) -> bool:
        left, right = one[1], other[1]
        size, size_other = len(left), len(right)

        @cache
        def pair(index: int, against: int) -> bool:
            return self.covers(left[index], right[against], (*place, (index, size)))

        @cache
        def removed(index: int) -> bool:
            return self.covers(left[index], MISSING, (*place, (index, size)))

        @cache
        def added(index: int) -> bool:
            return self.covers(MISSING, right[index], (*place, (index, size_other)))

        if in_order((size, size_other), pair, removed, added):
            return True
        free = any(rule.kind in {"unordered", "key"} for rule in self.at(place))
        return free and one_to_one((size, size_other), pair, removed, added)

    # Schema

    def _shapes(self, one: Pool, other: Pool) -> bool:
        """Return whether the contents of two pools of values have the same shapes."""
        return self._pools(_elements(one), _elements(other)) and any(
            all(
                self._pools(_members(one, name), _members(version, name))
                for name in {
                    name for entry in [*one, *version] if entry.value[0] == "object" for name, _ in entry.value[1]
                }
            )
            for version in self._renamed_pools(one, other)
        )

    def _renamed_pools(self, one: Pool, other: Pool) -> Iterator[Pool]:
        yield other
        renames = [rule for entry in one for rule in self.at(entry.place) if rule.kind == "rename"]
        for rule in {rule.where: rule for rule in renames}.values():
            yield [
                entry._replace(value=_under_old_names(entry.value, rule, [known.value for known in one]))
                if entry.value[0] == "object" and any(known.where == rule.where for known in self.at(entry.place))
                else entry
                for entry in other
            ]

    def _pools(self, one: Pool, other: Pool) -> bool:
        if all(entry.loose for entry in one) or all(entry.loose for entry in other):
            return True
        if len(one) == len(other) == 1 and self.covers(one[0].value, other[0].value, one[0].place):
            return True
        one = [entry._replace(alone=self._may_be_alone(entry.value, MISSING, entry.place)) for entry in one]
        other = [entry._replace(alone=self._may_be_alone(MISSING, entry.value, entry.place)) for entry in other]
        return (
            all(any(self._alike(mine, theirs) for theirs in other) for mine in one if mine.needs_a_partner)
            and all(any(self._alike(mine, theirs) for mine in one) for theirs in other if theirs.needs_a_partner)
            and self._shapes(one, other)
        )

    def _may_be_alone(self, one: Value, other: Value, place: Place) -> bool:
        return one != other and self.covers(one, other, place)

    def _alike(self, mine: Pooled, theirs: Pooled) -> bool:
        return self._alone_alike(mine.value, theirs.value, mine.place)

    def _alone_alike(self, one: Value, other: Value, place: Place) -> bool:
        """Return whether two values alone have the same shape, without the other values of their pools."""
        if self.covers(one, other, place):
            return True
        if one[0] != other[0] or one[0] in SCALARS:
            return one[0] == other[0] != "missing"
        if one[0] == "object":
            return any(
                reading.one[0] == reading.other[0] == "object"
                and all(self._alone_alike(*pair) for pair in reading.pairs)
                and all(
                    self._alone_alike(member(reading.one, name), member(reading.other, name), (*place, name))
                    for name in names_of(reading.one, reading.other)
                )
                for reading in self._readings(one, other, place)
            )
        left, right = _elements([Pooled(one, place)]), _elements([Pooled(other, place)])
        if not left or not right:
            return True
        return all(any(self._alike(mine, theirs) for theirs in right) for mine in left) and all(
            any(self._alike(mine, theirs) for mine in left) for theirs in right
        )


def _members_of(field: str | None) -> list[str] | None:
    """Return the members of a list header, which may be on several lines."""
    return None if field is None else [member.strip() for line in field.split("\n") for member in line.split(",")]


def _joined(members: list[str] | None) -> str | None:
    return None if members is None else ", ".join(members)


def _never(_index: int) -> bool:
    return False


def _without_indexes(place: Place) -> Place:
    return tuple(step if isinstance(step, (str, paths.Both)) else (0, 1) for step in place)


def _in_names(rule: Rule, one: Value, other: Value) -> list[Rule]:
    """Return the rename, or for a style a rename of each member that v2 has under another name."""
    if not rule.style:
        return [rule]
    if one[0] != "object" or other[0] != "object":
        return []
    found = [(name, styled(name, rule.style)) for name in names_of(one, one)]
    return [rule._replace(old=(old,), new=(new,), style="") for old, new in found if old != new]


def _is_renamed(one: Value, other: Value, rule: Rule) -> bool:
    return (
        at(one, rule.old) is not MISSING
        and at(other, rule.new) is not MISSING
        and (not rule.new or at(one, rule.new) is MISSING)
        and (not rule.old or at(other, rule.old) is MISSING)
    )


def _read(one: Value, other: Value, rules: list[Rule], place: Place) -> Reading:
    """Compare renamed values with each other; use a rename only if a longer one has left its values."""
    pairs: list[tuple[Value, Value, Place]] = []
    used: list[Rule] = []
    for rule in rules:
        if _is_renamed(one, other, rule):
            used.append(rule)
            pairs.append((at(one, rule.old), at(other, rule.new), (*place, paths.Both(rule.old, rule.new))))
            one, other = (
                put(value, names, MISSING) if names else ("object", ())
                for value, names in ((one, rule.old), (other, rule.new))
            )
    for rule in used:
        one, other = _with_objects(one, rule.new), _with_objects(other, rule.old)
    return Reading(pairs, one, other)


def _with_objects(value: Value, names: tuple[str, ...]) -> Value:
    """Return the value with an empty object wherever the objects above a path are missing."""
    for end in range(1, len(names)):
        if at(value, names[:end]) is MISSING and at(value, names[: end - 1])[0] == "object":
            value = put(value, names[:end], ("object", ()))
    return value


def _under_old_names(value: Value, rule: Rule, sources: list[Value]) -> Value:
    for source in sources:
        for each in _in_names(rule, source, value):
            above = [at(value, each.old[:end])[0] for end in range(1, len(each.old))]
            if each.old and each.new and _is_renamed(source, value, each) and {*above} <= {"object", "missing"}:
                value = put(put(value, each.new, MISSING), each.old, at(value, each.new))
    return value


def _elements(pool: Pool) -> Pool:
    return [
        Pooled(element, (*entry.place, (index, len(entry.value[1]))), loose=not entry.needs_a_partner)
        for entry in pool
        if entry.value[0] == "array"
        for index, element in enumerate(entry.value[1])
    ]


def _members(pool: Pool, name: str) -> Pool:
    return [
        Pooled(member(entry.value, name), (*entry.place, name), loose=not entry.needs_a_partner)
        for entry in pool
        if entry.value[0] == "object"
    ]


def _rule(item: Declaration) -> Rule:
    kind = next(key for key in item if key not in {"routes", "methods", "reason", "expires"})
    options = item[kind] if isinstance(item[kind], dict) else {"path": item[kind]}
    if kind == "rename":
        return _rename(str(options["from"]), str(options["to"]), options)
    where = str(options["path"])
    return Rule(kind, options, where, paths.parse(where) if where.startswith("$") else None)


def _rename(start: str, to: str, options: dict[str, Any]) -> Rule:
    """Return a rename; `where` identifies the declaration."""
    where, old = f"{start} {to}", paths.parse(start)
    if not to.startswith("$"):
        query = (*old[:-1], paths.ANY_DEPTH) if old[-1].descendant else old[:-1]
        return Rule("rename", options, where, query, style=to)
    new = paths.parse(to)
    shared = next(at for at in range(len(old) + 1) if old[: at + 1] != new[: at + 1])
    rest, rest_new = old[shared:], new[shared:]
    below = (paths.ANY_DEPTH,) if rest and rest_new and rest[0].descendant else ()
    return Rule("rename", options, where, (*old[:shared], *below), _names(rest), _names(rest_new))


def _names(query: Query) -> tuple[str, ...]:
    return tuple(str(segment.selectors[0].name) for segment in query)


def _holds(item: Declaration) -> bool:
    routes = item.get("routes", [ROUTE])
    return (
        (ROUTE in routes or ROUTE.split()[1] in routes)
        and "GET" in item.get("methods", ["GET"])
        and str(item.get("expires", "9999")) > NOW
    )
