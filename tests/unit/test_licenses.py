"""Check the page of licenses against the lock."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_locked_package_has_its_license_on_the_page() -> None:
    """`scripts/sbom --licenses > docs/licenses.md` was run after the last change of the lock."""
    lock = (ROOT / "requirements" / "run.txt").read_text()
    locked = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==", lock, re.MULTILINE)
    listed = re.findall(r"^\| ([a-z0-9._-]+) \| (.+) \|$", (ROOT / "docs" / "licenses.md").read_text(), re.MULTILINE)
    assert locked == [name for name, terms in listed if name != "package" and "unknown" not in terms]
