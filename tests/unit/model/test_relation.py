"""A group of changes is described by the most specific relation that says something."""

from __future__ import annotations

import pytest

from shadowdiff.model.relation import NO_RELATION, Relation, most_specific, relation_names

R = Relation


@pytest.mark.parametrize(
    ("mask", "constant", "expected"),
    [
        (0, 0, NO_RELATION),
        (R.CONSTANT, 0, NO_RELATION),
        (R.CONSTANT, R.CONSTANT, R.CONSTANT),
        (R.OFFSET, 0, NO_RELATION),
        (R.OFFSET | R.CONSTANT, R.OFFSET, R.OFFSET),
        (R.OFFSET | R.SCALED, R.OFFSET, R.SCALED),
        (R.OFFSET | R.GENERATED, 0, R.GENERATED),
        (R.TIME_SHIFTED | R.GENERATED, 0, R.GENERATED),
        (R.TIME_SHIFTED | R.GENERATED, R.TIME_SHIFTED, R.TIME_SHIFTED),
        (R.TIME_SHIFTED, 0, R.TIME_SHIFTED),
        (R.SUFFIX | R.TRUNCATED, R.SUFFIX, R.SUFFIX),
        (R.SUFFIX | R.TRUNCATED, R.TRUNCATED, R.TRUNCATED),
        (R.PREFIX | R.CONSTANT, 0, R.PREFIX),
    ],
)
def test_a_relation_without_its_parameter_gives_way(mask: int, constant: int, expected: Relation) -> None:
    """Any two numbers have an offset, so it describes a group only if it is the same in all pairs."""
    assert most_specific(mask, constant) == expected


def test_names_are_in_lower_case_and_in_order() -> None:
    """The API shows these names."""
    assert relation_names(R.CONSTANT | R.OWN_ORIGIN) == ["own_origin", "constant"]
    assert relation_names(0) == []
