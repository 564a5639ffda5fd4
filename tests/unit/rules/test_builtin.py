"""The built-in rules have names and labels of their own, and docs/rules.md lists them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shadowdiff.rules.builtin import BUILT_IN, BUILT_IN_RULES, BY_LABEL, BY_NAME, BuiltInRule

DOCS = (Path(__file__).parents[3] / "docs" / "rules.md").read_text(encoding="utf-8")


def test_names_and_labels_are_unique() -> None:
    """Each rule has its own name and label."""
    assert len(BUILT_IN_RULES) == len(BY_LABEL) == len(BY_NAME)


@pytest.mark.parametrize("rule", BUILT_IN_RULES, ids=lambda rule: rule.name)
def test_each_rule_has_a_row_in_the_docs(rule: BuiltInRule) -> None:
    """docs/rules.md has the name and the sentence of each rule."""
    assert f"| `{rule.name}` | {rule.docs} |" in DOCS
    assert rule.label.startswith(BUILT_IN)
    assert re.fullmatch("[a-z_]+", rule.name)
