"""Test what a new user of the command line sees: the overview, the version, and errors after typos."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from shadowdiff.cli import COMMANDS, LazyGroup, main


def _installed() -> list[str]:
    group = main
    assert isinstance(group, LazyGroup)
    return group.list_commands(group.make_context("shadowdiff", ["--version"], resilient_parsing=True))


def test_the_overview_names_every_installed_command_with_one_line() -> None:
    """`--help` lists each command and its purpose."""
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name in _installed():
        assert f"  {name} " in result.output
        assert COMMANDS[name].help.split(",")[0] in result.output


def test_help_imports_no_command() -> None:
    """The overview is quick, because it loads neither the service nor any command."""
    script = (
        "import sys; from shadowdiff.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('aiohttp', 'redis', 'pydantic', 'shadowdiff.service') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", _installed())
def test_each_command_loads_and_explains_itself(name: str) -> None:
    """Every command in the table is a click command with its own help."""
    result = CliRunner().invoke(main, [name, "--help"])
    assert (result.exit_code, result.exception) == (0, None)
    assert f"Usage: main {name}" in result.output


def test_the_module_without_an_installation_is_one_line_with_the_remedy() -> None:
    """`python -m shadowdiff` in a clone without installed packages prints the command to run, and exits with 2."""
    root = Path(__file__).parents[3]
    argv = [sys.executable, "-S", "-m", "shadowdiff", "--version"]  # -S: only the standard library
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(argv, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert (2, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert "run ./scripts/demo once and use .venv/bin/shadowdiff, or `pip install .`" in done.stderr


def test_a_typo_is_answered_with_the_nearest_command() -> None:
    """`srve` exits with 2, and the message suggests `serve`."""
    result = CliRunner().invoke(main, ["srve"])
    assert result.exit_code == 2
    assert "Did you mean 'serve'?" in result.output


def test_an_unknown_command_is_a_usage_error() -> None:
    """A command without a similar name also exits with 2."""
    assert CliRunner().invoke(main, ["xyzzy"]).exit_code == 2


def test_the_version_is_the_one_installed() -> None:
    """`--version` prints the name and the version of the distribution."""
    assert CliRunner().invoke(main, ["--version"]).output == f"shadowdiff {version('shadowdiff')}\n"


def test_a_wrong_configuration_ends_serve_with_2_and_one_line_a_fault(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`serve` prints the errors on standard error before it opens anything."""
    path = tmp_path_factory.mktemp("serve") / "shadowdiff.yaml"
    path.write_text("pairing: {window: 30}\nstroe: {}\n")
    result = CliRunner().invoke(main, ["serve", "--config", str(path)])
    assert result.exit_code == 2
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [f"{path}:1", f"{path}:2"]
