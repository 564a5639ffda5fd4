"""A golden case catches each known typical fault of a comparison engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
PARTS = ("model", "rules", "compare")


def run(folder: Path, case: str) -> subprocess.CompletedProcess[str]:
    """Run one golden case against the package in a folder."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "tests.golden.kill", case],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a folder with a copy of the packages that the comparison needs."""
    package = tmp_path / "shadowdiff"
    package.mkdir()
    (package / "__init__.py").touch()
    for part in PARTS:
        shutil.copytree(ROOT / "shadowdiff" / part, package / part, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_there_are_enough_different_mutants() -> None:
    """The list has at least this many mutants."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 25


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_mutant_is_killed(copied: Path, mutant: Mutant) -> None:
    """The golden case passes for the original package, and fails or raises for the mutant."""
    file = copied / "shadowdiff" / mutant.file
    source = file.read_text()
    assert source.count(mutant.old) == 1, f"{mutant.file} has changed; bring the mutant up to date"
    file.write_text(source.replace(mutant.old, mutant.new))
    result = run(copied, mutant.killer)
    assert (result.returncode, result.stdout[: len(mutant.killer)]) == (1, mutant.killer), result.stderr


def test_the_copy_without_a_fault_passes(copied: Path) -> None:
    """All cases pass for an unchanged copy, so a mutant fails because of its fault."""
    result = run(copied, MUTANTS[0].killer)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
