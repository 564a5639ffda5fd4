"""On many small random cases, the comparison gives the same result as an exhaustive search."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.differential.chunks import run_chunk, run_with_progress, summary
from tests.differential.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT = 3_000
LONG = 1_000_000


def test_a_few_thousand_cases_agree_with_the_reference(record_property: Callable[[str, object], None]) -> None:
    """Results equal those of the reference, no case raises, and adding a rule never turns `ignored` into `mismatch`.

    The same values have the same result in each format, and streams are joined as the reference joins them.
    """
    done = run_chunk(range(SHORT))
    record_property("figures", f"{done.results.total():,} cases: {dict(done.results)}")
    assert min(done.results[result] for result in ("match", "ignored", "mismatch")) >= SHORT // 20
    assert not done.failures, summary(done)
    assert {(name, result) for name in FORMATS for result in ("match", "ignored", "mismatch")} <= done.formats.keys()


@pytest.mark.deep
@pytest.mark.timeout(4 * 3600)
def test_a_million_cases_agree_with_the_reference(record_property: Callable[[str, object], None]) -> None:
    """Before a release, a million cases on all cores agree with the reference."""
    done = run_with_progress(range(SHORT, SHORT + LONG), os.cpu_count() or 1)
    record_property("figures", f"{done.results.total():,} cases: {dict(done.results)}")
    assert not done.failures, summary(done)
