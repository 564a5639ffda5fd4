"""The recorder is one file that runs on a bare Python: copied somewhere, with no package in reach."""

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
    """Whether a Python is there, and is more than a shim."""
    path = shutil.which(program)
    return path is not None and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0


PYTHONS = [sys.executable, *[name for name in VERSIONS if runs(name)]]


def run_alone(python: str, folder: Path) -> dict[str, Any]:
    """Copy the one file, use it there, and return what was printed."""
    shutil.copy(RECORDER, folder)
    command = [python, "-I", "-S", "-W", "error", str(ALONE), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return json.loads(done.stdout)


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: Path(path).name)
def test_it_records_and_mirrors_with_nothing_else_installed(python: str, tmp_path: Path) -> None:
    """Under -I -S both middlewares do their work, and the process ends by itself with a clean error stream."""
    said = run_alone(python, tmp_path)
    assert said["flushed"]
    assert {"/wsgi", "/asgi"} == {one["path"] for one in said["received"] if "path" in one}
    assert ["/wsgi"] == [one["mirrored"] for one in said["received"] if "mirrored" in one]
    assert [1, 1] == [stats["records"]["sent"] for stats in said["stats"]]


def test_it_loads_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """Every module that it pulls in comes with Python."""
    loaded = {name.partition(".")[0] for name in run_alone(sys.executable, tmp_path)["loaded"]}
    assert {"shadowdiff_recorder"} == loaded - sys.stdlib_module_names


def test_its_syntax_is_that_of_python_3_8() -> None:
    """An old v1 can take it: the parser of 3.8 reads it."""
    ast.parse(RECORDER.read_text(encoding="utf-8"), feature_version=(3, 8))
