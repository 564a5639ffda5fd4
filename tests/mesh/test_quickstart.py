"""The walk of docs/quickstart.md: its commands are run as they stand, but for the ports and where the clone is."""

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
from tests.walk import Walk, blocks, free_ports, walking

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = "quickstart.md"
EXAMPLE = "examples/quickstart"
PORTS = ["8080", "8081", "8082", "9090", "9001", "9002", "9901", "10000", "10001"]
WITHIN_S = 60


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """Lay out a clone: what the page names of it, as it stands in the tree."""
    for part in ("recorder", "deploy", EXAMPLE, "scripts"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    walk = Walk(tmp_path, free_ports(PORTS))
    walk.edit(f"{EXAMPLE}/shadowdiff.yaml", f"{EXAMPLE}/envoy.env")
    yield from walking(walk)


def test_the_page_shows_the_configuration_that_is_there() -> None:
    """The YAML in the text is the example's, key by key."""
    (shown,) = blocks(PAGE, "yaml")
    assert yaml.safe_load((ROOT / EXAMPLE / "shadowdiff.yaml").read_text()) == yaml.safe_load(shown.text)


def test_every_block_is_walked_by_a_test() -> None:
    """No command that nobody tries."""
    assert {"clone", "demo", "server", "server 10000", "instead 10000", "fails 1", "says 0 1", ""} == {
        block.how for block in blocks(PAGE)
    }


@pytest.mark.skipif(not (ROOT / ".git").exists() or shutil.which("git") is None, reason="no repository, or no git")
def test_the_clone_has_what_the_page_names(tmp_path: Path) -> None:
    """From this repository; it is all that is needed."""
    (block,) = [block for block in blocks(PAGE) if block.how == "clone"]
    told = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    script = block.text.replace("REPOSITORY", f"file://{ROOT}") + "ls scripts/demo docs/README.md\n"
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        env=os.environ | told,
        capture_output=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert (0, b"docs/README.md\nscripts/demo\n") == (done.returncode, done.stdout), done.stderr


@pytest.mark.timeout(150)
def test_the_demo_finds_what_is_planted_and_says_so(walk: Walk) -> None:
    """The script runs the command with its arguments; the command prints what the page shows, figures apart."""
    (block,) = [block for block in blocks(PAGE) if block.how == "demo"]
    assert 'exec .venv/bin/shadowdiff demo "$@"' == (ROOT / "scripts/demo").read_text().splitlines()[-1]
    walk.run(block.text.replace("./scripts/demo", "shadowdiff demo --any-port"))
    text = (ROOT / "docs" / PAGE).read_text()
    shown = text.partition("```\n500 requests")[2].partition("```")[0]
    figures = re.compile(r"[0-9][0-9.,]*")
    assert figures.sub("N", "500 requests" + shown) == figures.sub("N", walk.output_of("demo"))


def _walked(walk: Walk, proxy: str) -> Any:
    """Walk from the first server to the end, with one of the two proxies; return the books."""
    others = {"clone", "demo", "instead 10000" if proxy == "envoy" else "server 10000"}
    chosen = [block._replace(how="server 10000") if block.how.startswith("instead") else block
              for block in blocks(PAGE) if block.how not in others]  # fmt: skip
    asked = 0

    def arrive_first(commands: str) -> None:
        nonlocal asked
        if "shadowdiff" in commands and asked:
            walk.when("mine", lambda books: _all_arrived(books, asked), f"{asked} copies to be done with")
        asked += 201 if "products/7" in commands else 200 * ("curl" in commands)

    walk.all(chosen, arrive_first)
    return walk.api("ledger?target=mine")


def _all_arrived(books: Any, asked: int) -> bool:
    """Whether what came is compared; Envoy's bounds may turn some away where the machine holds the service up."""
    still = books["pairs"]["pending"] + books["mirrored"]["in_flight"] + books["recorded"]["in_flight"]
    return books["pairs"]["ready"] >= asked // 2 and not still


@pytest.mark.timeout(300)
@pytest.mark.parametrize("proxy", ["envoy", "stand-in"])
def test_the_whole_way_to_a_verdict_on_a_v2_of_ones_own(proxy: str, walk: Walk) -> None:
    """Users get v1's answers, a rule takes away what does not matter, and what is left is v2's own faults."""
    if proxy == "envoy" and find_envoy() is None:
        pytest.skip("no Envoy runs on this machine")
    books = _walked(walk, proxy)
    assert books["balanced"]
    assert 401 >= books["mirrored"]["received"] == books["mirrored"]["forwarded"]
    assert books["pairs"]["ignored"] > 0 < books["pairs"]["mismatch"]
    assert '"sku":"SD-00007"' in walk.output_of("products/7")
    assert "generatedAt" in walk.output_of("rules suggest")
    assert "v2 left out shipping" in walk.output_of("--limit 3")
    assert walk.output_of("verdict --target").startswith("fail")
    (target,) = yaml.safe_load(walk.output_of("rules export"))["targets"]
    assert [{"path": "$.meta.generatedAt", "time": "10m"}] == [rule["tolerance"] for rule in target["rules"]]
