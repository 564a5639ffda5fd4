"""A process frees the memory of large bodies to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

BURST = """
import sys
from pathlib import Path
from shadowdiff.worker import return_large_blocks

def resident_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024

if sys.argv[1] == "tuned":
    return_large_blocks()
bytes(16 << 20)  # freed at once: raises glibc's own threshold
before = resident_mib()
bodies, kept = [], []
for number in range(64):
    bodies.append(b"b" * (1 << 20))
    kept.append(b"k" * (200 << 10))
bodies.clear()
print(resident_mib() - before - len(kept) * 200 // 1024)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps large freed blocks")
@pytest.mark.parametrize(("mode", "is_returned"), [("tuned", True), ("untuned", False)])
def test_large_bodies_are_returned_to_the_system(mode: str, *, is_returned: bool) -> None:
    """Without the tuning, glibc does not return the memory, so the test can detect the fault."""
    ended = subprocess.run([sys.executable, "-c", BURST, mode], capture_output=True, check=True, text=True)
    assert is_returned == (int(ended.stdout) < 8), ended.stdout
