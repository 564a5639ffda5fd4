"""The walk of docs/without-a-mesh.md: its commands are run as they stand there, but for the ports."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.recorder.stub import until
from tests.walk import Walk, blocks, free_ports, walking

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PORTS = ["8000", "8001", "8080", "8081", "8082", "9090"]


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """Copy what the document names into a folder of its own."""
    for part in ("recorder/python", "examples/without-a-mesh"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    walk = Walk(tmp_path, free_ports(PORTS))
    walk.edit("examples/without-a-mesh/shadowdiff.yaml")
    yield from walking(walk)


def settled(walk: Walk) -> bool:
    """Whether every copy and record has found its place in the books."""
    books = walk.api("ledger?target=shop")
    return books["recorded"]["received"] == 302 and books["pairs"]["mismatch"] + books["pairs"]["match"] == 301


def test_the_document_shows_the_configuration_that_is_there() -> None:
    """The YAML in the text is the example's, key by key."""
    (shown,) = blocks("without-a-mesh.md", "yaml")
    assert yaml.safe_load((ROOT / "examples/without-a-mesh/shadowdiff.yaml").read_text()) == yaml.safe_load(shown.text)


@pytest.mark.timeout(180)
def test_the_whole_way_without_a_mesh(walk: Walk) -> None:
    """From the copied file to the verdict: what users got is what v1 says, and v2's fault is found in full."""

    def settle_first(commands: str) -> None:
        if "targets shop" in commands:
            until(lambda: settled(walk), "every pair to be settled")

    walk.all(blocks("without-a-mesh.md"), settle_first)
    assert '{"id": 7, "name": "Product 7", "price": 10}' in walk.output_of("products/7")
    books = walk.api("ledger?target=shop")
    assert books["balanced"]
    assert (301, 302) == (books["mirrored"]["received"], books["recorded"]["received"])
    assert (271, 30) == (books["pairs"]["match"], books["pairs"]["mismatch"])
    assert 1 == books["recorded"]["ineligible"]
    assert 1.0 == books["coverage"]["ratio"]
    told = walk.output_of("samples")
    assert re.search(r'v2 answered price as a string "([0-9]+)" where v1 answered a number \1\b', told), told
    assert "fail" in walk.output_of("verdict")
