"""Test durations in buckets: the value read back is at most a little longer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.verdict.latency_buckets import BUCKETS, HIGHEST_MS, LOWEST_MS, bucket_of, quantile_ms, upper_ms

DURATIONS = st.floats(LOWEST_MS, HIGHEST_MS)


@given(DURATIONS)
def test_bucket_ends_at_most_a_quarter_above_its_durations(duration_ms: float) -> None:
    """The upper end represents every duration in the bucket."""
    assert duration_ms <= upper_ms(bucket_of(duration_ms)) <= duration_ms * 1.25


@given(DURATIONS, DURATIONS)
def test_longer_duration_is_never_in_an_earlier_bucket(one_ms: float, other_ms: float) -> None:
    """Buckets keep the order of durations."""
    short_ms, long_ms = sorted((one_ms, other_ms))
    assert bucket_of(short_ms) <= bucket_of(long_ms)


@pytest.mark.parametrize(("duration_ms", "bucket"), [(0.0, 0), (1e-9, 0), (1e12, BUCKETS), (float("inf"), BUCKETS)])
def test_durations_beyond_the_ends_count_at_the_ends(duration_ms: float, bucket: int) -> None:
    """Durations outside the range count in the first or last bucket."""
    assert bucket == bucket_of(duration_ms)


def test_quantiles_are_read_from_the_counts() -> None:
    """Of 90 fast and 10 slow durations, p50 and p90 are fast and p99 is slow."""
    counts = {bucket_of(5.0): 90, bucket_of(80.0): 10}
    assert (5.0, 5.0, 80.0) == tuple(quantile_ms(counts, share) for share in (0.5, 0.9, 0.99))


def test_no_durations_have_no_quantile() -> None:
    """A missing quantile is not shown as zero milliseconds."""
    assert quantile_ms({}, 0.5) is None
