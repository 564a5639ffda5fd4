"""Rerun the inputs that fuzzing found, and one or more inputs of each format."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Final

import pytest

from shadowdiff.compare import Limits
from tests.fuzz.compare_pairs import CONTENT_TYPES, KEPT_TYPES, LIMITS, run

CORPUS: Final = sorted((Path(__file__).parents[1] / "fuzz" / "corpus").iterdir())
MOST_BYTES: Final = 64 << 20
LITTLE_WORK: Final = (1, 100, 2_000)


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_a_kept_input_gives_a_result_in_limited_memory(file: Path) -> None:
    """The comparison returns a result for each input, and each response equals itself."""
    data = file.read_bytes()
    tracemalloc.start()
    try:
        run(data)
        assert tracemalloc.get_traced_memory()[1] <= MOST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("work", LITTLE_WORK)
def test_a_kept_input_gives_a_result_with_little_work(work: int) -> None:
    """However small the budget is, the comparison ends with a result, and never with another one than `too_complex`."""
    for file in CORPUS:
        run(file.read_bytes(), Limits(decoded_bytes=LIMITS.decoded_bytes, work=work))


def test_each_type_has_an_input() -> None:
    """The fuzzer starts with valid bodies of each format, because it rarely finds them."""
    seeds = [file.read_bytes()[0] for file in CORPUS if file.name.startswith("seed-")]
    assert {*range(len(KEPT_TYPES), len(CONTENT_TYPES))} <= {*seeds}, [
        content_type for at, content_type in enumerate(CONTENT_TYPES) if at not in seeds
    ]
