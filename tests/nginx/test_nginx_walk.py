"""The commands of docs/nginx.md run unchanged, except for ports."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import needs_tool
from tests.docs_commands import DocsCommands, blocks, free_ports, running_commands

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = "nginx.md"
PORTS = ["8000", "8001", "8002", "8080", "8081", "8082", "9090"]


@pytest.fixture
def docs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DocsCommands]:
    """Copy the files that the page names, and put NGINX at the path that the page uses."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{Path(needs_tool('nginx')).parent}")
    for part in ("recorder/python", "examples/nginx", "examples/without-a-mesh"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    docs_folder = DocsCommands(tmp_path, free_ports(PORTS))
    docs_folder.edit("examples/nginx/shadowdiff.yaml", "examples/nginx/nginx.conf")
    yield from running_commands(docs_folder)


def test_the_page_shows_lines_of_the_tested_configuration() -> None:
    """Each line of the page's block is in a tested configuration file."""
    conf = (ROOT / "examples/nginx/nginx.conf").read_text()
    held = {" ".join(line.split()) for line in conf.splitlines()}
    shown, *_conditions = blocks(PAGE, "nginx")  # `test_nginx.py` runs the conditions
    assert {line.strip() for line in shown.text.splitlines()} - {"…"} <= held


@pytest.mark.timeout(120)
def test_the_whole_page_behind_nginx(docs_folder: DocsCommands) -> None:
    """The requests of fifty users form fifty pairs, and in one of ten the price is text."""

    def settle_first(commands: str) -> None:
        if "targets shop" in commands:
            docs_folder.when(
                "shop", lambda books: books["pairs"]["ready"] == 50 and not books["pairs"]["pending"], "pairs"
            )

    docs_folder.all(blocks(PAGE), settle_first)
    books = docs_folder.api("ledger?target=shop")
    assert (True, 45, 5, 1.0) == (
        books["balanced"], books["pairs"]["match"], books["pairs"]["mismatch"], books["coverage"]["ratio"]
    )  # fmt: skip
    assert re.search(r'price is a string in v2, a number in v1: ([0-9]+) → "\1"', docs_folder.output_of("samples"))
