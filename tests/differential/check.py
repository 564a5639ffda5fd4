"""Run the comparison on a case, report how it differs from the reference, and shrink failing cases."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import count, product
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

from shadowdiff.compare import Limits
from shadowdiff.model import Comparison, Observation, Result, Side
from tests.differential.generate import Case, draw
from tests.differential.reference import NOW, ROUTE, Response, expected
from tests.fakes.responses import compared, response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

INSTANT: Final = datetime.fromisoformat(NOW).replace(tzinfo=UTC)
LIMITS: Final = Limits()
_FEW_PAIRS: Final = 400


def run(one: Response, other: Response, rules: Sequence[object], limits: Limits = LIMITS) -> Comparison:
    """Compare two responses as the product does."""
    sides = _observation(Side.PRIMARY, one), _observation(Side.CANDIDATE, other)
    return compared(*sides, *rules, limits=limits, route=ROUTE, now=INSTANT)


def _observation(side: Side, sent: Response) -> Observation:
    fields = {"content-type": sent.type, **sent.headers}
    headers = tuple((name.encode(), line.encode()) for name, value in fields.items() for line in value.split("\n"))
    return response(side, sent.body.encode(), headers, status=sent.status)


def fault(case: Case) -> str:
    """Return what is wrong with the result of a case, or "" if it is right."""
    try:
        comparison = run(*case)
    except Exception as error:  # noqa: BLE001  any exception is a fault of the comparison
        return f"raised {type(error).__name__}"
    got = str(comparison.result)
    must = expected(*case, strict=True)
    if got == must:
        return inconsistent(comparison) or _spoiled(case, got)
    if must == "mismatch" and expected(*case, strict=False) == got:
        return inconsistent(comparison) or _spoiled(case, got)
    return f"{must} expected, {got} {comparison.reason}".strip()


def inconsistent(comparison: Comparison) -> str:
    """Return how the differences contradict the result."""
    counted = any(difference.rule is None for difference in comparison.differences)
    if counted != (comparison.result is Result.MISMATCH):
        return f"{comparison.result} with differences that say otherwise"
    if bool(comparison.differences) != (comparison.result is not Result.MATCH):
        return f"{comparison.result} with {len(comparison.differences)} differences"
    return ""


def _spoiled(case: Case, got: str) -> str:
    """Return an error if one rule turns a pair that the others cover into a mismatch."""
    if got != "mismatch":
        return ""
    for index in range(len(case.rules)):
        fewer = case.rules[:index] + case.rules[index + 1 :]
        if run(case.one, case.other, fewer).result in {Result.MATCH, Result.IGNORED}:
            return f"a rule turns ignored into mismatch: {next(iter(case.rules[index]))}"
    return ""


def transformed(case: Case, random: Random) -> str:
    """Return what is wrong with the results of cases that must compare like this one, or "" if they are right."""
    usual = run(*case).result
    for what, other in _transformed(case, random):
        got = run(*other).result
        if got is not usual and not (usual is Result.IGNORED and got is Result.MATCH):
            return f"{usual}, but {got} if {what}"
    equal = run(case.one, case.one, case.rules).result
    return "" if equal is Result.MATCH else f"{equal} of equal responses"


def _transformed(case: Case, random: Random) -> Iterator[tuple[str, Case]]:
    one, other, rules = case
    by_index = any("[" in _path_of(rule).replace("[*]", "") for rule in rules)  # this path has an index of v1's array
    if not by_index and not {kind for rule in rules for kind in rule} & {"subset", "rename"}:
        yield "the sides are swapped", Case(other, one, rules)
    if other.type != "application/json":
        return
    yield "members have another order", Case(one, other._replace(body=_turned(other.body)), rules)
    if {"unordered": "$"} in rules and not by_index:
        value = json.loads(other.body, object_pairs_hook=_Members, parse_float=_Spelled, parse_int=_Spelled)
        if isinstance(value, list) and not isinstance(value, _Members) and run(*case).result is Result.IGNORED:
            random.shuffle(cast("list[Any]", value))
            yield "elements are shuffled", Case(one, other._replace(body=_written(value)), rules)


def _path_of(rule: dict[str, Any]) -> str:
    options = next(iter(rule.values()))
    if not isinstance(options, dict):
        return str(options)
    stated = cast("dict[str, object]", options)
    return str(stated.get("path", stated.get("from", "")))


class _Members(list[Any]):
    """The members of an object, as pairs."""


class _Spelled(str):
    """A number as it is written in the body."""

    __slots__ = ()


def _turned(body: str) -> str:
    """Return a JSON text with the members of each object in reverse order."""
    value = json.loads(
        body, object_pairs_hook=lambda pairs: _Members(reversed(pairs)), parse_float=_Spelled, parse_int=_Spelled
    )
    return _written(value)


def _written(value: Any) -> str:
    if isinstance(value, _Spelled):
        return value
    if isinstance(value, _Members):
        return "{" + ",".join(f"{json.dumps(name)}:{_written(below)}" for name, below in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, cast("list[Any]", value))) + "]"
    return json.dumps(value)


def starved(case: Case, units: int) -> str:
    """Return what is wrong with the result on a small budget. The result must be the usual one or `too_complex`."""
    usual = run(*case).result
    result = run(*case, Limits(work=units))
    if result.result in {usual, Result.INCOMPARABLE} and result.reason in {"", "too_complex"}:
        return ""
    return f"{usual}, but with less work {result.result} {result.reason}"


def case_of(seed: int) -> Case:
    """Return the case of a seed."""
    return draw(Random(seed))


def shrink(case: Case, still: Callable[[Case], bool], tries: int = 1500) -> Case:
    """Return a smaller case with the same fault."""
    attempts = count()
    while smaller := next((less for less in _smaller(case) if next(attempts) < tries and still(less)), None):
        case = smaller
    return case


def _smaller(case: Case) -> Iterator[Case]:
    for index in range(len(case.rules)):
        yield case._replace(rules=case.rules[:index] + case.rules[index + 1 :])
    if case.one.headers or case.other.headers:
        yield case._replace(one=case.one._replace(headers={}), other=case.other._replace(headers={}))
    if case.one.status != case.other.status:
        yield case._replace(other=case.other._replace(status=case.one.status))
    if case.one.type.startswith("text/") or "ndjson" in case.one.type:
        for one, other in _fewer_lines(
            case.one.body.splitlines(keepends=True), case.other.body.splitlines(keepends=True)
        ):
            if one and other:
                yield _with_bodies(case, "".join(one), "".join(other))
        return
    one, other = json.loads(case.one.body), json.loads(case.other.body)
    for left, right in _less(one, other):
        yield _with_bodies(case, json.dumps(left), json.dumps(right))


def _with_bodies(case: Case, one: str, other: str) -> Case:
    return case._replace(one=case.one._replace(body=one), other=case.other._replace(body=other))


def _fewer_lines(one: list[str], other: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    for index in range(max(len(one), len(other))):
        yield one[:index] + one[index + 1 :], other[:index] + other[index + 1 :]
    for index in range(len(one)):
        yield one[:index] + one[index + 1 :], other
    for index in range(len(other)):
        yield one, other[:index] + other[index + 1 :]


def _less(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Yield pairs of values that are smaller on one side or on both."""
    for left in _parts(one):
        yield left, other
    for right in _parts(other):
        yield one, right
    lefts, rights = list(_parts(one)), list(_parts(other))
    yield from zip(lefts, rights)  # noqa: B905  what is left over is of no use
    if len(lefts) * len(rights) <= _FEW_PAIRS:
        yield from product(lefts, rights)


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        elements = cast("list[Any]", value)
        for index, element in enumerate(elements):
            yield elements[:index] + elements[index + 1 :]
            for less in _parts(element):
                yield [*elements[:index], less, *elements[index + 1 :]]
    elif isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        for name, member in members.items():
            yield {known: found for known, found in members.items() if known != name}
            for less in _parts(member):
                yield {**members, name: less}
    elif value not in {0, 1, 2, 3, None}:
        yield 0


def report(case: Case, wrong: str, seed: int | None = None) -> str:
    """Return Python code that shows a failing case when it runs in the project's root."""
    return "\n".join(
        [
            f"# {wrong}" + (f" (seed {seed})" if seed is not None else ""),
            "from tests.differential.check import run",
            "from tests.differential.reference import Response, expected",
            f"one = {case.one!r}",
            f"other = {case.other!r}",
            f"rules = {case.rules!r}",
            "print(expected(one, other, rules, strict=True))",
            "print(run(one, other, rules))",
        ]
    )
