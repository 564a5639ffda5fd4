"""Test the limits that protect v2 and the control."""

from __future__ import annotations

from shadowdiff.intake.send_limiter import SendLimiter
from shadowdiff.model.sent import SendLimits


def allowed(limiter: SendLimiter, now_s: float, requests: int, processes: int = 1) -> int:
    """Return how many of these requests may be sent at once."""
    return sum(not limiter.exceeded(0, now_s, processes) for _ in range(requests))


def test_the_rate_allows_one_second_of_requests_at_once() -> None:
    """Unused tokens of earlier seconds expire."""
    limiter = SendLimiter(SendLimits(rate=10))
    assert 10 == allowed(limiter, 100.0, 20)
    assert 5 == allowed(limiter, 100.5, 20)
    assert 10 == allowed(limiter, 200.0, 20)


def test_processes_share_the_rate() -> None:
    """Each process sends its share, and a rate below one request per second still sends requests."""
    assert 5 == allowed(SendLimiter(SendLimits(rate=10)), 1.0, 20, processes=2)
    slow = SendLimiter(SendLimits(rate=0.5))
    assert [1, 0, 1] == [allowed(slow, now_s, 3) for now_s in (10.0, 11.0, 12.0)]


def test_concurrency_is_limited_first() -> None:
    """A request over this limit takes no token of the rate."""
    limiter = SendLimiter(SendLimits(rate=1, concurrency=2))
    assert ["concurrency", "", "rate"] == [limiter.exceeded(active, 1.0, 1) for active in (2, 1, 1)]


def test_without_limits_every_request_is_sent() -> None:
    """This is the default."""
    limiter = SendLimiter(SendLimits())
    assert not limiter.is_set
    assert 1000 == allowed(limiter, 1.0, 1000)
