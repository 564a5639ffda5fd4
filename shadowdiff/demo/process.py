"""Programs that the demo runs beside itself.

In: a name and a command.  Out: a child with a log file of its own, told from others by its process id.
Holds: a child ends with this process, also when that is killed; Ctrl-C reaches this process alone, which then
stops its children in order. A child that ends by itself is reported with the last lines of its log.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

LEASH = Path(__file__).with_name("leash.py")
STOP_WITHIN_S = 15.0
POLL_S = 0.05
LOG_TAIL_LINES = 12


class DemoError(Exception):
    """The demo cannot go on; the message says what failed and where to look."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running program and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self.process.poll() is None

    def tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


def start(name: str, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> Child:
    """Start a program that cannot outlive this process.

    command: an absolute path and its arguments.  folder: where NAME.log goes.  env: added to this process's own.
    Call from the main thread: the kernel ties the child to the thread that started it.
    """
    log = folder / f"{name}.log"
    leashed = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *command]
    with log.open("wb") as out:
        process = subprocess.Popen(
            leashed,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    return Child(name, process, log)


async def stop(child: Child, within_s: float = STOP_WITHIN_S) -> int:
    """Ask the program to end, insist after `within_s`, and return its exit code."""
    if child.alive:
        child.process.terminate()
    try:
        return await asyncio.to_thread(child.process.wait, within_s)
    except subprocess.TimeoutExpired:
        child.process.kill()
        return child.process.wait()


async def wait_ready(child: Child, ready: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Wait until `ready` answers true.

    Raises: DemoError when the program ended or the time ran out, with the end of its log.
    """
    deadline = time.monotonic() + within_s
    while not await ready():
        if not child.alive:
            raise DemoError(
                f"{child.name} ended with code {child.process.returncode}; {child.log} says:\n{child.tail()}"
            )
        if time.monotonic() > deadline:
            raise DemoError(f"{child.name} was not ready after {within_s:g} s; {child.log} says:\n{child.tail()}")
        await asyncio.sleep(POLL_S)
