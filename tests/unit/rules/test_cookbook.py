"""docs/cookbook.md: every row of its tables is compared under its recipe, and is what the row says."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shadowdiff.compare import Limits, compare
from shadowdiff.model import Observation, Pair, Result, Side
from shadowdiff.rules import compile_rules, lint_rules, parse_rules

DOCUMENT = (Path(__file__).parents[3] / "docs/cookbook.md").read_text(encoding="utf-8")
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_RECIPE = re.compile(r"^## (.+?)$(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| ([^|`]+?) \| (`.+`) \| (`.+`) \| `(\w+)` \|$", re.MULTILINE)
RECIPES: dict[str, str] = dict(_RECIPE.findall(DOCUMENT))


def rules_of(title: str) -> list[dict[str, Any]]:
    """Return a recipe's rules as they stand there."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", RECIPES[title], re.MULTILINE | re.DOTALL)
    return yaml.safe_load(block)


def answer(side: Side, cell: str) -> Observation:
    """Return what a cell says: a status, headers, a body."""
    *facts, body = re.findall(r"`([^`]+)`", cell)
    headers = {name: value for name, _, value in (fact.partition(": ") for fact in facts if not fact.isdigit())}
    headers.setdefault("content-type", "application/json" if body[0] in "{[" else "text/plain")
    sent = body.replace("↵", "\n").encode()
    return Observation(
        side=side,
        target="shop",
        id="",
        id_source="",
        method="GET",
        path="/",
        host="shop",
        status=next((int(fact) for fact in facts if fact.isdigit()), 200),
        headers=tuple((name.encode(), value.encode()) for name, value in headers.items()),
        body=sent,
        body_bytes=len(sent),
    )


def judged(title: str, one: str, other: str, *, rules: bool = True, now: dt.datetime = NOW) -> Result:
    """Return the result of a row's pair, on the recipe's own route."""
    declared = rules_of(title)
    route = next((rule["routes"][0] for rule in declared if "routes" in rule), "GET /")
    pair = Pair(
        key=b"",
        target="shop",
        route=route,
        primary=answer(Side.PRIMARY, one),
        candidate=answer(Side.CANDIDATE, other),
    )
    return compare(pair, compile_rules(parse_rules(declared if rules else []), now), Limits()).result


@pytest.mark.parametrize("title", RECIPES)
def test_every_pair_of_a_recipe_is_what_its_row_says(title: str) -> None:
    """What is covered, what is still found, and what is hidden as well; without the recipe all of it differs."""
    rows = _ROW.findall(RECIPES[title])
    assert len(rows) == RECIPES[title].count("\n| ") - 1, "a row is not written as the others are"
    assert [(name, said) for name, _, _, said in rows] == [
        (name, str(judged(title, one, other))) for name, one, other, _ in rows
    ]
    assert {Result.MISMATCH} == {judged(title, one, other, rules=False) for _, one, other, _ in rows}


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_says_what_it_hides_and_what_not_to_do(title: str) -> None:
    """A row for the case, one that is still found, a reason in each rule, and no warning."""
    rows = {name: said for name, _, _, said in _ROW.findall(RECIPES[title])}
    assert rows.pop("the case") in {"ignored", "incomparable"}
    assert "mismatch" in rows.values()
    covered = {name for name, said in rows.items() if said != "mismatch"}
    assert {name for name in rows if name.startswith("hidden")} == covered
    assert {"ignored"} >= {rows[name] for name in covered}
    assert "\n\nNot " in RECIPES[title]
    assert all(rule.get("reason") for rule in rules_of(title))
    assert [] == list(lint_rules(parse_rules(rules_of(title)), now=NOW))


def test_there_are_recipes_for_every_kind_of_rule() -> None:
    """Whoever looks for a kind finds how it is meant."""
    used = {key for title in RECIPES for rule in rules_of(title) for key in rule}
    kinds = {"ignore", "tolerance", "unordered", "key", "mask", "equivalent", "rename", "subset", "schema", "require"}
    assert kinds <= used
    assert len(RECIPES) >= 20


def test_a_recipe_that_expires_hides_nothing_afterwards() -> None:
    """The day that the recipe names is the last one."""
    title = "A fault that you live with for a while"
    _, one, other, _ = _ROW.findall(RECIPES[title])[0]
    assert Result.IGNORED == judged(title, one, other)
    assert Result.MISMATCH == judged(title, one, other, now=dt.datetime(2026, 7, 1, tzinfo=dt.UTC))
