"""Child processes of the demo end with it. A child that exits early is reported with its log."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shadowdiff.demo.process import HOST, DemoError, free_ports, start, stop, wait_ready

SLEEPER = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(600)",
]


def _has_started(log: Path) -> bool:
    return "here" in log.read_text()


async def test_a_child_is_stopped_by_sigterm(tmp_path: Path) -> None:
    """The exit code of the child shows the signal."""
    child = start("sleeper", SLEEPER, tmp_path)

    async def ready() -> bool:
        return _has_started(child.log)

    await wait_ready(child, ready, 20)

    assert child.alive
    assert await stop(child) == -15
    assert not child.alive


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """SIGKILL follows after the given time."""
    child = start("stubborn", STUBBORN, tmp_path)

    async def ready() -> bool:
        return _has_started(child.log)

    await wait_ready(child, ready, 20)

    assert await stop(child, within_s=0.1) == -9


async def test_a_child_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    """The error has the child, its exit code and its log."""
    child = start("broken", [sys.executable, "-c", "raise SystemExit('no such port')"], tmp_path)

    async def never() -> bool:
        return False

    with pytest.raises(DemoError, match=r"broken exited with code 1; .*broken.log ends with:\nno such port"):
        await wait_ready(child, never, 20)


async def test_a_child_that_is_never_ready_is_reported(tmp_path: Path) -> None:
    """The error names the time limit."""
    child = start("sleeper", SLEEPER, tmp_path)

    async def never() -> bool:
        return False

    with pytest.raises(DemoError, match=r"sleeper was not ready after 0\.1 s"):
        await wait_ready(child, never, 0.1)
    _ = await stop(child)


PARENT = """
import sys, time
from pathlib import Path
from shadowdiff.demo.process import start
child = start("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], Path(sys.argv[1]))
print(child.process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a child when its parent dies")
def test_a_killed_parent_leaves_no_child(tmp_path: Path) -> None:
    """SIGKILL of the demo also ends its children."""
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        _wait_for(lambda: b"time.sleep" in _command(pid), "the child to become the sleeper")
        parent.kill()
        _wait_for(lambda: not _command(pid), "the child to end")


def _command(pid: int) -> bytes:
    """Return the command line of a process, or an empty one if it has exited."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _wait_for(happened: object, what: str) -> None:
    assert callable(happened)
    deadline = time.monotonic() + 20
    while not happened():
        if time.monotonic() > deadline:
            pytest.fail(f"not within 20 s: {what}")
        time.sleep(0.01)


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    """The demo uses the preferred port if it is free, otherwise another one. All ports are different."""
    with socket.create_server((HOST, 0)) as server:
        taken = server.getsockname()[1]
        ports = free_ports([taken, 0, 0])

    assert taken not in ports
    assert len(set(ports)) == 3
    assert free_ports([ports[1]]) == [ports[1]]
