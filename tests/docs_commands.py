"""Run the commands of a docs page as written, on free ports.

A `sh server` block starts a server that runs until the test ends. The server's port is PORT in `sh server PORT`, or the
last word of the command. Other `sh` blocks must exit with 0, or with a status listed after `fails` or `says` (`fails
1`, `says 0 1`).
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.conftest import free_port_number
from tests.recorder.stub import until

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITHIN_S = 120.0
"""The timeout of one block, on a busy machine."""


class Block(NamedTuple):
    """One fenced block of a page: its language, the rest of the fence line, and its text."""

    kind: str
    how: str
    text: str


def blocks(page: str, kind: str = "sh") -> list[Block]:
    """Return all blocks of one language on a page of docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [found for found in map(Block._make, BLOCK.findall(text)) if found.kind == kind]


def free_ports(names: Sequence[str]) -> dict[str, str]:
    """Map each port number on the page to a free port."""
    return {name: str(free_port_number()) for name in names}


@dataclass
class DocsCommands:
    """Runs the commands of a page in a copy of the repository, on other ports, and stores their output."""

    folder: Path
    ports: dict[str, str]
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])
    output: dict[str, str] = field(default_factory=dict[str, str])

    def with_ports(self, text: str) -> str:
        """Return the text with each port of the page replaced by its free port."""
        return re.sub(rf"\b(?:{'|'.join(self.ports)})\b", lambda found: self.ports[found[0]], text)

    def edit(self, *files: str) -> None:
        """Replace the port numbers in the folder's files."""
        for name in files:
            path = self.folder / name
            path.write_text(self.with_ports(path.read_text(encoding="utf-8")), encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of a new user who has installed shadowdiff."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SHADOWDIFF")}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        paths = {"PATH": programs, "HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state")}
        return {**kept, **paths, "PYTHONPATH": str(ROOT), "SHADOWDIFF_URL": f"http://127.0.0.1:{self.ports['8082']}"}

    def all(self, found: Sequence[Block], before: Callable[[str], None] = lambda _: None) -> None:
        """Run blocks in order. Before each block that starts no server, call `before` with the block's commands."""
        for block in found:
            if block.how.startswith("server"):
                self.start(block.text.strip(), block.how.partition(" ")[2])
            else:
                before(block.text)
                self.run(block.text, {int(word) for word in block.how.split()[1:]} or {0})

    def start(self, command: str, port: str = "") -> None:
        """Start a server, and wait until the server accepts connections or, for shadowdiff, is ready."""
        log = (self.folder / f"server-{len(self.servers)}.log").open("wb")
        with log:
            *first, last = self.with_ports(command).replace("\\\n", " ").splitlines()
            argv = ["bash", "-euc", "\n".join([*first, f"exec env {last}"])]
            server = subprocess.Popen(argv, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        self.servers.append(server)
        where = port or command.rsplit(maxsplit=1)[-1]
        until(lambda: server.poll() is not None or self.listens(where), f"{command} to listen")
        assert server.poll() is None, Path(log.name).read_text()

    def listens(self, port: str) -> bool:
        """Return whether the server accepts connections or, for shadowdiff, is ready."""
        with suppress(OSError):
            if port.isdigit():
                socket.create_connection(("127.0.0.1", int(self.ports[port])), 1).close()
            else:
                urllib.request.urlopen(f"http://127.0.0.1:{self.ports['9090']}/readyz", timeout=1).close()
            return True
        return False

    def run(self, commands: str, statuses: Container[int] = (0,)) -> None:
        """Run a block, and check its exit status."""
        argv = ["bash", "-euc", self.with_ports(commands)]
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment, capture_output=True, check=False, timeout=WITHIN_S
        )
        assert done.returncode in statuses, (commands, done.stdout, done.stderr)
        self.output[commands] = done.stdout.decode()

    def output_of(self, part: str) -> str:
        """Return the output of the block that contains this command."""
        (found,) = [output for commands, output in self.output.items() if part in commands]
        return found

    def api(self, path: str) -> Any:
        """Return the JSON of an API path."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['8082']}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def when(self, target: str, holds: Callable[[Any], bool], what: str) -> Any:
        """Return a target's ledger when the ledger meets the condition."""
        until(lambda: holds(self.api(f"ledger?target={target}")), what)
        return self.api(f"ledger?target={target}")

    def stop(self) -> None:
        """Stop all servers, the last one first."""
        for server in reversed(self.servers):
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def running_commands(commands: DocsCommands) -> Iterator[DocsCommands]:
    """Yield a command runner, and stop the runner's servers when the test ends."""
    try:
        yield commands
    finally:
        commands.stop()
