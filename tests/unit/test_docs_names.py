"""Settings, metrics, commands with options, and API paths on any page exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from shadowdiff.cli import COMMANDS, main
from shadowdiff.config.validate import keys_at
from shadowdiff.telemetry.metrics import METRICS
from shadowdiff.web.api import OPERATIONS
from shadowdiff.web.operation import PREFIX

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
REFERENCE = TEXT["docs/configuration.md"]
_SECTIONS = [str(key) for key in keys_at(())]
_SETTING = re.compile(rf"`((?:{'|'.join(_SECTIONS)})(?:\[\])?\.[a-z_0-9.\[\]]+)`")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


@pytest.mark.parametrize("page", TEXT)
def test_a_setting_that_a_page_names_is_in_the_reference(page: str) -> None:
    """A renamed setting is renamed on every page."""
    named = set(_SETTING.findall(TEXT[page]))
    known = {
        name for name in named if f"`{name}`" in REFERENCE or f"`{name}." in REFERENCE or f"`{name}[]" in REFERENCE
    }
    assert set() == named - known


@pytest.mark.parametrize("page", TEXT)
def test_a_metric_that_a_page_names_exists(page: str) -> None:
    """A query for a missing metric shows nothing."""
    named = set(re.findall(r"\bshadowdiff_[a-z_]+(?=[`{\[ )\n])", TEXT[page])) - {
        "shadowdiff_recorder",
        "shadowdiff_mirror",
    }
    assert set() == {name for name in named if _SUFFIX.sub("", name) not in METRICS}


@pytest.mark.parametrize("page", TEXT)
def test_an_address_of_the_api_that_a_page_names_is_served(page: str) -> None:
    """Placeholders in braces match any value."""
    served = {re.sub(r"\{\w+\}", "{}", PREFIX + operation.path) for operation in OPERATIONS} | {
        f"{PREFIX}/openapi.json"
    }
    named = set(re.findall(rf"`?({PREFIX}/[\w/{{}}.-]*[\w}}])", TEXT[page]))
    assert set() == {name for name in named if re.sub(r"\{\w+\}", "{}", name) not in served}


def command(words: list[str]) -> click.Command:
    """Return the command that these words start with."""
    found: click.Command = main
    while words and isinstance(found, click.Group):
        inner = found.get_command(click.Context(found), words[0])
        if inner is None:
            break
        found, words = inner, words[1:]
    return found


def commands(text: str) -> set[str]:
    """Return the text after `shadowdiff` in each command of a page, in backticks or as a line of a block."""
    fenced = re.findall(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    blocks = [block for kind, block in fenced if kind in {"", "sh", "console", "bash"}]
    lines = re.findall(r"^ *(?:\$ )?(?:python -m )?shadowdiff ([a-z].*)$", "\n".join(blocks), re.MULTILINE)
    return {*lines, *re.findall(r"`shadowdiff ([a-z][^`\n]*)`", text)}


@pytest.mark.parametrize("page", TEXT)
def test_a_command_that_a_page_names_exists_with_its_options(page: str) -> None:
    """A command that is copied from a page runs."""
    for line in commands(TEXT[page]):
        words = re.split(r" [#|>&]", line)[0].split()
        assert words[0] in COMMANDS, f"{page}: shadowdiff {line}"
        options = {option for given in command(words).params for option in given.opts}
        unknown = {word.partition("=")[0].strip("[],") for word in words if word.startswith("--")} - options
        assert set() == unknown - {"--help"}, f"{page}: shadowdiff {line}"


def test_commands_are_found_where_pages_write_them() -> None:
    """The test finds commands in backticks and blocks, so the checks of commands are effective."""
    named = {line.split()[0] for text in TEXT.values() for line in commands(text)}
    assert {*COMMANDS} - {"compare", "serve"} <= named
