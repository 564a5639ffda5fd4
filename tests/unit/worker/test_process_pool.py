"""Work in processes is bounded in time, in memory and in waiting work."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from shadowdiff.queries.errors import RequestError
from shadowdiff.rules import RuleError
from shadowdiff.service.web_jobs import WebJobs
from shadowdiff.worker import process_pool as module
from shadowdiff.worker.process_pool import BusyError, ProcessPool

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

NAME = "shadowdiff-tested"
AMPLE_S = 60.0
FOREVER_S = 3600.0


@contextmanager
def pool(count: int = 1, **bounds: float) -> Generator[ProcessPool]:
    """Yield a pool, and end its processes."""
    made = ProcessPool(count, NAME, **bounds)  # pyright: ignore[reportArgumentType] - numbers, as the bounds are
    try:
        yield made
    finally:
        made.close()


def living() -> set[int | None]:
    """Return the ids of the pool's living processes."""
    return {child.pid for child in multiprocessing.active_children() if child.name == NAME}


def own_pid() -> int:
    """Return the id of the process that runs this."""
    return os.getpid()


def sizes(more: int, parts: Sequence[bytes]) -> list[int]:
    """Return the length of each part, and then `more`."""
    return [*map(len, parts), more]


async def two_parts() -> list[bytes]:
    """Read the parts."""
    return [b"abc", b""]


def wait_for_file(begun: Path, may_end: Path) -> str:
    """Create one file, and wait until the other one exists."""
    begun.touch()
    while not may_end.exists():
        time.sleep(0.01)
    return "canceled"


def hold(byte_count: int) -> int:
    """Allocate this many bytes for a moment."""
    return len(bytearray(byte_count))


def reject(status: int) -> None:
    """Raise an error of the API."""
    raise RequestError(status, "no")


def reject_rule() -> None:
    """Raise the error of an invalid rule."""
    raise RuleError("rules[0]: no")


async def test_arguments_parts_and_errors_pass_between_processes() -> None:
    """The caller gets the exception of the function, and the process stays."""
    with pool() as processes:
        pid = await processes.run(AMPLE_S, own_pid)
        assert [3, 0, 7] == await processes.run(AMPLE_S, sizes, 7, parts=two_parts)
        with pytest.raises(RequestError, match="no") as rejected:
            await processes.run(AMPLE_S, reject, 422)
        with pytest.raises(RuleError, match=r"rules\[0\]: no"):
            await processes.run(AMPLE_S, reject_rule)
        assert (422, pid) == (rejected.value.status, await processes.run(AMPLE_S, own_pid))
    assert pid != os.getpid()
    assert set() == living()


async def test_work_past_its_deadline_is_killed() -> None:
    """After a timeout, another process does the next work."""
    with pool() as processes:
        pid = await processes.run(AMPLE_S, own_pid)
        with pytest.raises(TimeoutError):
            await processes.run(0.01, time.sleep, FOREVER_S)
        assert set() == living()
        assert pid != await processes.run(AMPLE_S, own_pid)


async def test_work_that_needs_too_much_memory_fails_and_the_process_stays() -> None:
    """The system denies the memory; the rest of the machine is not affected."""
    with pool() as processes:
        pid = await processes.run(AMPLE_S, own_pid)
        with pytest.raises(MemoryError):
            await processes.run(AMPLE_S, hold, module.MEMORY_BYTES)
        assert module.MEMORY_BYTES // 4 == await processes.run(AMPLE_S, hold, module.MEMORY_BYTES // 4)
        assert pid == await processes.run(AMPLE_S, own_pid)


async def test_a_process_that_exits_is_replaced() -> None:
    """If a process exits, its caller gets an EOFError."""
    with pool() as processes:
        with pytest.raises(EOFError):
            await processes.run(AMPLE_S, os._exit, 3)
        assert await processes.run(AMPLE_S, own_pid) in living()


async def test_a_canceled_caller_does_not_free_a_process_that_still_works(tmp_path: Path) -> None:
    """The process is busy until the canceled work ends. The next caller gets its own result."""
    begun, may_end = tmp_path / "begun", tmp_path / "may-end"
    with pool(most_waiting=0) as processes:
        canceled = asyncio.create_task(processes.run(AMPLE_S, wait_for_file, begun, may_end))
        while not begun.exists():  # noqa: ASYNC110 - another process creates it
            await asyncio.sleep(0.01)
        canceled.cancel()
        await asyncio.wait([canceled])
        with pytest.raises(BusyError):
            await processes.run(AMPLE_S, sizes, 7, [])
        may_end.touch()
        result = None
        while result is None:
            with suppress(BusyError):
                result = await processes.run(AMPLE_S, sizes, 7, [])
            await asyncio.sleep(0.01)
    assert [7] == result
    assert canceled.cancelled()


async def test_waiting_work_is_bounded() -> None:
    """Running work does not count. Work beyond the bound is rejected at once; cancelled work makes room."""
    with pool(most_waiting=2) as processes:
        pid = await processes.run(AMPLE_S, own_pid)
        running = asyncio.create_task(processes.run(1.0, time.sleep, FOREVER_S))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(processes.run(AMPLE_S, own_pid)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await processes.run(AMPLE_S, own_pid)
        waiting.pop().cancel()
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(processes.run(AMPLE_S, own_pid)))
        with pytest.raises(TimeoutError):
            await running
        assert pid not in await asyncio.gather(*waiting)


async def test_urgent_work_goes_before_other_waiting_work() -> None:
    """Urgent work keeps its order of arrival."""
    done: list[str] = []
    with pool() as processes:

        async def note(name: str, *, is_urgent: bool) -> None:
            await processes.run(AMPLE_S, own_pid, is_urgent=is_urgent)
            done.append(name)

        async with asyncio.TaskGroup() as group:
            for name in ("first", "plain 1", "plain 2", "urgent 1", "urgent 2"):
                group.create_task(note(name, is_urgent=name.startswith("urgent")))
                await asyncio.sleep(0)
    assert ["first", "urgent 1", "urgent 2", "plain 1", "plain 2"] == done


async def test_an_idle_process_ends() -> None:
    """An idle process frees its memory, and the next work starts another process."""
    with pool(idle_s=0.01) as processes:
        pid = await processes.run(AMPLE_S, own_pid)
        async with asyncio.timeout(AMPLE_S):
            while living():  # noqa: ASYNC110 - tests wait on conditions
                await asyncio.sleep(0.005)
        assert pid != await processes.run(AMPLE_S, own_pid)


async def test_a_web_job_reports_the_bound_that_it_reached() -> None:
    """The API returns an error that names a fix."""
    web = WebJobs()
    try:
        with pytest.raises(RequestError, match="memory: give fewer samples") as too_much:
            await web(hold, module.MEMORY_BYTES)
        with pytest.raises(RequestError, match="memory: give fewer samples"):
            await web(os._exit, 3)
        assert (422, 5) == (too_much.value.status, await web(hold, 5))
    finally:
        web.close()
