"""NGINX as the door: examples/nginx as it stands, but for the ports, before the example's v1 and a real service."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conftest import free_port_number, needs_tool
from tests.running import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "nginx"
HOST = "127.0.0.1"
WITHIN_S = 30.0
Sent = tuple[int, Any]


@dataclass
class Door:
    """NGINX, v1 behind it, and the service beside it."""

    port: int
    service: Service

    def ask(self, paths: Sequence[str], method: str = "GET", **headers: str) -> list[Sent]:
        """Ask over one connection, as a browser does; return statuses and bodies."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=WITHIN_S)
        found: list[Sent] = []
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        for path in paths:
            connection.request(method, path, b'{"sku":1}' if method == "POST" else None, fields)
            answer = connection.getresponse()
            found.append((answer.status, json.loads(answer.read())))
        connection.close()
        return found

    def books(self, holds: Callable[[Any], bool]) -> Any:
        """Return the ledger once it holds what is asked, and balances."""
        books: Any = None
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                books = self.service.ledger("shop")
                if books["balanced"] and not books["pairs"]["pending"] and holds(books):
                    return books
            time.sleep(0.05)
        pytest.fail(f"the books never came to say so: {json.dumps(books)}")


@contextmanager
def running(argv: Sequence[str], port: int, folder: Path, environment: dict[str, str]) -> Generator[None]:
    """Run a program until the end of the block, from when it listens."""
    log = folder / f"{port}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(argv, cwd=folder, env=os.environ | environment, stdout=said, stderr=said)
    try:
        deadline = time.monotonic() + WITHIN_S
        while True:
            with suppress(OSError), socket.create_connection((HOST, port), 1):
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(name="door", scope="module")
def _door(tmp_path_factory: pytest.TempPathFactory) -> Generator[Door]:
    """Run everything once."""
    nginx, folder = needs_tool("nginx"), tmp_path_factory.mktemp("door")
    ports = {name: free_port_number() for name in ("8000", "8001", "8002", "8080", "8081", "8082", "9090")}

    def with_ports(file: str) -> str:
        return re.sub(r"\b(?:8000|8001|8002|8080|8081|8082|9090)\b", lambda at: str(ports[at[0]]), _read(file))

    config = yaml.safe_load(with_ports("shadowdiff.yaml"))
    listen = config.pop("listen")
    config["store"]["data_dir"] = str(folder / "store")
    service = Service(folder, config, ports={name: listen[name] for name in ("mirror", "records", "web", "metrics")})
    (folder / "nginx.conf").write_text(with_ports("nginx.conf"))
    (folder / "tmp").mkdir()
    shutil.copy(ROOT / "recorder/python/shadowdiff_recorder.py", folder)
    for name in ("v1.py", "v2.py"):
        shutil.copy(ROOT / "examples/without-a-mesh" / name, folder)
    records = {"SHADOWDIFF_RECORDS_URL": f"http://{HOST}:{ports['8081']}"}
    door = [nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with ExitStack() as stack:
        stack.callback(lambda: service.process and service.stop())
        service.start()
        for argv, port in (
            ([sys.executable, "v1.py", str(ports["8001"])], ports["8001"]),
            ([sys.executable, "v2.py", str(ports["8002"])], ports["8002"]),
            (door, ports["8000"]),
        ):
            stack.enter_context(running(argv, port, folder, records))
        yield Door(ports["8000"], service)


def _read(file: str) -> str:
    return (EXAMPLE / file).read_text("utf-8")


def test_every_request_that_changes_nothing_is_paired(door: Door) -> None:
    """The id that NGINX draws is in the request and its copy; one that a user forged is overwritten."""
    paths = [f"/products/{number}?full=1" for number in range(1, 21)]
    answers = [*door.ask(paths), *door.ask(paths[:5], x_diff_id="forged"), *door.ask(["/orders"], "POST")]
    assert [200] * 25 + [201] == [status for status, _ in answers]
    assert [int(path.rpartition("/")[2].partition("?")[0]) for path in paths] == [a["id"] for _, a in answers[:20]]
    books = door.books(lambda books: books["pairs"]["ready"] >= 25 and books["mirrored"]["blocked"] >= 1)
    primary = books["observations"]["primary"]
    assert {"paired": 25, "duplicate": 0, "ambiguous": 0, "orphaned": 0} == {
        name: primary[name] for name in ("paired", "duplicate", "ambiguous", "orphaned")
    }
    assert 1.0 == books["coverage"]["ratio"]
    assert 25 == sum(books["pairs"][result] for result in ("match", "mismatch"))
    assert books["pairs"]["match"] > 0 < books["pairs"]["mismatch"]


def test_the_user_gets_v1s_answers_while_shadowdiff_hangs(door: Door) -> None:
    """Over one connection, where each request waits for the copy of the one before it, at most for its time-outs."""
    assert door.service.process is not None
    door.service.send(signal.SIGSTOP)
    try:
        answers = door.ask([f"/products/{number}" for number in range(10)])
    finally:
        door.service.send(signal.SIGCONT)
    assert [(200, number) for number in range(10)] == [(status, answer["id"]) for status, answer in answers]


def test_the_user_gets_v1s_answers_while_shadowdiff_is_dead(door: Door) -> None:
    """Nobody listens where the copies go."""
    assert 0 == door.service.stop()
    answers = door.ask([f"/products/{number}" for number in range(10)])
    assert [(200, number) for number in range(10)] == [(status, answer["id"]) for status, answer in answers]
