"""Child processes of the demo, each with a log file, and free ports.

A child ends when this process ends, even if this process is killed. Ctrl-C reaches only this process, which then stops
its children in order. If a child exits unexpectedly, the error contains the end of its log.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shadowdiff.store.embedded_server import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

HOST = "127.0.0.1"
STOP_WITHIN_S = 15.0
POLL_S = 0.05
LOG_TAIL_LINES = 12


class DemoError(Exception):
    """The demo cannot continue. The message names the part and contains the part's log."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running program and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        """Whether the program is still running."""
        return self.process.poll() is None

    def check_alive(self) -> None:
        """Check that the program is running. Raises: DemoError with the end of its log."""
        if not self.alive:
            raise self.error(f"exited with code {self.process.returncode}")

    def error(self, what: str) -> DemoError:
        """Return an error about the program, with the end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return DemoError("\n".join([f"{self.name} {what}; {self.log} ends with:", *lines[-LOG_TAIL_LINES:]]))


def start(name: str, command: Sequence[str], folder: Path) -> Child:
    """Start a program that logs to NAME.log in `folder` and, on Linux, ends with this process.

    Call this from the main thread, because the kernel ties the child to the thread that started it.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - makes one system call, which is looked up before the fork
        )
    return Child(name, process, log)


async def stop(child: Child, within_s: float = STOP_WITHIN_S) -> int:
    """Terminate the program, kill it after `within_s`, and return its exit code."""
    if child.alive:
        child.process.terminate()
    try:
        return await asyncio.to_thread(child.process.wait, within_s)
    except subprocess.TimeoutExpired:
        child.process.kill()
        return child.process.wait()


async def wait_ready(child: Child, ready: Callable[[], Awaitable[bool]], within_s: float) -> None:
    """Wait until `ready` returns True. Raises: DemoError with the end of the log if the program never becomes ready."""
    deadline = time.monotonic() + within_s
    while not await ready():
        child.check_alive()
        if time.monotonic() > deadline:
            raise child.error(f"was not ready after {within_s:g} s")
        await asyncio.sleep(POLL_S)


def free_ports(preferred: Sequence[int]) -> list[int]:
    """Return a port for each preferred port: the same port if it is free, otherwise any free port (0: any port).

    Another process can take a returned port before the caller binds it.
    """
    with ExitStack() as stack:
        return [_bind(stack.enter_context(socket.socket()), port) for port in preferred]


def _bind(unbound: socket.socket, port: int) -> int:
    unbound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # treats a port in TIME_WAIT as free
    try:
        unbound.bind((HOST, port))
    except OSError:
        unbound.bind((HOST, 0))
    return unbound.getsockname()[1]
