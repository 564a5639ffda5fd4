"""`shadowdiff rules` against a served API: what it prints, and how it ends."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import fakeredis
import pytest
import yaml
from click.testing import CliRunner, Result

from shadowdiff.cli import main
from shadowdiff.store import Store
from shadowdiff.web import create_web
from shadowdiff.web.rule_book import RuleBook
from tests.fakes.serving import served
from tests.fakes.shop import NOW_MS, open_shop, web_state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULES = [{"ignore": "$.price", "reason": "sale"}, {"ignore": "$.served_at", "reason": "clock"}]


@pytest.fixture
def url() -> Iterator[str]:
    """Serve a shop with planted faults, and a book of rules in memory."""
    book = RuleBook(Store(fakeredis.FakeAsyncRedis()), lambda: NOW_MS, lambda: None)
    with served(create_web(replace(web_state(open_shop()), rule_book=book))) as address:
        yield address


def run(url: str, *arguments: str) -> Result:
    """Run a command of the group."""
    return CliRunner().invoke(main, ["rules", *arguments, "--url", url])


def test_a_preview_says_what_changes_what_vanishes_and_what_is_hidden(url: str, tmp_path: Path) -> None:
    """From a list of rules, and from a whole configuration."""
    for name, content in (("list", RULES), ("config", {"targets": [{"name": "shop", "rules": RULES}]})):
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(content))
        shown = run(url, "preview", str(file))
        assert shown.exit_code == 0, shown.output
        lines = [re.sub(r"\s{2,}", " | ", line.strip()) for line in shown.output.splitlines()]
        assert lines[:4] == [
            "34 samples of shop, the newest that differ",
            "as counted | 34 mismatch",
            "as judged | 20 ignored, 14 mismatch",
            "20 change result; 1 of 4 faults vanish",
        ]
        assert any(line.startswith("vanishes | 20 | GET /products/{id}") for line in lines)
        assert any("by ignore $.price" in line for line in lines)


def test_a_rule_is_added_listed_exported_and_removed(url: str) -> None:
    """It names its author, and its YAML is the configuration's."""
    added = run(url, "add", "{ignore: $.served_at}", "--reason", "clock", "--author", "ada", "--json")
    assert added.exit_code == 0, added.output
    made = json.loads(added.output)
    assert (made["author"], made["rule"]) == ("ada", {"ignore": "$.served_at", "reason": "clock"})
    assert f"{made['id']} by ada" in " ".join(run(url, "list").output.split())
    exported = yaml.safe_load(run(url, "export").output)
    assert exported == {"targets": [{"name": "shop", "rules": [{"ignore": "$.served_at", "reason": "clock"}]}]}
    assert run(url, "remove", made["id"], "--author", "ada").exit_code == 0
    assert run(url, "list").output == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "{ignore: '$['}", "--reason", "x"), "$["),
        (("add", "ignore", "--reason", "x"), "{ignore: $.path}"),
        (("remove", "none", "--author", "ada"), "no rule made here is called 'none'"),
        (("list", "--target", "shoe"), "configured are shop"),
    ],
)
def test_what_is_wrong_ends_with_two_and_says_so(url: str, arguments: tuple[str, ...], said: str) -> None:
    """In one line."""
    failed = run(url, *arguments)
    assert failed.exit_code == 2
    assert said in failed.output


@pytest.mark.parametrize("content", ["just text", "targets: [{name: other}]", "- ignore", "a: ["])
def test_a_file_without_rules_is_refused(url: str, tmp_path: Path, content: str) -> None:
    """Before anything is asked."""
    file = tmp_path / "rules.yaml"
    file.write_text(content)
    failed = run(url, "preview", str(file), "--target", "shop")
    assert failed.exit_code == 2
    assert "rules.yaml" in failed.output
