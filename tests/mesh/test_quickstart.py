"""The commands of docs/quickstart.md run unchanged, except for ports and the location of the clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from shadowdiff.demo.envoy import find_envoy
from tests.docs_commands import DocsCommands, blocks, free_ports, running_commands

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = "quickstart.md"
EXAMPLE = "examples/quickstart"
PORTS = ["8080", "8081", "8082", "9090", "9001", "9002", "9901", "10000", "10001"]
WITHIN_S = 60


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[DocsCommands]:
    """Create a copy of the clone with the files that the page names."""
    for part in ("recorder", "deploy", EXAMPLE, "scripts"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    clone = DocsCommands(tmp_path, free_ports(PORTS))
    clone.edit(f"{EXAMPLE}/shadowdiff.yaml", f"{EXAMPLE}/envoy.env")
    yield from running_commands(clone)


def test_the_page_shows_the_example_configuration() -> None:
    """The YAML on the page equals the example file, key by key."""
    (shown,) = blocks(PAGE, "yaml")
    assert yaml.safe_load((ROOT / EXAMPLE / "shadowdiff.yaml").read_text()) == yaml.safe_load(shown.text)


def test_every_block_is_run_by_a_test() -> None:
    """A test runs every command of the page."""
    assert {"clone", "demo", "server", "server 10000", "instead 10000", "fails 1", "says 0 1", ""} == {
        block.how for block in blocks(PAGE)
    }


@pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="no repository, or no git")
def test_the_repository_contains_the_files_that_the_page_names(tmp_path: Path) -> None:
    """The page needs only files that are in this repository."""
    (block,) = [block for block in blocks(PAGE) if block.how == "clone"]
    git_config = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    script = block.text.replace("REPOSITORY", f"file://{ROOT}") + "ls scripts/demo docs/README.md\n"
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env=os.environ | git_config,
        capture_output=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert (0, b"docs/README.md\nscripts/demo\n") == (done.returncode, done.stdout), done.stderr


@pytest.mark.timeout(300)
def test_the_demo_reports_the_planted_differences(clone: DocsCommands) -> None:
    """The demo script runs `shadowdiff demo` with the script's arguments.

    The output equals the output on the page, except for numbers.
    """
    (block,) = [block for block in blocks(PAGE) if block.how == "demo"]
    assert 'exec .venv/bin/shadowdiff demo "$@"' == (ROOT / "scripts/demo").read_text().splitlines()[-1]
    clone.run(block.text.replace("./scripts/demo", "shadowdiff demo --any-port"))
    text = (ROOT / "docs" / PAGE).read_text()
    shown = text.partition("```\n500 requests")[2].partition("```")[0]
    figures = re.compile(r"[0-9][0-9.,]*")
    assert figures.sub("N", "500 requests" + shown) == figures.sub("N", clone.output_of("demo"))


def _run_page(clone: DocsCommands, proxy: str) -> Any:
    """Run the page's commands from the first server to the end, with one of the two proxies, and return the ledger."""
    others = {"clone", "demo", "instead 10000" if proxy == "envoy" else "server 10000"}
    chosen = [block._replace(how="server 10000") if block.how.startswith("instead") else block
              for block in blocks(PAGE) if block.how not in others]  # fmt: skip
    asked = 0

    def arrive_first(commands: str) -> None:
        nonlocal asked
        if "shadowdiff" in commands and asked:
            clone.when("mine", lambda books: _all_arrived(books, asked), f"{asked} copies to be done with")
        asked += 201 if "products/7" in commands else 200 * ("curl" in commands)

    clone.all(chosen, arrive_first)
    return clone.api("ledger?target=mine")


def _all_arrived(books: Any, asked: int) -> bool:
    """Return whether all requests are compared. On a slow machine, Envoy's limits may reject some requests."""
    still = books["pairs"]["pending"] + books["mirrored"]["in_flight"] + books["recorded"]["in_flight"]
    return books["pairs"]["ready"] >= asked // 2 and not still


@pytest.mark.timeout(480)
@pytest.mark.parametrize("proxy", ["envoy", "stand-in"])
def test_the_whole_page_leads_to_a_verdict_on_your_own_v2(proxy: str, clone: DocsCommands) -> None:
    """Users get v1's responses, a rule removes the noise, and only real differences of v2 remain."""
    if proxy == "envoy" and find_envoy() is None:
        pytest.skip("no Envoy runs on this machine")
    books = _run_page(clone, proxy)
    assert books["balanced"]
    assert 401 >= books["mirrored"]["received"] == books["mirrored"]["forwarded"]
    assert books["pairs"]["ignored"] > 0 < books["pairs"]["mismatch"]
    assert '"sku":"SD-00007"' in clone.output_of("products/7")
    assert "generatedAt" in clone.output_of("rules suggest")
    assert "shipping is missing in v2" in clone.output_of("--limit 3")
    assert clone.output_of("verdict --target").startswith("fail")
    (target,) = yaml.safe_load(clone.output_of("rules export"))["targets"]
    assert [{"path": "$.meta.generatedAt", "time": "10m"}] == [rule["tolerance"] for rule in target["rules"]]
