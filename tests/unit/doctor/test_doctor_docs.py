"""docs/doctor.md, held against the code both ways."""

from __future__ import annotations

import re
from pathlib import Path

from shadowdiff.doctor.diagnose import EXPLAINED

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "doctor.md").read_text()
SOURCES = "".join(path.read_text() for path in (ROOT / "shadowdiff" / "doctor").glob("*.py"))


def _codes() -> set[str]:
    return set(re.findall(r'(?:code=|_Told\(\s*)"([a-z0-9_]+)"', SOURCES))


def test_every_finding_is_in_the_docs_and_no_other() -> None:
    """What may be found is documented, and what is documented may be found."""
    assert _codes() == set(re.findall(r"^\| `([a-z0-9_]+)` \|", PAGE, re.MULTILINE))


def test_what_explains_and_is_explained_exists() -> None:
    """No name in the table of explanations is a misprint."""
    assert {*EXPLAINED, *(code for codes in EXPLAINED.values() for code in codes)} <= _codes()
