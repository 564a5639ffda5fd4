"""What the walk finds, and how it is said.

In: places as linked steps, values as parsed.  Out: `Difference` values, bounded.
Holds: differences that count and differences that a rule covers have bounds of their own, so that noise never
crowds out what counts.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final, cast

import orjson

from shadowdiff.compare.values import Missing, Value
from shadowdiff.compare.write import write_number, write_some
from shadowdiff.model import Comparison, Difference, Kind, Result, Severity
from shadowdiff.rules.jsonpath import name_step

if TYPE_CHECKING:
    from shadowdiff.compare.limits import Limits

Path = tuple["Path", "str | int"] | None
"""A place as its parent and the last step; None is the root."""

_USUAL_CHARS: Final = 64
_USUAL_PATH_CHARS: Final = 256
_MAX_STEPS: Final = 8192
_MAX_SPELLED: Final = 4096
_VALUE: Final = Kind.VALUE
_SEVERITIES: Final = {
    Kind.TYPE: Severity.BREAKING,
    Kind.REMOVED: Severity.BREAKING,
    Kind.STATUS: Severity.BREAKING,
    Kind.ADDED: Severity.ADDITIVE,
}
_OF_VALUE: Final = Severity.VALUE


def severity_of(kind: Kind) -> Severity:
    """Return what a difference of this kind means to a client of v1."""
    return _SEVERITIES.get(kind, _OF_VALUE)


NOTHING: Final = (0, 0, 0)
"""The mark of findings that are empty."""


class Findings:
    """What one comparison found so far."""

    __slots__ = ("_limits", "counted", "covered", "unlisted")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.counted: list[Difference] = []
        self.covered: list[Difference] = []
        self.unlisted = 0

    def body(self, path: Path, kind: Kind, one: Value | Missing, other: Value | Missing, rule: str | None) -> None:
        """Note a difference inside a structured body."""
        limits = self._limits
        into = self.covered if rule else self.counted
        if len(into) >= (limits.covered if rule else limits.differences):
            self.unlisted += 1
            return
        exact, pattern = _SPELLED.get(path) or spell(path)
        if len(exact) > limits.path_chars:
            exact, pattern = bounded(exact, limits.path_chars), bounded(pattern, limits.path_chars)
        chars = limits.value_chars
        into.append(
            Difference(
                path=exact,
                pattern=pattern,
                kind=kind,
                primary=show(one, chars),
                candidate=show(other, chars),
                severity=_OF_VALUE if kind is _VALUE else severity_of(kind),
                rule=rule,
            )
        )

    def place(
        self, path: str, kind: Kind, one: str | None, other: str | None, rule: str | None = None, *, pattern: str = ""
    ) -> None:
        """Note a difference in status, headers, text or bytes."""
        into, bound = (self.covered, self._limits.covered) if rule else (self.counted, self._limits.differences)
        if len(into) >= bound:
            self.unlisted += 1
            return
        severity = severity_of(kind)
        if kind is Kind.HEADER and (one is None or other is None):
            severity = Severity.ADDITIVE if one is None else Severity.BREAKING
        chars, path_chars = self._limits.value_chars, self._limits.path_chars
        into.append(
            Difference(
                path=bounded(path, path_chars),
                pattern=bounded(pattern or path, path_chars),
                kind=kind,
                primary=None if one is None else bounded(one, chars),
                candidate=None if other is None else bounded(other, chars),
                severity=severity,
                rule=rule,
            )
        )

    def room(self, rule: str | None) -> int:
        """Return how many more differences will be listed; what lies beyond need not be worded."""
        if rule is None:
            return self._limits.differences - len(self.counted)
        return self._limits.covered - len(self.covered)

    def add(self, difference: Difference) -> None:
        """Note a difference that is already worded."""
        (self.covered if difference.rule else self.counted).append(difference)

    def mark(self) -> tuple[int, int, int]:
        """Return where the findings stand, to come back to."""
        return len(self.counted), len(self.covered), self.unlisted

    def rewind(self, mark: tuple[int, int, int]) -> None:
        """Forget what was found since the mark."""
        counted, covered, self.unlisted = mark
        del self.counted[counted:]
        del self.covered[covered:]

    def comparison(self) -> Comparison:
        """Return the result: what counts first, then what is covered."""
        result = Result.MISMATCH if self.counted else Result.IGNORED if self.covered else Result.MATCH
        return Comparison(result=result, differences=(*self.counted, *self.covered), unlisted=self.unlisted)


def bounded(text: str, chars: int) -> str:
    """Return the text, cut with an ellipsis where it is longer."""
    return text if len(text) <= chars else text[: chars - 1] + "…"


def spell(path: Path) -> tuple[str, str]:
    """Return the normalized path, and the same with indexes collapsed."""
    exact = pattern = ""
    step_of = path
    while step_of is not None:
        step_of, step = step_of
        if type(step) is str:
            spelled = _STEPS.get(step) or _spell_step(step)
            exact = spelled + exact
            pattern = spelled + pattern
        else:
            exact = f"[{step}]{exact}"
            pattern = "[*]" + pattern
    said = "$" + exact, "$" + pattern
    if len(exact) <= _USUAL_PATH_CHARS:
        if len(_SPELLED) >= _MAX_SPELLED:
            _SPELLED.clear()
        _SPELLED[path] = said
    return said


_SPELLED: Final[dict[Path, tuple[str, str]]] = {}
"""How places were spelled lately, since the same ones differ again and again; bounded in number and in length."""


_STEPS: Final[dict[str, str]] = {}
"""How usual names are spelled, so that it is worked out once; bounded."""


def _spell_step(name: str) -> str:
    spelled = name_step(name)
    if len(name) <= _USUAL_CHARS and len(_STEPS) < _MAX_STEPS:
        _STEPS[name] = spelled
    return spelled


def show(value: Value | Missing, chars: int) -> str | None:
    """Return a value as JSON text, bounded; None for what is not there."""
    if type(value) not in _USUAL:
        if isinstance(value, Missing):
            return None
        if type(value) is str or type(value) is list:
            if len(value) > chars:
                value = value[:chars]  # what follows would be cut anyway, and a long array is dear to write
        elif isinstance(value, Decimal):
            return bounded(write_number(value), chars)
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = write_some(cast("Value", value), chars)
    return text if len(text) <= chars else bounded(text, chars)


_USUAL: Final = frozenset((int, float, bool, dict, type(None)))
