"""The page of licences, held to the lock."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_locked_package_has_its_licence_on_the_page() -> None:
    """`scripts/sbom --licences > docs/licences.md` was run after the last change of the lock."""
    lock = (ROOT / "requirements" / "run.txt").read_text()
    locked = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==", lock, re.MULTILINE)
    listed = re.findall(r"^\| ([a-z0-9._-]+) \| (.+) \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)
    assert locked == [name for name, licence in listed if name != "package" and "unknown" not in licence]
