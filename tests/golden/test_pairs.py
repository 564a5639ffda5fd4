"""Every folder under fixtures/pairs is a case; a new case needs no Python."""

from __future__ import annotations

import pytest

from tests.golden.cases import load, names


@pytest.mark.parametrize("name", names())
def test_a_golden_pair_compares_as_expected(name: str) -> None:
    """The comparison says what the folder's expected.json says, key by key."""
    assert load(name).complaint() == ""


def test_there_are_enough_golden_pairs() -> None:
    """The set does not shrink unnoticed."""
    assert len(names()) >= 150
