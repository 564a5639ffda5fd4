"""Run long work of web requests in one process, with deadlines and a limited queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from shadowdiff.queries.errors import RequestError
from shadowdiff.worker.process_pool import BusyError, ProcessPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.queries.offload import Parts

Made = TypeVar("Made")

TIME_S: Final = 10.0
MOST_WAITING: Final = 8
IDLE_S: Final = 60.0
"""The process ends after this time without work, and frees its memory."""


class WebJobs:
    """Runs functions for web requests."""

    def __init__(self) -> None:
        self._pool = ProcessPool(1, "shadowdiff-web", most_waiting=MOST_WAITING, idle_s=IDLE_S)

    async def __call__(self, function: Callable[..., Made], *arguments: Any, parts: Parts | None = None) -> Made:
        """Return the function's result. Raises: RequestError if a limit is reached; all errors of the function."""
        try:
            return await self._pool.run(TIME_S, function, *arguments, parts=parts)
        except (TimeoutError, MemoryError, EOFError) as error:
            much = f"more than {TIME_S:g} s" if isinstance(error, TimeoutError) else "too much memory"
            text = f"this takes {much}: give fewer samples (`limit`), or fewer and shorter rules"
            raise RequestError(422, text) from None
        except BusyError:
            text = f"{MOST_WAITING} such requests are waiting already: try again in a minute"
            raise RequestError(503, text) from None

    def close(self) -> None:
        """End the process."""
        self._pool.close()
