"""The breaker opens for a candidate that refuses connections."""

from __future__ import annotations

from shadowdiff.intake.dispatch import Breaker, BreakerDecision


def opened(at_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(5):
        breaker.failed(at_s, BreakerDecision.NORMAL)
    return breaker


def test_it_opens_after_consecutive_failures() -> None:
    """A successful connection resets the count."""
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(0, BreakerDecision.NORMAL)
    breaker.connected()
    for _ in range(4):
        breaker.failed(0, BreakerDecision.NORMAL)
    assert "<Breaker closed, 4 of 5 failures>" == repr(breaker)
    breaker.failed(0, BreakerDecision.NORMAL)
    assert "<Breaker open for 1 s until 1>" == repr(breaker)


def test_an_open_breaker_allows_one_probe_at_a_time() -> None:
    """While a probe is in flight, the open breaker rejects other requests."""
    breaker = opened()
    assert [BreakerDecision.REFUSED, BreakerDecision.PROBE, BreakerDecision.REFUSED] == [
        breaker.admit(t) for t in (0.9, 1.0, 1.1)
    ]


def test_a_failed_probe_doubles_the_wait_up_to_a_limit() -> None:
    """A dead candidate gets a probe at least every ten seconds."""
    breaker, now_s, waits = opened(), 0.0, list[float]()
    for _ in range(6):
        waits.append(breaker.open_for_s)
        now_s += breaker.open_for_s
        breaker.failed(now_s, breaker.admit(now_s))
    assert [1, 2, 4, 8, 10, 10] == waits


def test_a_successful_probe_closes_it() -> None:
    """After a successful probe, the next request is a normal one."""
    breaker = opened()
    breaker.admit(1.0)
    breaker.connected()
    assert BreakerDecision.NORMAL == breaker.admit(1.0)


def test_late_failures_of_earlier_requests_change_nothing() -> None:
    """A hundred requests that were in flight when it opened do not double the wait a hundred times."""
    breaker = opened()
    breaker.failed(0.5, BreakerDecision.NORMAL)
    assert "<Breaker open for 1 s until 1>" == repr(breaker)


def test_another_probe_follows_one_that_never_reports() -> None:
    """A canceled probe must not keep the breaker open forever."""
    breaker = opened()
    assert BreakerDecision.PROBE == breaker.admit(1.0)
    assert BreakerDecision.PROBE == breaker.admit(2.0)
