"""What runs beside the ports goes on after a fault."""

from __future__ import annotations

import asyncio

import pytest

from shadowdiff.service.lasting import lasting


async def test_a_task_that_fails_begins_anew_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """As often as it fails; where it returns, that is its end."""
    turns = iter([ValueError("odd"), ExceptionGroup("several", [KeyError("a")]), None])

    async def turn() -> None:
        if (fault := next(turns)) is not None:
            raise fault

    await lasting(turn, "odd-job", again_s=0)
    assert ["a task failed, and begins anew: odd-job"] * 2 == [record.getMessage() for record in caplog.records]
    assert all(record.exc_info for record in caplog.records)


async def test_a_task_that_is_cancelled_ends() -> None:
    """It does not begin anew: the service stops."""
    begun = asyncio.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(lasting(forever, "job"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
