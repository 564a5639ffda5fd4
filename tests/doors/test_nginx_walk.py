"""The walk of docs/nginx.md: its commands are run as they stand there, but for the ports."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import needs_tool
from tests.walk import Walk, blocks, free_ports, walking

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = "nginx.md"
PORTS = ["8000", "8001", "8002", "8080", "8081", "8082", "9090"]


@pytest.fixture
def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Walk]:
    """Lay out what the page names, with NGINX where it looks for it."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{Path(needs_tool('nginx')).parent}")
    for part in ("recorder/python", "examples/nginx", "examples/without-a-mesh"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    walk = Walk(tmp_path, free_ports(PORTS))
    walk.edit("examples/nginx/shadowdiff.yaml", "examples/nginx/nginx.conf")
    yield from walking(walk)


def test_the_page_shows_what_the_configuration_says() -> None:
    """Each line of the block is in the file that a test runs."""
    conf = (ROOT / "examples/nginx/nginx.conf").read_text()
    held = {" ".join(line.split()) for line in conf.splitlines()}
    (shown,) = blocks(PAGE, "nginx")
    assert {line.strip() for line in shown.text.splitlines()} - {"…"} <= held


@pytest.mark.timeout(120)
def test_the_whole_way_behind_nginx(walk: Walk) -> None:
    """Fifty users, fifty pairs, one price in ten as text."""

    def settle_first(commands: str) -> None:
        if "targets shop" in commands:
            walk.when("shop", lambda books: books["pairs"]["ready"] == 50 and not books["pairs"]["pending"], "pairs")

    walk.all(blocks(PAGE), settle_first)
    books = walk.api("ledger?target=shop")
    assert (True, 45, 5, 1.0) == (
        books["balanced"], books["pairs"]["match"], books["pairs"]["mismatch"], books["coverage"]["ratio"]
    )  # fmt: skip
    assert re.search(
        r'v2 answered price as a string "([0-9]+)" where v1 answered a number \1\b', walk.output_of("samples")
    )
