"""Pairs that need many attempts stay within limits of work and memory, and never have a wrong result."""

from __future__ import annotations

import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from shadowdiff.compare import Limits
from tests.differential.check import run
from tests.differential.large import MAKERS, TEXTS, Large, json_case, text_case

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from shadowdiff.model import Comparison

DECIDED = 200
"""Up to this number of elements, `too_complex` is not accepted."""
WORK = 400_000
"""The budget of larger cases, a tenth of the usual one, so that calls can be counted in a short time."""
CALLS = 8 * WORK
"""Function calls that one comparison may take beyond those for reading the bodies."""
CALLS_PER_BYTE = 20
MEMORY_BYTES = 48 << 20
MEMORY_PER_BYTE = 60
SIZES = [DECIDED, 2_000, pytest.param(20_000, marks=[pytest.mark.deep, pytest.mark.timeout(1200)])]
MAKER_CASES = [pytest.param(maker, result, id=maker.__name__.strip("_")) for maker, result in MAKERS]


class TooManyCallsError(Exception):
    """The comparison made more function calls than its limit."""


def _counted(case: Large, limits: Limits) -> tuple[Comparison, int]:
    """Compare, and return the number of function calls that it took."""
    most = CALLS + CALLS_PER_BYTE * _size(case)
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        if event in {"call", "c_call"}:
            calls += 1
            if calls > most:
                sys.setprofile(None)
                raise TooManyCallsError

    sys.setprofile(count)
    try:
        comparison = run(case.one, case.other, case.rules, limits)
    finally:
        sys.setprofile(None)
    return comparison, calls


def _size(case: Large) -> int:
    return len(case.one.body) + len(case.other.body)


def _check(case: Large, size: int, record_property: Callable[[str, object], None]) -> None:
    limits = Limits() if size <= DECIDED else Limits(work=WORK)
    comparison, calls = _counted(case, limits)
    tracemalloc.start()
    try:
        _ = run(case.one, case.other, case.rules, limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    record_property("figures", f"{comparison.result} {comparison.reason} {calls:,} calls {peak / 2**20:.1f} MiB")
    assert peak <= MEMORY_BYTES + MEMORY_PER_BYTE * _size(case)
    accepted = {case.result, "incomparable too_complex"} if size > DECIDED else {case.result}
    assert f"{comparison.result} {comparison.reason}".strip() in accepted


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("maker", "result"), MAKER_CASES)
def test_a_large_array_has_the_right_result_or_is_too_complex(
    maker: Callable[[int], tuple[object, object, list[dict[str, object]]]],
    result: str,
    size: int,
    record_property: Callable[[str, object], None],
) -> None:
    """Comparing a large array has bounded work and memory."""
    _check(json_case(maker, result, size), size, record_property)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", TEXTS)
def test_a_long_text_has_the_right_result_or_is_too_complex(
    name: str, size: int, record_property: Callable[[str, object], None]
) -> None:
    """Comparing a long text has bounded work and memory."""
    _check(text_case(name, size), size, record_property)
