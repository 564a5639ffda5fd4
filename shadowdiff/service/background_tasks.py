"""Helpers for tasks: wait for an event, restart after an error, or cancel all tasks in a block."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

log = logging.getLogger(__name__)

Error = TypeVar("Error", bound=Exception)


async def restart_on_error(run: Callable[[], Awaitable[None]], name: str, restart_s: float = 1.0) -> None:
    """Call `run` until `run` returns or is cancelled; if `run` fails, log the error and call `run` again.

    Do not use it for a task that counts what it has sent: a restart would lose its counts.
    """
    while True:
        try:
            await run()
        except Exception:  # outermost handler: an unhandled error in the task group would stop the service
            log.exception("background task failed; restarting: %s", name)
            await asyncio.sleep(restart_s)
        else:
            return


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until an event is set; return False after a timeout."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


@contextlib.asynccontextmanager
async def cancel_scope() -> AsyncGenerator[Callable[[], None]]:
    """Yield a function that cancels the block at its next await, with all tasks of the task groups inside it."""
    loop = asyncio.get_running_loop()
    deadline = asyncio.timeout(None)
    try:
        async with deadline:
            yield lambda: deadline.reschedule(loop.time())
    except TimeoutError:
        if not deadline.expired():
            raise


def single_errors(group: BaseExceptionGroup[Error]) -> Iterator[Error]:
    """Yield the errors of a group and of its nested groups."""
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from single_errors(one)
        else:
            yield one
