"""Decide which parameters of a change are stored and shown: numbers and harmless words. All others become keyed hashes.

A parameter that contains nothing of a value, such as the form of an id, is always kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shadowdiff.model.relation import ARROW, PARAMETER_CHARS, Relation
from shadowdiff.report.redact_diff import NO_SIDES, Sides, SideText
from shadowdiff.report.secret_span import INLINE_WORK, TooMuchWorkError
from shadowdiff.rules.path_segments import shape
from shadowdiff.rules.place import has_words, is_coarse, is_of_text

if TYPE_CHECKING:
    from shadowdiff.model import Comparison, Difference, Pair
    from shadowdiff.model.relation import Parameters
    from shadowdiff.report.redaction import Redactor

_WITHOUT_VALUES: Final = int(
    Relation.SAME_INSTANT | Relation.INTEGER_AS_DECIMAL | Relation.NUMBER_AS_STRING | Relation.CASE
    | Relation.NORMALIZATION | Relation.ESCAPING | Relation.EMPTY | Relation.ROUNDED | Relation.SCALED
    | Relation.TRUNCATED | Relation.GENERATED | Relation.RETYPED
)  # fmt: skip
"""Relations whose parameters are fixed words, counts and factors."""
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_ADDRESS: Final = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_MOST_DIGITS: Final = 6
"""A text of digits and punctuation with more digits may be the number of a person, a card or a phone."""
_LONG_RUN: Final = re.compile(r"[0-9]{6}")
_WORD: Final = re.compile(r"[^\s@‹›\x00-\x1f]{1,32}")
_TURN: Final = re.compile(r"(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[a-z])(?=[A-Z])")
_MOST_TURNS: Final = 2
"""A word turns from letters to digits, back, or to upper case at most so often; a random text turns more often."""
_FORM_FIELD: Final = re.compile(r"\['(?:key|code|pass)'\]\[[0-9*]+\]\Z")
"""In a form these names have secrets (`QUERY_NAMES`); elsewhere they usually have none."""
_STATUSES: Final = frozenset(("status", "header.grpc-status", "graphql.errors"))


def safe_parameters(redactor: Redactor, difference: Difference, *, is_hidden: bool) -> Parameters:
    """Return the parameters of a difference in a form that may be stored and shown.

    is_hidden: whether redaction changes a value of the difference.
    """
    return tuple(
        (bit, _safe_parameter(redactor, difference, bit, text, is_hidden=is_hidden))
        for bit, text in difference.parameters
    )


class SafeParameters:
    """Makes the parameters of pairs safe on the event loop: all parameters of one pair share a limit of work."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._pair: Pair | None = None
        self._limited = redactor
        self._sides: Sides = NO_SIDES

    def __call__(self, pair: Pair, difference: Difference, bit: int, text: str) -> str:
        """Return one parameter of a difference that is not redacted yet, in a form that may be stored and shown.

        pair: whose bodies may show that a value is a secret. If reading them takes too long, the parameter becomes a
        hash. bit: of the parameter's relation.
        """
        if not _has_value(difference, bit):
            return text
        if pair is not self._pair:
            self._pair, self._limited = pair, self._redactor.limited(INLINE_WORK)
            self._sides = SideText(pair.primary, self._limited), SideText(pair.candidate, self._limited)
        try:
            is_hidden = self._limited.hides(difference, self._sides)
            return _safe_parameter(self._limited, difference, bit, text, is_hidden=is_hidden)
        except TooMuchWorkError:
            return self._redactor.secret(text)


def hides_lines(redactor: Redactor, pair: Pair, comparison: Comparison) -> list[bool]:
    """Return for each difference of a pair whether its place is a line that has a secret, or a part of one.

    The bodies show secrets whose names are on other lines. If reading them takes too long for the event loop, only the
    lines themselves are searched. All lines of a pair share a limit of work; above it, each line counts as secret.
    """
    whole, limited = redactor.limited(INLINE_WORK), redactor.limited(INLINE_WORK)
    sides: Sides = SideText(pair.primary, whole), SideText(pair.candidate, whole)
    found: list[bool] = []
    for one in comparison.differences:
        is_hidden = _hides_line(limited, one)
        if not is_hidden and sides != NO_SIDES and has_words(one.pattern):
            try:
                is_hidden = whole.hides_words(one, sides)
            except TooMuchWorkError:
                sides = NO_SIDES
        found.append(is_hidden)
    return found


def _hides_line(limited: Redactor, difference: Difference) -> bool:
    """Return whether the place of a difference is a line that has a secret, or that takes too long to search."""
    if not is_of_text(difference.pattern) or is_coarse(difference.pattern):
        return False
    try:
        return limited.hides(difference)
    except TooMuchWorkError:
        return True


def _has_value(difference: Difference, bit: int) -> bool:
    """Whether a parameter may contain or reveal a part of a value."""
    return not bit & _WITHOUT_VALUES and difference.path not in _STATUSES


def _safe_parameter(redactor: Redactor, difference: Difference, bit: int, text: str, *, is_hidden: bool) -> str:
    if not _has_value(difference, bit):
        return text
    if is_hidden or _FORM_FIELD.search(difference.path):
        return redactor.secret(text)
    return safe_parameter(redactor, text)


def safe_parameter(redactor: Redactor, text: str) -> str:
    """Return a parameter in which each side of an arrow is a number, a harmless word, or a hash."""
    one, arrow, other = text.partition(ARROW)
    return f"{_safe(redactor, one)}{arrow}{_safe(redactor, other)}" if arrow else _safe(redactor, text)


def _safe(redactor: Redactor, text: str) -> str:
    return text if not text or _is_harmless(redactor, text) else redactor.secret(text)


def _is_harmless(redactor: Redactor, text: str) -> bool:
    bare = text[1:] if text[0] in "+-" else text
    if len(text) > PARAMETER_CHARS + 1 or _ADDRESS.fullmatch(bare):
        return False
    if _NUMBER.fullmatch(bare):  # a round number identifies nobody
        return _LONG_RUN.search(bare.partition(".")[0].rstrip("0")) is None
    if sum(map(str.isdigit, bare)) > _MOST_DIGITS and not any(map(str.isalpha, bare)):
        return False
    if _WORD.fullmatch(bare) is None or _LONG_RUN.search(bare) or len(_TURN.findall(bare)) > _MOST_TURNS:
        return False
    return shape(bare) in {bare, "{id}"} and redactor.text(bare) == bare
