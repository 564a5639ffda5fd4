"""Simulate machine faults for one process: a wrong wall clock or a full disk."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import needs_tool
from tests.integration.service.conftest import link, own_redis

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["link", "own_redis"]

SOURCE = Path(__file__).parent / "shim.c"


@dataclass
class Machine:
    """The clock and disk of one process and its child processes."""

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables that apply the faults to a process."""
        return {"LD_PRELOAD": str(self.library), "FAULTS": str(self.file)}

    def set(self, *, clock_s: int = 0, is_full: bool = False) -> None:
        """Set the wall clock `clock_s` seconds off the true time, and fill or free the disk."""
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("=qq", clock_s, is_full))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the shim."""
    built = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run([needs_tool("cc"), "-shared", "-fPIC", "-O1", "-o", built, SOURCE, "-ldl"], check=True)
    return built


@pytest.fixture
def machine(library: Path, tmp_path: Path) -> Callable[[str], Machine]:
    """Return a function that creates a simulated machine by name. Each machine starts without faults."""

    def make(name: str) -> Machine:
        made = Machine(library, tmp_path / f"{name}.faults")
        made.set()
        return made

    return make
