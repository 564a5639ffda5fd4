"""A separate real Redis that a test can start, pause, kill and restart."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from socket import create_connection
from typing import TYPE_CHECKING

from tests.conftest import free_port_number, needs_tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ANSWERS_WITHIN_S = 60.0


@dataclass
class OwnRedis:
    """A redis-server on one port, empty after every start, or with the data in `folder`."""

    folder: Path
    durable: bool = False
    port: int = field(default_factory=free_port_number)
    process: subprocess.Popen[bytes] | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def url(self) -> str:
        """Return the URL with the loopback port."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it responds."""
        command = [needs_tool("redis-server"), "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        command += ["--appendonly", "yes" if self.durable else "no", "--appendfsync", "always"]
        command += ["--dir", str(self.folder), "--logfile", str(self.folder / "redis.log")]
        seen = {**os.environ, **self.environment}
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=seen)
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "redis.log").read_text()
            assert time.monotonic() < deadline, (self.folder / "redis.log").read_text()
            time.sleep(0.02)

    def _answers(self) -> bool:
        with suppress(OSError), create_connection(("127.0.0.1", self.port), timeout=1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(7) == b"+PONG\r\n"
        return False

    def kill(self) -> None:
        """Kill the server at once, like a crash."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(timeout=ANSWERS_WITHIN_S)
            self.process = None

    def pause(self) -> None:
        """Pause the server without closing connections."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a paused server."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
