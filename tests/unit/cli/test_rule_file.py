"""Commands read rules exactly as the configuration does, including every scalar."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.cli.rule_file import rule_of, rules_in
from shadowdiff.config.document import read_document

SCALARS = [
    "1e-3",
    "no",
    "Yes",
    "on",
    "010",
    "0o7",
    "0x1f",
    "1_000",
    "2027-01-01",
    "12:30:45",
    "~",
    ".inf",
    "1.",
    "true",
]
TARGET = "  - {name: NAME, rules: [{ignore: $.of_NAME}]}\n"


@given(st.lists(st.sampled_from(SCALARS) | st.from_regex(r"[-+0-9.eExo:_]{1,6}", fullmatch=True), max_size=4))
def test_a_list_of_rules_is_read_as_under_a_target(scalars: list[str]) -> None:
    """YAML 1.1 would read `no` as false and `1e-3` as text, but the configuration does not."""
    texts = [f"{{ignore: $.a, reason: {scalar}}}" for scalar in scalars]
    rules = "[" + ", ".join(texts) + "]"
    try:
        expected = read_document("config", f"rules: {rules}".encode()).data["rules"]
    except Exception as error:  # noqa: BLE001 - what a configuration refuses is refused here too
        with pytest.raises(click.UsageError if "ConfigError" in type(error).__name__ else type(error)):
            _read(rules)
        return
    assert expected == _read(rules)
    assert expected == [rule_of(text) for text in texts]


def _read(text: str, target: str | None = None) -> object:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.yaml"
        file.write_text(text)
        return rules_in(file, target)


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("", None, []),
        ("- {ignore: $.a}", None, [{"ignore": "$.a"}]),
        ("rules: [{ignore: $.a}]", "shop", [{"ignore": "$.a"}]),
        ("targets:\n" + TARGET.replace("NAME", "shop"), None, [{"ignore": "$.of_shop"}]),
        ("targets:\n" + TARGET.replace("NAME", "shop") + TARGET.replace("NAME", "cart"), "cart",
         [{"ignore": "$.of_cart"}]),
        ("targets: [{name: shop}]", None, []),
        ("targets: [{name: shop, rules: }]", "shop", []),
    ],
)  # fmt: skip
def test_rules_are_found_in_each_form(text: str, target: str | None, expected: object) -> None:
    """Rules can be a list, a list under `rules`, or those of one target in a configuration."""
    assert expected == _read(text, target)


@pytest.mark.parametrize(
    ("text", "target", "said"),
    [
        ("- {ignore: $.a, ignore: $.b}", None, "[0].ignore: is written twice, first on line 1"),
        ("targets: 5", "shop", "has no target 'shop'"),
        ("targets: [5]", None, "has no target"),
        (
            "targets:\n" + TARGET + TARGET,
            None,
            "has 2 targets: write a file that contains only the rules of one target, as a list",
        ),
        ("5", None, "has no rules: write a list"),
        ("[5]", None, "has no rules: write a list"),
        ("other: 1", None, "has no rules: write a list"),
        ("targets: [{name: shop, rules: 5}]", "shop", "has no rules: write a list"),
        ("- {", None, "is not YAML"),
        ("- {1: a}", None, "write this key as text"),
        ("[" * 10_000, None, "is not YAML: it is nested too deep"),
    ],
)
def test_a_file_without_rules_is_a_usage_error(text: str, target: str | None, said: str) -> None:
    """The command neither prints a traceback nor continues without rules."""
    with pytest.raises(click.UsageError, match=r"rules\.yaml") as caught:
        _read(text, target)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", "5", "- {ignore: $.a}", "{ignore: $.a, ignore: $.b}", "{"])
def test_an_invalid_rule_is_a_usage_error(text: str) -> None:
    """An invalid rule as an argument of `rules add` is a usage error."""
    with pytest.raises(click.UsageError, match="RULE"):
        rule_of(text)
