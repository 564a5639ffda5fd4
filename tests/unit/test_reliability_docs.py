"""docs/reliability.md names only existing tests, and every fault test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = re.compile(r"\b(tests/[\w/]+\.py)::(test_\w+)")
COMMAND = re.compile(r"scripts/test [^`\n]*?(tests/[\w/]+(?:\.py)?)")


def held_by(file: Path) -> set[tuple[str, str]]:
    """Return the tests in a file, as the page names them."""
    found = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    functions = (node for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {(str(file.relative_to(ROOT)), each.name) for each in functions if each.name.startswith("test_")}


def test_every_test_that_the_page_names_exists() -> None:
    """A test exists for each guarantee on the page."""
    named = set(NAMED.findall(PAGE))
    assert named
    assert set() == {name for name in named if name not in held_by(ROOT / name[0])}


def test_every_test_of_a_fault_is_named() -> None:
    """The page lists each fault test."""
    held = {test for file in (ROOT / "tests" / "faults").glob("test_*.py") for test in held_by(file)}
    assert held
    assert set() == held - set(NAMED.findall(PAGE))


def test_every_command_of_the_page_runs_files_that_exist() -> None:
    """A command that is copied from the page runs."""
    commands = COMMAND.findall(PAGE)
    assert commands
    assert [] == [path for path in commands if not (ROOT / path).exists()]
