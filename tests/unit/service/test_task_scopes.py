"""Background tasks restart after an error, and a scope cancels everything in it."""

from __future__ import annotations

import asyncio

import pytest

from shadowdiff.service.background_tasks import cancel_scope, restart_on_error


async def test_a_failed_task_is_logged_and_restarted(caplog: pytest.LogCaptureFixture) -> None:
    """A task restarts after every error, and ends when it returns."""
    errors = iter([ValueError("odd"), ExceptionGroup("several", [KeyError("a")]), None])

    async def run() -> None:
        if (error := next(errors)) is not None:
            raise error

    await restart_on_error(run, "odd-job", restart_s=0)
    assert ["background task failed; restarting: odd-job"] * 2 == [record.getMessage() for record in caplog.records]
    assert all(record.exc_info for record in caplog.records)


async def test_a_cancelled_task_is_not_restarted() -> None:
    """The task does not restart, because the service is stopping."""
    started = asyncio.Event()

    async def forever() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(restart_on_error(forever, "job"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_scope_cancels_the_tasks_of_its_groups() -> None:
    """The block ends without an error."""
    async with cancel_scope() as cancel, asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.Event().wait())
        cancel()
    assert task.cancelled()


async def test_a_scope_passes_on_a_timeout_of_the_block() -> None:
    """A cancel scope handles only its own cancellation."""
    with pytest.raises(TimeoutError, match="from within"):
        async with cancel_scope():
            raise TimeoutError("from within")
