"""What fuzzing once found worth keeping holds on every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.compare_pairs import run

CORPUS = sorted((Path(__file__).parents[1] / "fuzz" / "corpus").iterdir())


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_a_kept_input_gives_a_result(file: Path) -> None:
    """No exception, and a response equals itself."""
    run(file.read_bytes())
