"""Relations have names, in the order of their specificity."""

from __future__ import annotations

from shadowdiff.model.relation import Relation, relation_names


def test_names_are_in_lower_case_and_in_order() -> None:
    """The API shows these names."""
    assert relation_names(Relation.CONSTANT | Relation.OWN_ORIGIN) == ["own_origin", "constant"]
    assert relation_names(0) == []
