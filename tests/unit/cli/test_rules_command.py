"""Test `shadowdiff rules` against a served API: its output and its exit status."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import fakeredis
import pytest
import yaml
from click.testing import CliRunner, Result

from shadowdiff.cli import main
from shadowdiff.rule_changes.added_rules import RuleBook
from shadowdiff.rules.builtin import BUILT_IN_RULES
from shadowdiff.store import Store
from shadowdiff.web import create_web
from tests.fakes.serving import served
from tests.fakes.shop import NOW_MS, open_shop, replace_parts, web_parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULES = [{"ignore": "$.price", "reason": "sale"}, {"ignore": "$.served_at", "reason": "clock"}]


@pytest.fixture
def url() -> Iterator[str]:
    """Serve a shop with planted faults, and a rule book in memory."""
    book = RuleBook(Store(fakeredis.FakeAsyncRedis()), lambda: NOW_MS, lambda: None)
    with served(create_web(replace_parts(web_parts(open_shop()), book=book))) as address:
        yield address


def run(url: str, *arguments: str) -> Result:
    """Run a subcommand of `rules`."""
    return CliRunner().invoke(main, ["rules", *arguments, "--url", url])


def test_a_preview_shows_results_before_and_after_and_what_would_be_ignored(url: str, tmp_path: Path) -> None:
    """The rules can come from a list or from a whole configuration."""
    for name, content in (("list", RULES), ("config", {"targets": [{"name": "shop", "rules": RULES}]})):
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(content))
        shown = run(url, "preview", str(file))
        assert shown.exit_code == 0, shown.output
        lines = [re.sub(r"\s{2,}", " | ", line.strip()) for line in shown.output.splitlines()]
        assert lines[:4] == [
            "34 newest samples of shop that differ",
            "before | 34 mismatch",
            "after | 20 ignored, 14 mismatch",
            "20 samples change their result; 1 of 4 differences would disappear",
        ]
        assert any(line.startswith("disappears | 20 | GET /products/{id}") for line in lines)
        assert any("by ignore $.price" in line for line in lines)


def test_a_rule_is_added_listed_exported_and_removed(url: str) -> None:
    """The rule has an author, and the exported YAML is valid in the configuration."""
    arguments = ("add", "{ignore: $.served_at}", "--reason", "clock", "--author", "ada", "--json")
    assert "the rule changes 0 of 34 stored samples; to add it anyway, use --yes" in run(url, *arguments).stderr
    added = run(url, *arguments, "--yes")
    assert added.exit_code == 0, added.output
    made = json.loads(added.output)
    assert (made["author"], made["rule"]) == ("ada", {"ignore": "$.served_at", "reason": "clock"})
    assert f"{made['id']} by ada" in " ".join(run(url, "list").output.split())
    exported = yaml.safe_load(run(url, "export").output)
    assert exported == {"targets": [{"name": "shop", "rules": [{"ignore": "$.served_at", "reason": "clock"}]}]}
    assert run(url, "remove", made["id"], "--author", "ada").exit_code == 0
    assert "ada" not in run(url, "list").output


def test_the_built_in_rules_are_listed(url: str) -> None:
    """The list has the label and the name of each built-in rule, in JSON with its state."""
    listed = " ".join(run(url, "list").output.split())
    for rule in BUILT_IN_RULES:
        assert f"shop {rule.label} {rule.name}" in listed
    found = json.loads(run(url, "list", "--json").output)["built_in"]
    assert [(rule.name, True) for rule in BUILT_IN_RULES] == [(one["name"], one["on"]) for one in found]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "{ignore: '$['}", "--reason", "x"), "$["),
        (("add", "ignore", "--reason", "x"), "{ignore: $.path}"),
        (("remove", "none", "--author", "ada"), "there is no added rule with the id 'none'"),
        (("list", "--target", "shoe"), "configured: shop"),
    ],
)
def test_an_error_exits_with_2_and_prints_the_reason(url: str, arguments: tuple[str, ...], said: str) -> None:
    """The message has one line."""
    failed = run(url, *arguments)
    assert failed.exit_code == 2
    assert said in failed.output


@pytest.mark.parametrize("content", ["just text", "targets: [{name: other}]", "- ignore", "a: ["])
def test_a_file_without_rules_is_refused(url: str, tmp_path: Path, content: str) -> None:
    """The command rejects the file before it sends a request."""
    file = tmp_path / "rules.yaml"
    file.write_text(content)
    failed = run(url, "preview", str(file), "--target", "shop")
    assert failed.exit_code == 2
    assert "rules.yaml" in failed.output
