"""Collect the differences that a comparison finds, and write their paths and values as text.

Differences that count and differences that a rule covers have separate limits, so noise never hides a defect.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

import msgspec
import orjson

from shadowdiff.compare.excerpt import around_change, bounded, changed_bytes
from shadowdiff.compare.relations import NONE, relate, relate_excerpts, units_of
from shadowdiff.compare.work import Budget
from shadowdiff.model import Comparison, Difference, Kind, Result, Severity
from shadowdiff.rules.json_values import Constant, HugeInteger, HugeNumber, Missing, Repeated, Value
from shadowdiff.rules.place import steps_of_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shadowdiff.compare.relations import Relations
    from shadowdiff.compare.text_relations import OwnNames
    from shadowdiff.compare.work import Limits

Path = tuple["Path", "str | int"] | None
"""A path as its parent and the last step; None is the root."""
_EXCERPTS: Final = frozenset((Kind.HEADER, Kind.STATUS, Kind.TEXT))
_USUAL_CHARS: Final = 64
_USUAL_PATH_CHARS: Final = 256
_MAX_SPELLED: Final = 4096
RELATING_UNITS: Final = 4096
"""The work for relations, about 3 ms. It is not a part of `Limits.work`, so relations never change a result."""
_VALUE: Final = Kind.VALUE
_SEVERITIES: Final = {Kind.ADDED: Severity.ADDITIVE} | dict.fromkeys(
    (Kind.TYPE, Kind.REMOVED, Kind.STATUS), Severity.BREAKING
)
_OF_VALUE: Final = Severity.VALUE
NOTHING: Final = (0, 0, 0)
"""The mark of empty findings."""
_SPELLED: Final[dict[Path, tuple[str, str]]] = {}
"""A bounded cache of spelled paths, since the same ones differ again and again."""
_usual_steps: Final = lru_cache(maxsize=8192)(steps_of_name)
_USUAL: Final = frozenset((int, float, bool, dict, type(None)))


class Findings:
    """The differences that one comparison has found so far, its limits, and its work budget.

    names: the service's own names, for relations.
    """

    __slots__ = ("_relating", "budget", "counted", "covered", "limits", "names", "unlisted")

    def __init__(self, limits: Limits, budget: Budget | None = None) -> None:
        self.limits = limits
        self.budget = budget or Budget(limits.work)
        self.names: OwnNames | None = None
        self._relating = RELATING_UNITS if limits.relations else 0
        self.counted: list[Difference] = []
        self.covered: list[Difference] = []
        self.unlisted = 0

    def note_value(
        self, path: Path, kind: Kind, one: Value | Missing, other: Value | Missing, rule: str | None
    ) -> None:
        """Note a difference inside a structured body."""
        limits = self.limits
        self.budget.spend(4)
        into = self.covered if rule else self.counted
        if len(into) >= (limits.covered if rule else limits.differences):
            self.unlisted += 1
            return
        exact, pattern = _SPELLED.get(path) or spell(path, limits.path_chars)
        if len(exact) > limits.path_chars:
            exact, pattern = bounded(exact, limits.path_chars), bounded(pattern, limits.path_chars)
        chars = limits.value_chars
        whole, whole_other = one, other
        if type(one) is str and type(other) is str and self.cuts(one, other):
            one, other = around_change(one, other, chars)
        shown, shown_other = self._show(one, chars), self._show(other, chars)
        relations, parameters = (
            NONE if rule else self._relations(kind, path, (whole, whole_other), (shown, shown_other))
        )
        into.append(
            Difference(
                path=exact,
                pattern=pattern,
                kind=kind,
                primary=shown,
                candidate=shown_other,
                severity=_OF_VALUE if kind is _VALUE else _SEVERITIES.get(kind, _OF_VALUE),
                rule=rule,
                relations=relations,
                parameters=parameters,
            )
        )

    def _relations(
        self,
        kind: Kind,
        path: Path,
        values: tuple[Value | Missing, Value | Missing],
        shown: tuple[str | None, str | None],
    ) -> Relations:
        """Return the relations of two values, or none if the work for relations is used up."""
        self._relating -= units_of(*values)
        if self._relating < 0:
            return NONE
        while path is not None and type(path[1]) is not str:
            path = path[0]
        try:
            return relate(kind, str(path[1]) if path else "", values, shown, self.names)
        except (ArithmeticError, ValueError):  # a difference is worth more than its relations
            return NONE

    def note(
        self, path: str, kind: Kind, one: str | None, other: str | None, rule: str | None = None, *, pattern: str = ""
    ) -> None:
        """Note a difference in the status, headers, text or bytes."""
        if self.room(rule) <= 0:
            self.unlisted += 1
            return
        severity = _SEVERITIES.get(kind, _OF_VALUE)
        if kind is Kind.HEADER and (one is None or other is None):
            severity = Severity.ADDITIVE if one is None else Severity.BREAKING
        chars, path_chars = self.limits.value_chars, self.limits.path_chars
        relations, parameters = NONE
        if rule is None and one is not None and other is not None and kind in _EXCERPTS:
            relations, parameters = self._relations_of_excerpts(kind, path, one, other)
        if one and other and self.cuts(one, other):
            one, other = around_change(one, other, chars, between_words=kind is Kind.HEADER)
        self.add(
            Difference(
                path=bounded(path, path_chars),
                pattern=bounded(pattern or path, path_chars),
                kind=kind,
                primary=None if one is None else bounded(one, chars),
                candidate=None if other is None else bounded(other, chars),
                severity=severity,
                rule=rule,
                relations=relations,
                parameters=parameters,
            )
        )

    def _relations_of_excerpts(self, kind: Kind, path: str, one: str, other: str) -> Relations:
        self._relating -= units_of(one, other)
        name = path.removeprefix("header.") if kind is Kind.HEADER else ""
        try:
            return NONE if self._relating < 0 else relate_excerpts(kind, name, one, other, self.names)
        except (ArithmeticError, ValueError):
            return NONE

    def note_bytes(self, one: bytes, other: bytes, rule: str | None) -> None:
        """Note the bytes between the first and the last difference."""
        start, left, right = changed_bytes(one, other)
        self.note(f"bytes[{start}]", Kind.BYTES, left, right, rule, pattern="bytes[*]")

    def cuts(self, one: str, other: str) -> bool:
        """Whether two texts are too long to show in full."""
        return max(len(one), len(other)) > self.limits.value_chars

    def _show(self, value: Value | Missing, chars: int) -> str | None:
        text = show(value, chars)
        if text is None or len(text) <= chars:
            return text
        self.budget.spend(len(text) // 512)
        return bounded(text, chars)

    def room(self, rule: str | None) -> int:
        """Return how many more differences can be listed; further differences are only counted."""
        return self.limits.covered - len(self.covered) if rule else self.limits.differences - len(self.counted)

    def add(self, difference: Difference) -> None:
        """Add a difference to the findings."""
        (self.covered if difference.rule else self.counted).append(difference)

    def mark(self) -> tuple[int, int, int]:
        """Return the current state, for `rewind`."""
        return len(self.counted), len(self.covered), self.unlisted

    def counts_since(self, mark: tuple[int, int, int]) -> bool:
        """Whether a difference that counts was found after the mark, or the list is full."""
        return len(self.counted) > mark[0] or len(self.counted) >= self.limits.differences

    def rewind(self, mark: tuple[int, int, int]) -> None:
        """Remove the differences that were found after the mark."""
        counted, covered, self.unlisted = mark
        del self.counted[counted:]
        del self.covered[covered:]

    def take(self, found: Findings) -> None:
        """Add the differences of other findings with the same limits."""
        for one in (*found.counted, *found.covered):
            if self.room(one.rule) > 0:
                self.add(one)
            else:
                self.unlisted += 1
        self.unlisted += found.unlisted

    def cover_all_but(self, again: Findings, rule: str, restored: Callable[[str], str] | None) -> None:
        """Let a rule cover the differences that `again`, the same comparison under the rule, does not count.

        restored: returns what v2 sent for a text in `again`. If `again` counts other differences, because it aligns the
        values differently, they replace the old ones; without `restored`, nothing changes.
        """
        replace = msgspec.structs.replace
        left = {(one.path, one.kind): one for one in again.counted}
        known = {(one.path, one.kind) for one in self.counted}
        gone = [one for one in self.counted if (one.path, one.kind) not in left]
        if left.keys() <= known and not (left and self.unlisted):
            both = ((one, left.get((one.path, one.kind))) for one in self.counted)
            self.counted = [
                replace(one, relations=other.relations, parameters=other.parameters) for one, other in both if other
            ]
        elif restored is None:
            return
        else:
            self.counted = [
                one if one.candidate is None else replace(one, candidate=restored(one.candidate))
                for one in again.counted
            ]
            self.unlisted = again.unlisted
            gone = [one for one in gone if all(one.path != path for path, _ in left)]
        gone = [replace(one, rule=rule, relations=0, parameters=()) for one in gone]
        room = max(0, self.limits.covered - len(self.covered))
        self.covered += gone[:room]
        self.unlisted += len(gone) - len(gone[:room])

    def comparison(self) -> Comparison:
        """Return the result: first the differences that count, then the covered differences."""
        result = Result.MISMATCH if self.counted else Result.IGNORED if self.covered else Result.MATCH
        return Comparison(result=result, differences=(*self.counted, *self.covered), unlisted=self.unlisted)


def spell(path: Path, chars: int) -> tuple[str, str]:
    """Return the normalized path, and its place (`rules.place`); both may end after `chars` characters."""
    steps: list[str | int] = []
    above = path
    while above is not None:
        above, step = above
        steps.append(step)
    exact, pattern = ["$"], ["$"]
    length = 1
    while steps and length <= chars:
        step = steps.pop()
        if type(step) is str:
            spelled, spelled_below = _usual_steps(step) if len(step) <= _USUAL_CHARS else steps_of_name(step[:chars])
        else:
            spelled, spelled_below = f"[{step}]", "[*]"
        exact.append(spelled)
        pattern.append(spelled_below)
        length += len(spelled_below)
    both = "".join(exact), "".join(pattern)
    if len(both[0]) <= _USUAL_PATH_CHARS and not steps:
        if len(_SPELLED) >= _MAX_SPELLED:
            _SPELLED.clear()
        _SPELLED[path] = both
    return both


def show(value: Value | Missing, chars: int) -> str | None:
    """Return a value as JSON text, which may end after `chars` characters; None for a missing value."""
    if type(value) not in _USUAL:
        if isinstance(value, Missing):
            return None
        if type(value) is str or type(value) is list:
            value = value[:chars]  # a long array takes long to write
        elif isinstance(value, Decimal):
            return _write_number(value)
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return write(cast("Value", value), chars)


def write(value: Value, chars: float = math.inf) -> str:
    """Return a value as JSON text with all its digits, duplicates and NaN; it may end after `chars` characters."""
    out: list[str] = []
    size = 0
    for part in _parts(value):
        out.append(part)
        size += len(part)
        if size > chars:
            break
    return "".join(out)


def _parts(value: Value) -> Iterator[str]:
    if isinstance(value, dict):
        yield "{"
        comma = ""
        for name, member in value.items():
            for one in member if isinstance(member, Repeated) else (member,):
                yield f"{comma}{_string(name)}:"
                yield from _parts(one)
                comma = ","
        yield "}"
    elif isinstance(value, list):
        yield "["
        for index, element in enumerate(value):
            yield "," if index else ""
            yield from _parts(element)
        yield "]"
    elif isinstance(value, str) and not isinstance(value, (Constant, HugeNumber)):
        yield _string(value)
    elif isinstance(value, (Decimal, str)):
        yield _write_number(value) if isinstance(value, Decimal) else str(value)
    else:
        yield json.dumps(value)


def _write_number(value: Decimal) -> str:
    """Write a number so that it keeps its type: Decimal writes `1e0` like an integer."""
    text = str(value).lower()
    whole = isinstance(value, HugeInteger) or "." in text or "e" in text
    return text if whole else f"{text}e0"


def _string(text: str) -> str:
    """Quote a string; escape lone surrogates, which UTF-8 cannot encode."""
    try:
        return orjson.dumps(text).decode()
    except orjson.JSONEncodeError:
        return json.dumps(text)
