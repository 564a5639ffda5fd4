"""Run long work in processes, with limits on their number, time and memory, and on waiting work.

A thread would compete with the event loop for the interpreter, and a thread cannot be killed.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import resource
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from shadowdiff.store import describe_error
from shadowdiff.worker.process_memory import COMPARING_EVERY, collect_garbage_every

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

log = logging.getLogger(__name__)

Made = TypeVar("Made")

START_S: Final = 30.0
MEMORY_BYTES: Final = 2 << 30
"""The memory limit of a process. Work that needs more ends with a MemoryError."""

_SPAWN = multiprocessing.get_context("spawn")


class BusyError(Exception):
    """Too much work is waiting."""


def _serve(link: Connection) -> None:
    """In the child process, receive work over `link` and run it until `link` closes."""
    collect_garbage_every(COMPARING_EVERY)
    with suppress(ValueError, OSError):  # a system that does not support this limit
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    with suppress(EOFError, KeyboardInterrupt):
        link.send(None)
        while True:
            function, arguments, parts = cast("tuple[Callable[..., Any], tuple[Any, ...], int | None]", link.recv())
            if parts is not None:
                arguments = (*arguments, [link.recv_bytes() for _ in range(parts)])
            try:
                answer = (function(*arguments), None)
            except Exception as error:  # noqa: BLE001 - it is raised in the caller
                answer = (None, error)
            link.send(answer)


class _Process:
    """One process, which starts when it is first needed, and is replaced after it is killed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._process: SpawnProcess | None = None
        self._link: Connection
        self.uses = 0

    def run(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], parts: Sequence[bytes] | None, time_s: float
    ) -> Any:
        """Return the function's result. This blocks, so call it in a thread. Raises: the same as `ProcessPool.run`."""
        self.uses += 1
        try:
            link = self._started()
            link.send((function, arguments, None if parts is None else len(parts)))
            for part in parts or ():
                link.send_bytes(part)
            if not link.poll(time_s):
                self.kill()
                raise TimeoutError
            made, error = link.recv()
        except (EOFError, ConnectionError) as ended:
            self.kill()
            raise EOFError(describe_error(ended)) from ended
        if error is not None:
            raise error
        return made

    def _started(self) -> Connection:
        if self._process is None or not self._process.is_alive():
            ours, theirs = _SPAWN.Pipe()
            self._link = cast("Connection", ours)
            self._process = _SPAWN.Process(target=_serve, args=(theirs,), daemon=True, name=self._name)
            self._process.start()
            theirs.close()
            if not self._link.poll(START_S):
                raise EOFError("the child process did not start")
            self._link.recv()
        return self._link

    def kill(self) -> None:
        """Kill the process if it exists."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._link.close()
            self._process = None


class ProcessPool:
    """A few processes; urgent work runs before other waiting work.

    most_waiting: limit of waiting work (None: no limit).  idle_s: a process without work ends after this time.
    """

    def __init__(self, count: int, name: str, *, most_waiting: int | None = None, idle_s: float | None = None) -> None:
        self._all = [_Process(name) for _ in range(count)]
        self._idle = list(self._all)
        self._urgent: deque[asyncio.Future[_Process]] = deque()
        self._others: deque[asyncio.Future[_Process]] = deque()
        self._most_waiting = most_waiting
        self._idle_s = idle_s

    async def run(
        self,
        time_s: float,
        function: Callable[..., Made],
        *arguments: Any,
        parts: Callable[[], Awaitable[Sequence[bytes]]] | None = None,
        is_urgent: bool = False,
    ) -> Made:
        """Run a module's function in a process, and return its result.

        parts: returns the last argument when the work starts, so waiting work does not hold that argument in memory.
        The parts are sent one by one, so many large parts never block the event loop for long.
        Raises: TimeoutError after `time_s`; EOFError if the process exited; BusyError; any error of the function.
        """
        process = await self._turn(self._urgent if is_urgent else self._others)
        try:
            read = None if parts is None else await parts()
        except BaseException:
            self._free(process)
            raise
        work = asyncio.ensure_future(asyncio.to_thread(process.run, function, arguments, read, time_s))
        work.add_done_callback(lambda _: self._free(process))  # if the caller is canceled, the thread still uses it
        return cast("Made", await asyncio.shield(work))

    def close(self) -> None:
        """End every process."""
        for process in self._all:
            process.kill()

    async def _turn(self, waiting: deque[asyncio.Future[_Process]]) -> _Process:
        if self._idle:
            return self._idle.pop()  # the process that was used last, so that fewer processes are started
        if self._most_waiting is not None and len(self._urgent) + len(self._others) >= self._most_waiting:
            raise BusyError
        turn: asyncio.Future[_Process] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free(turn.result())
            elif turn in waiting:
                waiting.remove(turn)
            raise

    def _free(self, process: _Process) -> None:
        for waiting in (self._urgent, self._others):
            while waiting:
                turn = waiting.popleft()
                if not turn.done():
                    turn.set_result(process)
                    return
        self._idle.append(process)
        if self._idle_s is not None:
            asyncio.get_running_loop().call_later(self._idle_s, self._end_idle, process, process.uses)

    def _end_idle(self, process: _Process, uses: int) -> None:
        if process in self._idle and process.uses == uses:
            process.kill()
