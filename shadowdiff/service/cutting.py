"""End, from within, what a TaskGroup still waits for: a group has no way of its own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


@contextlib.asynccontextmanager
async def cutting_off() -> AsyncGenerator[Callable[[], None]]:
    """Yield a function that ends the block at its next wait, and every task of the groups inside it."""
    loop = asyncio.get_running_loop()
    cut = asyncio.timeout(None)
    try:
        async with cut:
            yield lambda: cut.reschedule(loop.time())
    except TimeoutError:
        if not cut.expired():
            raise
