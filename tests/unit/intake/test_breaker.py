"""When a candidate that refuses connections is left alone."""

from __future__ import annotations

from shadowdiff.intake.breaker import Admission, Breaker


def opened(at_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(5):
        breaker.failed(at_s, Admission.NORMAL)
    return breaker


def test_it_opens_after_failures_in_a_row_only() -> None:
    """A connection in between starts the count again."""
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(0, Admission.NORMAL)
    breaker.connected()
    for _ in range(4):
        breaker.failed(0, Admission.NORMAL)
    assert "<Breaker closed, 4 of 5 failures>" == repr(breaker)
    breaker.failed(0, Admission.NORMAL)
    assert "<Breaker open for 1 s until 1>" == repr(breaker)


def test_while_open_one_probe_at_a_time_goes_through() -> None:
    """Everything else is answered in the candidate's place."""
    breaker = opened()
    assert [Admission.REFUSED, Admission.PROBE, Admission.REFUSED] == [breaker.admit(t) for t in (0.9, 1.0, 1.1)]


def test_a_failed_probe_doubles_the_time_up_to_a_bound() -> None:
    """A candidate that stays dead is asked ever more seldom, yet at least every ten seconds."""
    breaker, now_s, waits = opened(), 0.0, list[float]()
    for _ in range(6):
        waits.append(breaker.open_for_s)
        now_s += breaker.open_for_s
        breaker.failed(now_s, breaker.admit(now_s))
    assert [1, 2, 4, 8, 10, 10] == waits


def test_a_probe_that_connects_closes_it() -> None:
    """The next request is an ordinary one."""
    breaker = opened()
    breaker.admit(1.0)
    breaker.connected()
    assert Admission.NORMAL == breaker.admit(1.0)


def test_late_failures_of_requests_from_before_change_nothing() -> None:
    """A hundred requests that were out when it opened do not double the wait a hundred times."""
    breaker = opened()
    breaker.failed(0.5, Admission.NORMAL)
    assert "<Breaker open for 1 s until 1>" == repr(breaker)


def test_a_probe_that_never_reports_lets_another_follow() -> None:
    """A probe that was cancelled must not keep the breaker open for ever."""
    breaker = opened()
    assert Admission.PROBE == breaker.admit(1.0)
    assert Admission.PROBE == breaker.admit(2.0)
