"""The walk of docs/without-a-mesh.md: its commands are run as they stand there, but for the ports.

What `sh server` blocks start stays until the end; other `sh` blocks run to their end, and succeed or, where the
block says `fails N`, end with N.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.recorder.stub import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/without-a-mesh.md").read_text(encoding="utf-8")
PORTS = ["8000", "8001", "8080", "8081", "8082", "9090"]
BLOCK = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def free_ports(count: int) -> list[str]:
    """Return ports on which nobody listens, none of them twice."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@dataclass
class Walk:
    """A copy of what the document names, ports of its own, and what was said on the way."""

    folder: Path
    ports: dict[str, str]
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])
    said: dict[str, str] = field(default_factory=dict[str, str])

    def with_ports(self, text: str) -> str:
        """Return the text with each of the document's ports replaced."""
        return re.sub("|".join(PORTS), lambda found: self.ports[found[0]], text)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of a newcomer who has installed shadowdiff."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SHADOWDIFF")}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        paths = {"PATH": programs, "HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state")}
        return {**kept, **paths, "PYTHONPATH": str(ROOT), "SHADOWDIFF_URL": f"http://127.0.0.1:{self.ports['8082']}"}

    def start(self, command: str) -> None:
        """Start a server, and wait until it listens: on the last port that it was given, or the service when ready."""
        said = (self.folder / f"server-{len(self.servers)}.log").open("wb")
        with said:
            argv = ["bash", "-c", f"exec env {self.with_ports(command)}"]
            server = subprocess.Popen(argv, cwd=self.folder, env=self.environment, stdout=said, stderr=said)
        self.servers.append(server)
        port = command.rsplit(maxsplit=1)[-1]
        until(lambda: server.poll() is not None or self.listens(port), f"{command} to listen")
        assert server.poll() is None, Path(said.name).read_text()

    def listens(self, port: str) -> bool:
        """Whether a server takes connections; the service, whether it is ready."""
        try:
            if port.isdigit():
                socket.create_connection(("127.0.0.1", int(self.ports[port])), 1).close()
            else:
                urllib.request.urlopen(f"http://127.0.0.1:{self.ports['9090']}/readyz", timeout=1).close()
        except OSError:
            return False
        return True

    def run(self, commands: str, status: int) -> None:
        """Run a block, and hold it to its exit status."""
        argv = ["bash", "-euc", self.with_ports(commands)]
        done = subprocess.run(argv, cwd=self.folder, env=self.environment, capture_output=True, check=False, timeout=60)
        assert status == done.returncode, (commands, done.stdout, done.stderr)
        self.said[commands] = done.stdout.decode()

    def output_of(self, part: str) -> str:
        """Return what the block with this command printed."""
        (found,) = [said for commands, said in self.said.items() if part in commands]
        return found

    def api(self, path: str) -> Any:
        """Ask the service."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['8082']}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        """Stop what was started, the last first."""
        for server in reversed(self.servers):
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    """Copy what the document names into a folder of its own."""
    for part in ("recorder/python", "examples/without-a-mesh"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    walk = Walk(tmp_path, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    configured = tmp_path / "examples/without-a-mesh/shadowdiff.yaml"
    configured.write_text(walk.with_ports(configured.read_text()))
    yield walk
    walk.stop()


def settled(walk: Walk) -> bool:
    """Whether every copy and record has found its place in the books."""
    books = walk.api("ledger?target=shop")
    return books["recorded"]["received"] == 302 and books["pairs"]["mismatch"] + books["pairs"]["match"] == 301


def test_the_document_shows_the_configuration_that_is_there() -> None:
    """The YAML in the text is the example's, key by key."""
    (shown,) = [text for kind, _, text in BLOCK.findall(DOCUMENT) if kind == "yaml"]
    assert yaml.safe_load((ROOT / "examples/without-a-mesh/shadowdiff.yaml").read_text()) == yaml.safe_load(shown)


@pytest.mark.timeout(180)
def test_the_whole_way_without_a_mesh(walk: Walk) -> None:
    """From the copied file to the verdict: what users got is what v1 says, and v2's fault is found in full."""
    for kind, how, commands in BLOCK.findall(DOCUMENT):
        if kind != "sh":
            continue
        if how == "server":
            walk.start(commands.strip())
            continue
        if "targets shop" in commands:
            until(lambda: settled(walk), "every pair to be settled")
        walk.run(commands, int(how.partition(" ")[2] or 0))
    assert '{"id": 7, "name": "Product 7", "price": 10}' in walk.output_of("products/7")
    books = walk.api("ledger?target=shop")
    assert books["balanced"]
    assert (301, 302) == (books["mirrored"]["received"], books["recorded"]["received"])
    assert (271, 30) == (books["pairs"]["match"], books["pairs"]["mismatch"])
    assert 1 == books["recorded"]["ineligible"]
    assert 1.0 == books["coverage"]["ratio"]
    told = walk.output_of("samples")
    assert re.search(r'v2 answered price as a string "([0-9]+)" where v1 answered a number \1\b', told), told
    assert "fail" in walk.output_of("verdict")
