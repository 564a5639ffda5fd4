"""Compare every folder under fixtures/pairs as one case. A new case needs no Python code."""

from __future__ import annotations

import pytest

from tests.golden.cases import load, names


@pytest.mark.parametrize("name", names())
def test_a_golden_pair_compares_as_expected(name: str) -> None:
    """Each key of the folder's expected.json equals the result of the comparison."""
    assert load(name).complaint() == ""


def test_there_are_enough_golden_pairs() -> None:
    """There are at least this many golden pairs."""
    assert len(names()) >= 150
