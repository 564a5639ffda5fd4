"""A page of the docs, walked: its commands are run as they stand there, but for the ports.

In: a page, and what of the repository it names.  Out: what each block printed, and the service to ask.
Holds: what `sh server` blocks start stays until the end (`sh server PORT` says where it listens, else the command's
last word does); other `sh` blocks run to their end, and end with 0, or with one of the statuses that the block says
(`fails 1`, `says 0 1`).
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
"""For one block, on the busiest of machines."""


class Block(NamedTuple):
    """One block of a page: its language, what stands beside that, and its text."""

    kind: str
    how: str
    text: str


def blocks(page: str, kind: str = "sh") -> list[Block]:
    """Return the blocks of a page of docs/ in one language."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [found for found in map(Block._make, BLOCK.findall(text)) if found.kind == kind]


def free_ports(names: Sequence[str]) -> dict[str, str]:
    """Return a port on which nobody listens for each of the page's own."""
    return {name: str(free_port_number()) for name in names}


@dataclass
class Walk:
    """A folder that looks like the clone, ports of its own, and what was said on the way."""

    folder: Path
    ports: dict[str, str]
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])
    said: dict[str, str] = field(default_factory=dict[str, str])

    def with_ports(self, text: str) -> str:
        """Return the text with each of the page's ports replaced."""
        return re.sub(rf"\b(?:{'|'.join(self.ports)})\b", lambda found: self.ports[found[0]], text)

    def edit(self, *files: str) -> None:
        """Replace the ports in files of the folder."""
        for name in files:
            path = self.folder / name
            path.write_text(self.with_ports(path.read_text(encoding="utf-8")), encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of a newcomer who has installed shadowdiff."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SHADOWDIFF")}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        paths = {"PATH": programs, "HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state")}
        return {**kept, **paths, "PYTHONPATH": str(ROOT), "SHADOWDIFF_URL": f"http://127.0.0.1:{self.ports['8082']}"}

    def all(self, found: Sequence[Block], before: Callable[[str], None] = lambda _: None) -> None:
        """Walk through blocks, in order; `before` sees the commands of each that is not a server."""
        for block in found:
            if block.how.startswith("server"):
                self.start(block.text.strip(), block.how.partition(" ")[2])
            else:
                before(block.text)
                self.run(block.text, {int(word) for word in block.how.split()[1:]} or {0})

    def start(self, command: str, port: str = "") -> None:
        """Start a server, and wait until it listens: on a port of the page's, or the service when it is ready."""
        said = (self.folder / f"server-{len(self.servers)}.log").open("wb")
        with said:
            *first, last = self.with_ports(command).replace("\\\n", " ").splitlines()
            argv = ["bash", "-euc", "\n".join([*first, f"exec env {last}"])]
            server = subprocess.Popen(argv, cwd=self.folder, env=self.environment, stdout=said, stderr=said)
        self.servers.append(server)
        where = port or command.rsplit(maxsplit=1)[-1]
        until(lambda: server.poll() is not None or self.listens(where), f"{command} to listen")
        assert server.poll() is None, Path(said.name).read_text()

    def listens(self, port: str) -> bool:
        """Whether a server takes connections; the service, whether it is ready."""
        with suppress(OSError):
            if port.isdigit():
                socket.create_connection(("127.0.0.1", int(self.ports[port])), 1).close()
            else:
                urllib.request.urlopen(f"http://127.0.0.1:{self.ports['9090']}/readyz", timeout=1).close()
            return True
        return False

    def run(self, commands: str, statuses: Container[int] = (0,)) -> None:
        """Run a block, and hold it to its exit status."""
        argv = ["bash", "-euc", self.with_ports(commands)]
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment, capture_output=True, check=False, timeout=WITHIN_S
        )
        assert done.returncode in statuses, (commands, done.stdout, done.stderr)
        self.said[commands] = done.stdout.decode()

    def output_of(self, part: str) -> str:
        """Return what the block with this command printed."""
        (found,) = [said for commands, said in self.said.items() if part in commands]
        return found

    def api(self, path: str) -> Any:
        """Ask the service."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['8082']}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def when(self, target: str, holds: Callable[[Any], bool], what: str) -> Any:
        """Return the books of a target once they hold what is asked."""
        until(lambda: holds(self.api(f"ledger?target={target}")), what)
        return self.api(f"ledger?target={target}")

    def stop(self) -> None:
        """Stop what was started, the last first."""
        for server in reversed(self.servers):
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def walking(walk: Walk) -> Iterator[Walk]:
    """Yield a walk that ends with the test."""
    try:
        yield walk
    finally:
        walk.stop()
