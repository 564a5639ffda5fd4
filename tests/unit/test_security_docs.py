"""SECURITY.md and docs/access.md name only existing tests, and every file of tests/security."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("SECURITY.md", "docs/access.md")}
PAGE = PAGES["SECURITY.md"]
PLACE = re.compile(r"`?\b(tests/[\w/]*\w(?:\.py)?)(?:::(test_\w+))?")
FILE = re.compile(r"(?<![\w/])(test_\w+\.py)")
COMMAND = re.compile(r"`scripts/test [^`]*?(tests/[\w/]+(?:\.py)?)[^`]*`")


def sayings(page: str) -> list[str]:
    """Return the rows of a page's tables, and its paragraphs, each as one line."""
    parts = page.split("\n\n")
    return [line for part in parts for line in (part.splitlines() if "\n|" in part else [part.replace("\n", " ")])]


def missing(line: str) -> list[str]:
    """Return the missing tests and files that a line names. A file without a folder is in one that the line names."""
    places = [(ROOT / path, test) for path, test in PLACE.findall(line)]
    gone = [str(path.relative_to(ROOT)) for path, _ in places if not path.exists()]
    gone += [test for path, test in places if test and path.is_file() and test not in held_by(path)]
    folders = [path if path.is_dir() else path.parent for path, _ in places]
    return gone + [name for name in FILE.findall(line) if not any((folder / name).is_file() for folder in folders)]


def held_by(file: Path) -> set[str]:
    """Return the tests of a file."""
    found = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_the_page_names_exists(page: str) -> None:
    """A test exists for each guarantee on the page."""
    assert [] == [(line, gone) for line in sayings(PAGES[page]) if (gone := missing(line))]


def test_a_test_that_does_not_exist_is_seen() -> None:
    """The check detects a name that does not exist."""
    assert ["tests/nowhere.py"] == missing("held by `tests/nowhere.py`")
    assert ["test_nothing.py"] == missing("`test_nothing.py` and `test_tls.py` in `tests/security`")
    assert ["test_nothing"] == missing("`tests/security/test_tls.py::test_nothing`")
    assert [] == missing("`tests/security/test_tls.py`, `test_hostile_http2.py`, `tests/integration/intake`")


def test_every_attacker_has_a_row_that_names_its_defense() -> None:
    """Every row of the table names a test or setting; `the same` refers to the row before."""
    table = PAGE.split("## Attackers and defenses")[1].split("\n\n")[1].splitlines()[2:]
    assert len(table) > 15
    assert [] == [row for row in table if not re.search(r"`(?:tests/|test_)|the same", row.rsplit("|", 2)[1])]


def test_every_test_of_security_is_named() -> None:
    """The page lists each security test."""
    held = {file.name for file in (ROOT / "tests" / "security").glob("test_*.py")}
    assert held
    assert set() == held - set(re.findall(r"test_\w+\.py", PAGE))


def test_every_command_of_the_page_runs_files_that_exist() -> None:
    """A command that is copied from the page runs."""
    commands = COMMAND.findall(PAGE)
    assert commands
    assert [] == [path for path in commands if not (ROOT / path).exists()]
