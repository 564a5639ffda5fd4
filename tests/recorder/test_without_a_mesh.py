"""Run the commands of docs/without-a-mesh.md unchanged, except for ports."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.docs_commands import DocsCommands, blocks, free_ports, running_commands
from tests.recorder.stub import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PORTS = ["8000", "8001", "8080", "8081", "8082", "9090"]


@pytest.fixture
def docs_folder(tmp_path: Path) -> Iterator[DocsCommands]:
    """Copy the files that the page names into a new folder."""
    for part in ("recorder/python", "examples/without-a-mesh"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    docs_folder = DocsCommands(tmp_path, free_ports(PORTS))
    docs_folder.edit("examples/without-a-mesh/shadowdiff.yaml")
    yield from running_commands(docs_folder)


def settled(docs_folder: DocsCommands) -> bool:
    """Return whether the ledger contains every copy and record."""
    books = docs_folder.api("ledger?target=shop")
    return books["recorded"]["received"] == 302 and books["pairs"]["mismatch"] + books["pairs"]["match"] == 301


def test_the_document_shows_the_example_configuration() -> None:
    """The YAML on the page equals the example, key by key."""
    (shown,) = blocks("without-a-mesh.md", "yaml")
    assert yaml.safe_load((ROOT / "examples/without-a-mesh/shadowdiff.yaml").read_text()) == yaml.safe_load(shown.text)


@pytest.mark.timeout(300)
def test_the_whole_page_without_a_mesh(docs_folder: DocsCommands) -> None:
    """The page's commands, from copying the recorder to the verdict, find v2's difference. Users get v1's responses."""

    def settle_first(commands: str) -> None:
        if "targets shop" in commands:
            until(lambda: settled(docs_folder), "every pair to be compared")

    docs_folder.all(blocks("without-a-mesh.md"), settle_first)
    assert '{"id": 7, "name": "Product 7", "price": 10}' in docs_folder.output_of("products/7")
    books = docs_folder.api("ledger?target=shop")
    assert books["balanced"]
    assert (301, 302) == (books["mirrored"]["received"], books["recorded"]["received"])
    assert (271, 30) == (books["pairs"]["match"], books["pairs"]["mismatch"])
    assert 1 == books["recorded"]["ineligible"]
    assert 1.0 == books["coverage"]["ratio"]
    output = docs_folder.output_of("samples")
    assert re.search(r'price is a string in v2, a number in v1: ([0-9]+) → "\1"', output), output
    assert "fail" in docs_folder.output_of("verdict")
