"""Rules that would cover a difference, from the narrowest to the widest.

In: a difference and its route.  Out: declarations as in the configuration, each with what it says in words.
Holds: pure; each names the route where the difference was seen, and is one that `parse_rules` takes.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from shadowdiff.model import Kind
from shadowdiff.rules import RuleError, parse_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.model import Difference

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
_NUMBER: Final = re.compile(r"-?\d{1,15}(?:\.\d+)?(?:[eE][+-]?\d{1,2})?")
_ABSENT: Final = {"null": "null", '""': "empty", "[]": "empty", "{}": "empty"}
_WITHHELD: Final = re.compile(r"\['(?:[^'\\]|\\.)*‹redacted(?::[0-9a-f]{12})?›(?:[^'\\]|\\.)*'\]")
"""A name that was redacted: no rule can tell it from its neighbours."""
_STEP: Final = re.compile(r"\[(?:\*|\d+|'(?:[^'\\]|\\.)*')\]$")


class Proposal(NamedTuple):
    """A declaration, and what it says."""

    title: str
    rule: dict[str, Any]


def proposals(found: Difference, route: str) -> list[Proposal]:
    """Return the rules to choose from."""
    beside = {"routes": [route]}
    made = [Proposal(title, rule | beside) for title, rule in _rules(found)]
    return [one for one in made if _is_one(one.rule)]


def _rules(found: Difference) -> Iterator[tuple[str, dict[str, Any]]]:
    pattern = _WITHHELD.sub("[*]", found.pattern)
    path = pattern.partition("[")[0] if pattern.startswith(("text", "bytes")) else pattern
    match found.kind:
        case Kind.ORDER:
            yield "the order means nothing", {"unordered": path}
        case Kind.VALUE:
            yield from _near(path, found.primary or "", found.candidate or "")
        case Kind.TYPE if _is_numeric(found):
            yield "a number may be written as a string", {"equivalent": {"path": path, "as": ["number"]}}
        case Kind.ADDED | Kind.REMOVED:
            yield from _missing(path, found)
        case _:
            pass
    yield "it does not matter at all", {"ignore": path}


def _near(path: str, one: str, other: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what lets two values lie a little apart."""
    if _NUMBER.fullmatch(one) and _NUMBER.fullmatch(other):
        apart = abs(float(one) - float(other))
        bound = 10.0 ** math.ceil(math.log10(apart)) if apart else 0.01
        yield f"within {bound:g}", {"tolerance": {"path": path, "abs": bound}}
        yield "within 1%", {"tolerance": {"path": path, "rel": 0.01}}
    elif _TIME.search(one) and _TIME.search(other):
        yield "times within a minute", {"tolerance": {"path": path, "time": "1m"}}
    elif one.lower() == other.lower():
        yield "upper and lower case are equal", {"equivalent": {"path": path, "as": ["case"]}}


def _missing(path: str, found: Difference) -> Iterator[tuple[str, dict[str, Any]]]:
    value = found.candidate if found.kind is Kind.ADDED else found.primary
    if value in _ABSENT:
        yield (
            f"{_ABSENT[value]} is as good as missing",
            {"equivalent": {"path": path, "as": [_ABSENT[value], "missing"]}},
        )
    parent = _STEP.sub("", path)
    if found.kind is Kind.ADDED and path.startswith("$") and parent != path:
        yield "v2 may add members here", {"subset": parent}


def _is_numeric(found: Difference) -> bool:
    try:
        one, other = (msgspec.json.decode(value or "null") for value in (found.primary, found.candidate))
        return {type(one), type(other)} <= {int, float, str} and float(one) == float(other)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
        return False


def _is_one(rule: dict[str, Any]) -> bool:
    try:
        parse_rules([rule])
    except RuleError:
        return False
    return True
