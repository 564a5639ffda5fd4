"""The sampling hash is the same in every implementation."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from shadowdiff.pairing.request_id import fnv1a32, is_sampled

VECTORS = json.loads((Path(__file__).parents[3] / "fixtures" / "sampling.json").read_text())


@pytest.mark.parametrize(("request_id", "value", "at_tenth", "at_half"), VECTORS)
def test_the_vectors_that_bind_every_sampler_hold_here(
    request_id: str, value: int, at_tenth: bool, at_half: bool
) -> None:
    """The service samples as the Lua filter and the recorder do."""
    header = request_id.encode().decode("latin-1")  # as it comes from the wire
    assert (value, at_tenth, at_half) == (fnv1a32(header), is_sampled(header, 0.1), is_sampled(header, 0.5))


@pytest.mark.parametrize("shape", ["v4", "time first", "counting"])
def test_a_tenth_of_any_kind_of_ids_is_sampled(shape: str) -> None:
    """Ids that begin with the time are sampled evenly, within six standard deviations."""
    ids = {
        "v4": [str(uuid.UUID(int=(0x9E3779B97F4A7C15 * n) % 2**128, version=4)) for n in range(10_000)],
        "time first": [f"1-{0x67000000 + n // 1000:08x}-{n:024x}" for n in range(10_000)],
        "counting": [str(n) for n in range(10_000)],
    }[shape]
    kept = sum(is_sampled(request_id, 0.1) for request_id in ids)
    assert 1000 - 180 <= kept <= 1000 + 180


def test_a_rate_of_one_samples_all_ids_and_a_rate_of_zero_none() -> None:
    """Both limits are exact."""
    assert (True, False) == (is_sampled("a", 1.0), is_sampled("a", 0.0))
