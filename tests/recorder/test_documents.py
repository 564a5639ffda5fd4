"""The recorder's README lists every setting and every count, and no others."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from shadowdiff_recorder import Recorder

FOLDER = Path(__file__).parents[2] / "recorder/python"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SOURCE = (FOLDER / "shadowdiff_recorder.py").read_text(encoding="utf-8")


def first_column(after: str) -> set[str]:
    """Return the names in the first column of the table with this heading."""
    table = README.partition(after)[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    return set(re.findall(r"`([a-z_]+)`", " ".join(cells)))


def test_every_setting_is_documented() -> None:
    """The README's table of settings lists every argument of Recorder."""
    expected = {name for name in inspect.signature(Recorder).parameters if name != "self"}
    assert expected == first_column("| argument | default | meaning |")


def test_every_reason_for_a_drop_is_documented() -> None:
    """The README's table explains each reason for a drop."""
    found = set(
        re.findall(r'(?:_drop\(.*|_count_dropped\(.*|_Lost\(|_settle\(.*, 0, |reason = (?:0, )?)"([a-z_]+)"', SOURCE)
    )
    assert {"full", "timeout", "refused"} < found
    assert found == first_column("| dropped | reason |")


def test_every_reason_for_a_skip_is_documented() -> None:
    """The README's table explains each reason for a skip."""
    found = set(re.findall(r'(?:give_up|skip)\("([a-z_]+)"\)', SOURCE))
    assert {"shadow", "aborted"} < found
    assert found == first_column("| skipped | requests |")
