"""A thread that needs the processor nearly all the time is overloaded. A sleeping thread is not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from shadowdiff.intake.overload import HIGH, LONG_TURN_S, SPAN_S, TICK_S, OverloadDetector

if TYPE_CHECKING:
    from collections.abc import Callable


class Thread:
    """A thread with a scripted clock."""

    def __init__(self) -> None:
        self.now_s = self.wanted_s = 100.0
        self.next_turn: list[Callable[[], None]] = []
        self.overload = OverloadDetector(lambda: self.wanted_s, lambda: self.now_s, self.next_turn.append)

    def run(self, seconds: float, share: float, ticks: int = 10) -> None:
        """Advance time while the thread needs a share of it, and take samples."""
        for _ in range(ticks):
            self.now_s += seconds / ticks
            self.wanted_s += share * seconds / ticks
            self.overload.sample()
            self.start_turn()

    def start_turn(self) -> None:
        """Start the next iteration of the event loop."""
        while self.next_turn:
            self.next_turn.pop()()


def test_a_thread_that_always_wants_the_processor_is_overloaded() -> None:
    """A later check over a long enough period still reports it."""
    thread = Thread()
    thread.run(1.0, 0.5)
    assert not thread.overload.was_overloaded(1.0)
    thread.run(1.0, 1.0)
    assert thread.overload.was_overloaded(1.0)
    thread.run(2.0, 0.1, ticks=20)
    assert (False, True) == (thread.overload.was_overloaded(1.0), thread.overload.was_overloaded(5.0))


@pytest.mark.parametrize(("share", "expected"), [(HIGH + 0.05, True), (HIGH - 0.05, False)])
def test_the_current_load_counts(share: float, expected: bool) -> None:
    """If an iteration of the loop takes long, no sample was taken since it started."""
    thread = Thread()
    thread.run(1.0, 0.0)
    for _ in range(5):
        thread.now_s += SPAN_S
        thread.wanted_s += share * SPAN_S
    assert expected == thread.overload.was_overloaded(0.0)


def test_a_burst_is_not_an_overload() -> None:
    """A thread may be busy between two samples."""
    thread = Thread()
    thread.run(1.0, 0.1)
    thread.run(TICK_S, 1.0, ticks=1)
    assert not thread.overload.was_overloaded(1.0)


def test_a_long_turn_counts_at_once() -> None:
    """Responses wait during a long iteration, even if the thread was idle before."""
    thread = Thread()
    thread.run(1.0, 0.0)
    assert not thread.overload.was_overloaded(1.0)
    thread.now_s += 1.1 * LONG_TURN_S
    assert thread.overload.was_overloaded(1.0)


def test_a_new_turn_starts_a_new_measurement() -> None:
    """The time between two iterations does not count as one long iteration."""
    thread = Thread()
    thread.run(1.0, 0.0)
    for _ in range(5):
        assert not thread.overload.was_overloaded(1.0)
        thread.start_turn()
        thread.now_s += 1.1 * LONG_TURN_S


def test_the_load_of_the_real_thread_is_read() -> None:
    """A thread that computes needs the processor all the time."""
    overload = OverloadDetector()
    until_s = time.monotonic() + 2 * SPAN_S
    while time.monotonic() < until_s:
        pass
    assert overload.was_overloaded(1.0)
