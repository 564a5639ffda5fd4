"""Every kind of rule is registered, documented, and declared as its schema describes."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest

from shadowdiff.rules import KINDS, declaration, kinds, parse_rules, rule_schema
from shadowdiff.rules.kinds.kind import RuleKind, ValueRuleKind
from tests.unit.rules.test_declare import DECLARED

DOCS = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()
MODULES = [name for _, name, _ in pkgutil.iter_modules(kinds.__path__) if name != "kind"]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_of_a_kind_is_registered(name: str) -> None:
    """A module in `shadowdiff/rules/kinds` holds exactly one kind, which `KINDS` lists under its name."""
    module = import_module(f"shadowdiff.rules.kinds.{name}")
    found = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, RuleKind) and one not in {RuleKind, ValueRuleKind}
    ]
    assert [type(KINDS[name])] == found


def test_the_registry_has_no_kind_without_a_module() -> None:
    """Each kind has a module of its name."""
    assert sorted(MODULES) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_has_its_row_in_the_docs(kind: RuleKind) -> None:
    """docs/rules.md has the example and the description of each kind, word for word."""
    row = f"| `{kind.name}` | {kind.example} | {kind.covers} |"
    assert row in DOCS, f"docs/rules.md lacks this row:\n{row}"


def test_every_kind_has_a_declaration_that_is_read_and_written() -> None:
    """test_declare.py has an example of each kind."""
    assert set(KINDS) == {parse_rules([declared])[0].kind for declared in DECLARED}


@pytest.mark.parametrize("declared", DECLARED, ids=lambda declared: next(iter(declared)))
def test_the_schema_accepts_what_the_parser_reads(declared: dict[str, object]) -> None:
    """The schema accepts the full and the shortest declaration."""
    for item in (declared, declaration(parse_rules([declared])[0])):
        jsonschema.validate(item, rule_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_schema_and_the_parser_know_the_same_options(kind: RuleKind) -> None:
    """A required option is one of the options."""
    assert {*kind.required} <= {*kind.options}
