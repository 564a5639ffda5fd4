"""The recorder is one file that runs on Python alone: a copy of the file needs no package."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RECORDER = Path(__file__).parents[2] / "recorder/python/shadowdiff_recorder.py"
ALONE = Path(__file__).parent / "alone.py"
VERSIONS = [f"python3.{minor}" for minor in range(8, 16)]


def runs(program: str) -> bool:
    """Return whether this Python version is installed, and not only a pyenv shim."""
    path = shutil.which(program)
    return path is not None and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0


PYTHONS = [sys.executable, *[name for name in VERSIONS if runs(name)]]


def run_alone(python: str, folder: Path) -> dict[str, Any]:
    """Copy the recorder's file to a folder, run the script with the copy, and return the output."""
    shutil.copy(RECORDER, folder)
    command = [python, "-I", "-S", "-W", "error", str(ALONE), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: Path(path).name)
def test_it_records_and_mirrors_with_nothing_else_installed(python: str, tmp_path: Path) -> None:
    """Under `python -I -S`, both middlewares work, and the process exits by itself with an empty stderr."""
    said = run_alone(python, tmp_path)
    assert said["flushed"]
    assert {"/wsgi", "/asgi"} == {one["path"] for one in said["received"] if "path" in one}
    assert ["/wsgi"] == [one["mirrored"] for one in said["received"] if "mirrored" in one]
    assert [1, 1] == [stats["records"]["sent"] for stats in said["stats"]]


def test_it_loads_only_the_standard_library(tmp_path: Path) -> None:
    """Every module that the recorder imports is in the standard library."""
    loaded = {name.partition(".")[0] for name in run_alone(sys.executable, tmp_path)["loaded"]}
    assert {"shadowdiff_recorder"} == loaded - sys.stdlib_module_names


def test_its_syntax_is_that_of_python_3_8() -> None:
    """The parser of Python 3.8 accepts the recorder, so an old v1 can use the recorder."""
    ast.parse(RECORDER.read_text(encoding="utf-8"), feature_version=(3, 8))
