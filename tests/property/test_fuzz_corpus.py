"""Rerun the inputs that fuzzing found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.compare_pairs import run

CORPUS = sorted((Path(__file__).parents[1] / "fuzz" / "corpus").iterdir())


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_a_kept_input_gives_a_result(file: Path) -> None:
    """The comparison returns a result for each input, and each response equals itself."""
    run(file.read_bytes())
