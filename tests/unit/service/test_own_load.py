"""A thread that runs, or waits to run, nearly all the time is busy; one that sleeps is not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from shadowdiff.service.own_load import HIGH, LONG_TURN_S, SPAN_S, TICK_S, OwnLoad

if TYPE_CHECKING:
    from collections.abc import Callable


class Thread:
    """A thread on a clock of its own."""

    def __init__(self) -> None:
        self.now_s = self.wanted_s = 100.0
        self.next_turn: list[Callable[[], None]] = []
        self.load = OwnLoad(lambda: self.wanted_s, lambda: self.now_s, self.next_turn.append)

    def goes_on(self, seconds: float, share: float, ticks: int = 10) -> None:
        """Let time pass, of which the thread wants a share, and tick."""
        for _ in range(ticks):
            self.now_s += seconds / ticks
            self.wanted_s += share * seconds / ticks
            self.load.look()
            self.turns()

    def turns(self) -> None:
        """Let the loop begin its next turn."""
        while self.next_turn:
            self.next_turn.pop()()


def test_a_thread_that_wants_the_processor_all_the_time_is_busy() -> None:
    """And stays so for whoever asks about the time when it was."""
    thread = Thread()
    thread.goes_on(1.0, 0.5)
    assert not thread.load.was_high(1.0)
    thread.goes_on(1.0, 1.0)
    assert thread.load.was_high(1.0)
    thread.goes_on(2.0, 0.1, ticks=20)
    assert (False, True) == (thread.load.was_high(1.0), thread.load.was_high(5.0))


@pytest.mark.parametrize(("share", "expected"), [(HIGH + 0.05, True), (HIGH - 0.05, False)])
def test_the_load_of_this_moment_counts(share: float, expected: bool) -> None:
    """Where a single turn of the loop takes long, no tick has come since it began."""
    thread = Thread()
    thread.goes_on(1.0, 0.0)
    for _ in range(5):
        thread.now_s += SPAN_S
        thread.wanted_s += share * SPAN_S
    assert expected == thread.load.was_high(0.0)


def test_a_burst_is_no_load() -> None:
    """Within the time between two ticks a thread may well be busy."""
    thread = Thread()
    thread.goes_on(1.0, 0.1)
    thread.goes_on(TICK_S, 1.0, ticks=1)
    assert not thread.load.was_high(1.0)


def test_a_long_turn_counts_at_once() -> None:
    """What arrives within it finds its answers unread, however idle the thread was before."""
    thread = Thread()
    thread.goes_on(1.0, 0.0)
    assert not thread.load.was_high(1.0)
    thread.now_s += 1.1 * LONG_TURN_S
    assert thread.load.was_high(1.0)


def test_turns_are_told_apart() -> None:
    """Whoever asks in the next one is the first there."""
    thread = Thread()
    thread.goes_on(1.0, 0.0)
    for _ in range(5):
        assert not thread.load.was_high(1.0)
        thread.turns()
        thread.now_s += 1.1 * LONG_TURN_S


def test_the_system_tells_of_this_thread() -> None:
    """One that computes wants the processor for as long as it computes."""
    load = OwnLoad()
    until_s = time.monotonic() + 2 * SPAN_S
    while time.monotonic() < until_s:
        pass
    assert load.was_high(1.0)
