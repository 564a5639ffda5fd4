"""Each source has a limit, in a table that stays small."""

from __future__ import annotations

import pytest

from shadowdiff.intake.admission import TRUSTED_S, SourceLimiter, source_of


def test_a_source_has_a_burst_and_then_its_rate() -> None:
    """The burst refills over time up to its size."""
    limiter = SourceLimiter(per_s=2, burst=3)
    assert [limiter.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert [limiter.take("a", 1.0) for _ in range(3)] == [True, True, False]
    assert [limiter.take("a", 100.0) for _ in range(4)] == [True, True, True, False]
    assert [limiter.take("a", 50.0) for _ in range(1)] == [False]


def test_one_source_does_not_use_the_limit_of_another() -> None:
    """Each source has its own bucket."""
    limiter = SourceLimiter(per_s=1, burst=1)
    assert [limiter.take(source, 0.0) for source in ("a", "b", "a", "b")] == [True, True, False, False]


def test_a_batch_is_taken_on_credit() -> None:
    """A batch larger than the burst is accepted once. The source then waits until the batch is paid off."""
    limiter = SourceLimiter(per_s=10, burst=10)
    assert [limiter.take("a", at_s, 40) for at_s in (0.0, 1.0, 2.9, 3.2)] == [True, False, False, True]


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
def test_a_network_of_one_host_is_one_source(address: str, expected: str) -> None:
    """An IPv6 host owns 2^64 addresses."""
    assert source_of(address) == expected


def tried(limiter: SourceLimiter, source: str, times: int, at_s: float) -> list[bool]:
    """Send wrong tokens; return which of them were compared."""
    compared: list[bool] = []
    for _ in range(times):
        compared.append(limiter.has_room(source, at_s))
        if compared[-1]:
            limiter.take(source, at_s)
    return compared


def test_a_source_has_some_wrong_tokens_and_then_waits() -> None:
    """The tries refill over a minute. A second source does not wait."""
    limiter = SourceLimiter(6 / 60, 6)
    assert [True] * 6 + [False] * 4 == tried(limiter, "10.0.0.1", 10, 0.0)
    assert [True, False] == tried(limiter, "10.0.0.1", 2, 10.0)
    assert [True] * 6 + [False] == tried(limiter, "10.0.0.2", 7, 10.0)
    assert [True] * 6 + [False] == tried(limiter, "10.0.0.1", 7, 1000.0)


def test_a_trusted_source_does_not_wait() -> None:
    """Many clients may share one address, so wrong tokens from it do not block valid ones. Trust expires."""
    limiter = SourceLimiter(2 / 60, 2)
    limiter.trust("2001:db8::1", 0.0)
    assert [True] * 9 == tried(limiter, "2001:db8::2", 9, TRUSTED_S - 1)
    limiter.trust("2001:db8::1", TRUSTED_S - 1)
    assert limiter.has_room("2001:db8::1", 2 * TRUSTED_S - 2)
    assert [True, True, False] == tried(limiter, "2001:db8::1", 3, 3 * TRUSTED_S)


def test_a_waiting_source_is_not_compared() -> None:
    """The source learns nothing about its tokens until a try has been refilled."""
    limiter = SourceLimiter(1 / 60, 1)
    assert [True, False] == tried(limiter, "a", 2, 0.0)
    assert not limiter.has_room("a", 1.0)
    assert limiter.has_room("a", 61.0)


def test_the_tables_are_bounded() -> None:
    """For any number of addresses, the table drops the least recent one."""
    limiter = SourceLimiter(per_s=1, burst=1, most=100)
    for number in range(10_000):
        limiter.take(f"10.0.{number // 256}.{number % 256}", 0.0)
        limiter.trust(f"10.1.{number // 256}.{number % 256}", 0.0)
    assert "<SourceLimiter 100 sources, 100 trusted>" == repr(limiter)
