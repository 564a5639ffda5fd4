"""Check docs/doctor.md against the code in both directions."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

from shadowdiff.doctor import checks
from shadowdiff.doctor.registry import all_checks

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "doctor.md").read_text()
SOURCES = "".join(path.read_text() for path in (ROOT / "shadowdiff" / "doctor").rglob("*.py"))


def _codes() -> set[str]:
    return set(re.findall(r'code="([a-z0-9_]+)"', SOURCES))


def test_every_finding_is_in_the_docs_and_no_other() -> None:
    """The docs list exactly the findings that the doctor can report."""
    assert _codes() == set(re.findall(r"^\| `([a-z0-9_]+)` \|", PAGE, re.MULTILINE))


def test_every_explained_code_exists() -> None:
    """Each code that a check explains is a real code."""
    explains = all_checks().explains
    assert {*explains, *(code for codes in explains.values() for code in codes)} <= _codes()


def test_every_check_is_registered() -> None:
    """A function that yields findings and is not registered would never run."""
    registered = {*all_checks().general, *all_checks().per_target}
    modules = [
        importlib.import_module(f"{checks.__name__}.{one.name}") for one in pkgutil.iter_modules(checks.__path__)
    ]
    yielding = {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isgeneratorfunction(value) and "Finding" in str(value.__annotations__.get("return"))
    }
    assert registered == yielding
