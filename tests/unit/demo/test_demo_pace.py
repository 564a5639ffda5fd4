"""The pace: users pass while what they cause is taken in, and are held while it is not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from shadowdiff.demo.pace import ON_THE_WAY_AT_MOST, RAMP_S, Pace, due_s


async def _following(pace: Pace, look: asyncio.Event, then: asyncio.Event) -> float:
    """Follow until `look` was seen, hold, set `then`, and return for how long the gate was shut."""
    async with asyncio.timeout(10):
        task = asyncio.ensure_future(pace.follow())
        _ = await look.wait()
        asyncio.get_running_loop().call_later(0.05, then.set)
        held_s = await pace.hold()
        _ = task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return held_s


async def test_an_open_gate_holds_nobody() -> None:
    """Without much on the way there is nothing to wait for."""

    async def little() -> int:
        return ON_THE_WAY_AT_MOST

    pace = Pace(little)

    assert await pace.hold() == 0.0


async def test_users_wait_until_less_is_on_the_way() -> None:
    """The gate shuts past the bound, and opens when it is kept again."""
    looked, relieved = asyncio.Event(), asyncio.Event()

    async def much() -> int:
        if relieved.is_set():
            return 0
        asyncio.get_running_loop().call_soon(looked.set)
        return ON_THE_WAY_AT_MOST + 1

    assert await _following(Pace(much), looked, relieved) > 0


async def test_an_answer_that_takes_long_shuts_the_gate_by_itself() -> None:
    """A machine too busy to answer is too busy for more."""
    late, answered = asyncio.Event(), asyncio.Event()

    async def slow() -> int:
        if not answered.is_set():
            _ = asyncio.get_running_loop().call_later(0.3, late.set)
            _ = await answered.wait()
        return 0

    assert await _following(Pace(slow), late, answered) > 0


def test_the_first_seconds_are_slow_and_the_rest_steady() -> None:
    """Requests are due in order, few at first, then at the rate."""
    due = [due_s(number, 100) for number in range(1000)]

    assert due == sorted(due)
    assert sum(at < 1 for at in due) < 20
    assert all(abs(after - before - 0.01) < 1e-9 for before, after in itertools.pairwise(due[200:]))
    assert due[150] == RAMP_S
