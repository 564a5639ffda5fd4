"""The files, layers and packages in ARCHITECTURE.md and CONTRIBUTING.md exist, and the glossary stays short."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "shadowdiff"


def section(title: str) -> str:
    """Return the text below a heading."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_file_that_the_page_names_exists() -> None:
    """A path is relative to the package or to the repository."""
    named = set(re.findall(r"`((?:[\w-]+/)+[\w.-]*)`", PAGE))
    assert len(named) > 40
    assert [] == sorted(path for path in named if not (PACKAGE / path).exists() and not (ROOT / path).exists())


def test_every_file_that_contributing_names_exists() -> None:
    """A path may leave out its first folders; NAME is a placeholder."""
    named = set(re.findall(r"`((?:[\w-]+/)*[\w-]+(?:/|\.[a-z]+))`", CONTRIBUTING))
    assert len(named) > 60
    held = [
        f"/{path.relative_to(ROOT)}"
        for folder in (PACKAGE, ROOT / "tests", ROOT / "fixtures" / "pairs")
        for path in folder.rglob("*")
    ]
    missing = {path for path in named if "NAME" not in path and not (ROOT / path).exists()}
    assert [] == sorted(path for path in missing if not any(one.endswith(f"/{path.rstrip('/')}") for one in held))


def test_contributing_lists_every_folder_of_tests() -> None:
    """The table of tiers names each folder that has tests, and no other."""
    held = {file.relative_to(ROOT / "tests").parts[0] for file in (ROOT / "tests").rglob("test_*.py")}
    assert held == set(re.findall(r"^\| `tests/(\w+)/` \|", CONTRIBUTING, re.MULTILINE))


def test_the_drawing_names_modules_that_exist() -> None:
    """The drawing names modules without their suffix."""
    drawing = section("Overview").split("```")[1]
    named = set(re.findall(r"\b((?:intake|pairing|worker|verdict|report)/\w+)", drawing))
    assert len(named) > 3
    assert [] == sorted(path for path in named if not (PACKAGE / f"{path}.py").exists())


def test_the_layers_are_those_that_are_checked() -> None:
    """The order is the same, and every package is in one layer."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    checked = [set(layer.split(" | ")) for layer in contracts[0]["layers"]]
    rows = re.findall(r"^\| \d+ \| (.*?) \|", section("Layers"), re.MULTILINE)
    assert checked == [set(re.findall(r"`(\w+)`", row)) for row in rows]
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert packages == set().union(*checked)


def test_the_glossary_has_at_most_thirty_words() -> None:
    """Each word occurs once."""
    cells = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", section("Words"), re.MULTILINE)[1:]
    words = [word for cell in cells for word in cell.split(", ")]
    assert len(words) == len(set(words))
    assert len(words) <= 30
