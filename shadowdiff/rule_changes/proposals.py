"""Propose rules that would cover one difference, from the narrowest to the widest.

Pure. Each proposal applies only to the route of the difference, and `parse_rules` accepts it.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from shadowdiff.model import Kind
from shadowdiff.rules import RuleError, parse_rules
from shadowdiff.rules.place import is_html, query_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.model import Difference

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
_NUMBER: Final = re.compile(r"-?\d{1,15}(?:\.\d+)?(?:[eE][+-]?\d{1,2})?")
_EMPTY: Final = {"null": "null", '""': "empty", "[]": "empty", "{}": "empty"}
_REDACTED_NAME: Final = re.compile(r"\['(?:[^'\\]|\\.)*‹redacted(?::[0-9a-f]{12})?›(?:[^'\\]|\\.)*'\]")
"""A redacted key. A rule cannot name it."""
_STEP: Final = re.compile(r"\[(?:\*|\d+|'(?:[^'\\]|\\.)*')\]$")


class Proposal(NamedTuple):
    """A rule's declaration, with an explanation."""

    title: str
    rule: dict[str, Any]


def proposals(found: Difference, route: str) -> list[Proposal]:
    """Return the proposed rules for a difference."""
    proposed: list[Proposal] = []
    for title, rule in _rules(found):
        limited = {**rule, "routes": [route]}
        with suppress(RuleError):
            parse_rules([limited])
            proposed.append(Proposal(title, limited))
    return proposed


def _rules(found: Difference) -> Iterator[tuple[str, dict[str, Any]]]:
    pattern = _REDACTED_NAME.sub("[*]", query_of(found.pattern))
    path = pattern.partition("[")[0] if pattern.startswith(("text", "bytes")) else pattern
    path = "text" if is_html(path) else path
    match found.kind:
        case Kind.ORDER:
            yield "ignore the order", {"unordered": path}
        case Kind.VALUE:
            yield from _similar_values(path, found.primary or "", found.candidate or "")
        case Kind.TYPE if _is_numeric(found):
            yield "accept a number as a string", {"equivalent": {"path": path, "as": ["number"]}}
        case Kind.ADDED | Kind.REMOVED:
            yield from _missing(path, found)
        case _:
            pass
    yield "ignore it", {"ignore": path}


def _similar_values(path: str, one: str, other: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if _NUMBER.fullmatch(one) and _NUMBER.fullmatch(other):
        distance = abs(float(one) - float(other))
        bound = 10.0 ** math.ceil(math.log10(distance)) if distance else 0.01
        yield f"within {bound:g}", {"tolerance": {"path": path, "abs": bound}}
        yield "within 1 %", {"tolerance": {"path": path, "rel": 0.01}}
    elif _TIME.search(one) and _TIME.search(other):
        yield "times within a minute", {"tolerance": {"path": path, "time": "1m"}}
    elif one.lower() == other.lower():
        yield "ignore upper and lower case", {"equivalent": {"path": path, "as": ["case"]}}


def _missing(path: str, found: Difference) -> Iterator[tuple[str, dict[str, Any]]]:
    value = found.candidate if found.kind is Kind.ADDED else found.primary
    if value in _EMPTY:
        empty = _EMPTY[value]
        yield f"{empty} equals missing", {"equivalent": {"path": path, "as": [empty, "missing"]}}
    parent = _STEP.sub("", path)
    if found.kind is Kind.ADDED and path.startswith("$") and parent != path:
        yield "v2 may add keys here", {"subset": parent}


def _is_numeric(found: Difference) -> bool:
    try:
        one, other = (msgspec.json.decode(value or "null") for value in (found.primary, found.candidate))
        return {type(one), type(other)} <= {int, float, str} and float(one) == float(other)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
        return False
