"""The throttle delays users while the proxy has too many requests in flight."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from shadowdiff.demo.traffic import MAX_IN_FLIGHT, RAMP_S, Throttle, due_s


async def _delay(throttle: Throttle, checked: asyncio.Event, then: asyncio.Event) -> float:
    """Watch until `checked`, wait, set `then`, and return how long users waited."""
    async with asyncio.timeout(60):
        task = asyncio.ensure_future(throttle.watch())
        _ = await checked.wait()
        asyncio.get_running_loop().call_later(0.05, then.set)
        delay_s = await throttle.wait()
        _ = task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return delay_s


async def test_users_do_not_wait_below_the_limit() -> None:
    """Users continue while the proxy has few requests in flight."""

    async def little() -> int:
        return MAX_IN_FLIGHT

    throttle = Throttle(little)

    assert await throttle.wait() == 0.0


async def test_users_wait_until_less_is_in_flight() -> None:
    """Users wait above the limit, and continue below it."""
    checked, relieved = asyncio.Event(), asyncio.Event()

    async def much() -> int:
        if relieved.is_set():
            return 0
        asyncio.get_running_loop().call_soon(checked.set)
        return MAX_IN_FLIGHT + 1

    assert await _delay(Throttle(much), checked, relieved) > 0


async def test_a_slow_response_of_the_proxy_delays_users() -> None:
    """A machine that is too busy to respond is too busy for more requests."""
    late, answered = asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        if not answered.is_set():
            _ = asyncio.get_running_loop().call_later(0.3, late.set)
            _ = await answered.wait()
        return 0

    assert await _delay(Throttle(slow), late, answered) > 0


def test_the_first_seconds_are_slow_and_the_rest_steady() -> None:
    """Requests are sent in order, slowly at first, then at the rate."""
    due = [due_s(number, 100) for number in range(1000)]

    assert due == sorted(due)
    assert sum(at < 1 for at in due) < 20
    assert all(abs(after - before - 0.01) < 1e-9 for before, after in itertools.pairwise(due[200:]))
    assert due[150] == RAMP_S
