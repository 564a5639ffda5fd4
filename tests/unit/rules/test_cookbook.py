"""Every row of the tables in docs/cookbook.md has the claimed result."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shadowdiff.model import Observation, Result, Side
from shadowdiff.rules import KINDS, lint_rules, parse_rules
from tests.fakes.responses import compared, response

DOCUMENT = (Path(__file__).parents[3] / "docs/cookbook.md").read_text(encoding="utf-8")
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_RECIPE = re.compile(r"^## (.+?)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| ([^|`]+?) \| (`.+`) \| (`.+`) \| `(\w+)` \|$", re.MULTILINE)
RECIPES: dict[str, str] = dict(_RECIPE.findall(DOCUMENT))


def rules_of(title: str) -> list[dict[str, Any]]:
    """Return the rules of a recipe."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", RECIPES[title], re.MULTILINE | re.DOTALL)
    return yaml.safe_load(block)


def answer(side: Side, cell: str) -> Observation:
    """Return the response in a table cell: a status, headers and a body."""
    *facts, body = re.findall(r"`([^`]+)`", cell)
    headers = {name: value for name, _, value in (fact.partition(": ") for fact in facts if not fact.isdigit())}
    headers.setdefault("content-type", "application/json" if body[0] in "{[" else "text/plain")
    status = next((int(fact) for fact in facts if fact.isdigit()), 200)
    fields = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return response(side, body.replace("↵", "\n").encode(), fields, status=status, path="/")


def judged(title: str, one: str, other: str, *, rules: bool = True, now: dt.datetime = NOW) -> Result:
    """Return the result of a row's pair on the route of the recipe."""
    declared = rules_of(title)
    route = next((rule["routes"][0] for rule in declared if "routes" in rule), "GET /")
    sides = answer(Side.PRIMARY, one), answer(Side.CANDIDATE, other)
    return compared(*sides, *(declared if rules else []), route=route, now=now).result


@pytest.mark.parametrize("title", RECIPES)
def test_every_pair_of_a_recipe_has_the_result_of_its_row(title: str) -> None:
    """Each pair is covered, still found, or also hidden. Without the recipe all pairs differ."""
    rows = _ROW.findall(RECIPES[title])
    assert len(rows) == RECIPES[title].count("\n| ") - 1, "a row is not written as the others are"
    assert [(name, said) for name, _, _, said in rows] == [
        (name, str(judged(title, one, other))) for name, one, other, _ in rows
    ]
    assert {Result.MISMATCH} == {judged(title, one, other, rules=False) for _, one, other, _ in rows}


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_says_what_it_hides_and_what_not_to_do(title: str) -> None:
    """Each recipe has a covered case, one that is still found, a reason in each rule, and no warning."""
    rows = {name: said for name, _, _, said in _ROW.findall(RECIPES[title])}
    assert rows.pop("the case") in {"ignored", "incomparable"}
    assert "mismatch" in rows.values()
    covered = {name for name, said in rows.items() if said != "mismatch"}
    assert {name for name in rows if name.startswith("hidden")} == covered
    assert {"ignored"} >= {rows[name] for name in covered}
    assert "\n\nDo not " in RECIPES[title]
    assert all(rule.get("reason") for rule in rules_of(title))
    assert [] == list(lint_rules(parse_rules(rules_of(title)), now=NOW))


def test_every_kind_of_rule_has_a_recipe() -> None:
    """The recipe shows the intended use of the kind."""
    used = {key for title in RECIPES for rule in rules_of(title) for key in rule}
    assert set(KINDS) <= used
    assert len(RECIPES) >= 20


def test_a_recipe_that_expires_hides_nothing_afterwards() -> None:
    """The date in the recipe is the last day on which it applies."""
    title = "A known fault, until its fix"
    _, one, other, _ = _ROW.findall(RECIPES[title])[0]
    assert Result.IGNORED == judged(title, one, other)
    assert Result.MISMATCH == judged(title, one, other, now=dt.datetime(2026, 7, 1, tzinfo=dt.UTC))
