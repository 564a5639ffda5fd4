"""How much one source may do, in a table that stays small."""

from __future__ import annotations

import pytest

from shadowdiff.intake.rate import SourceRate, source_of


def test_a_source_has_a_burst_and_then_its_rate() -> None:
    """And gets it back as time passes, never more than the burst."""
    rate = SourceRate(per_s=2, burst=3)
    assert [rate.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert [rate.take("a", 1.0) for _ in range(3)] == [True, True, False]
    assert [rate.take("a", 100.0) for _ in range(4)] == [True, True, True, False]
    assert [rate.take("a", 50.0) for _ in range(1)] == [False]


def test_one_source_takes_nothing_from_another() -> None:
    """Each has its own."""
    rate = SourceRate(per_s=1, burst=1)
    assert [rate.take(source, 0.0) for source in ("a", "b", "a", "b")] == [True, True, False, False]


def test_many_at_once_are_taken_on_credit() -> None:
    """So that a batch larger than the burst goes through once, and then waits for as long as it was."""
    rate = SourceRate(per_s=10, burst=10)
    assert [rate.take("a", at_s, 40) for at_s in (0.0, 1.0, 2.9, 3.2)] == [True, False, False, True]


def test_the_table_is_bounded() -> None:
    """However many sources there are; the one not seen for longest gives way."""
    rate = SourceRate(per_s=1, burst=1, most=100)
    for number in range(10_000):
        rate.take(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(rate) == 100


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_what_an_address_counts_as(address: str, expected: str) -> None:
    """A host with IPv6 owns 2^64 addresses, and is one source."""
    assert source_of(address) == expected
