"""Run NGINX with the unchanged files of examples/nginx, except for ports, in front of v1 and a real service."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
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
WITHIN_S = 90.0
Sent = tuple[int, Any]


@dataclass
class Proxy:
    """The running NGINX proxy, v1, and the service."""

    port: int
    service: Service

    def ask(self, paths: Sequence[str], method: str = "GET", **headers: str) -> list[Sent]:
        """Send requests over one connection, as a browser does; return statuses and bodies."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=WITHIN_S)
        found: list[Sent] = []
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        for path in paths:
            connection.request(method, path, b'{"sku":1}' if method == "POST" else None, fields)
            answer = connection.getresponse()
            found.append((answer.status, json.loads(answer.read())))
        connection.close()
        return found

    def ledger(self, holds: Callable[[Any], bool]) -> Any:
        """Return the ledger when it has the expected counts and balances."""
        ledger: Any = None
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            with suppress(OSError):
                ledger = self.service.ledger("shop")
                if ledger["balanced"] and not ledger["pairs"]["pending"] and holds(ledger):
                    return ledger
            time.sleep(0.05)
        pytest.fail(f"the ledger did not meet the condition: {json.dumps(ledger)}")


@contextmanager
def running(argv: Sequence[str], port: int, folder: Path, environment: dict[str, str]) -> Generator[None]:
    """Run a program until the block ends; yield when the program listens."""
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


@pytest.fixture(name="proxy", scope="module")
def _proxy(tmp_path_factory: pytest.TempPathFactory) -> Generator[Proxy]:
    """Run NGINX, v1 and the service once for all tests."""
    nginx, folder = needs_tool("nginx"), tmp_path_factory.mktemp("proxy")
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
    proxy = [nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with ExitStack() as stack:
        stack.callback(lambda: service.process and service.stop())
        service.start()
        for argv, port in (
            ([sys.executable, "v1.py", str(ports["8001"])], ports["8001"]),
            ([sys.executable, "v2.py", str(ports["8002"])], ports["8002"]),
            (proxy, ports["8000"]),
        ):
            stack.enter_context(running(argv, port, folder, records))
        yield Proxy(ports["8000"], service)


def _read(file: str) -> str:
    return (EXAMPLE / file).read_text("utf-8")


def test_every_safe_request_is_paired(proxy: Proxy) -> None:
    """The request and its copy have the id that NGINX generated. NGINX overwrites a forged id header."""
    paths = [f"/products/{number}?full=1" for number in range(1, 21)]
    answers = [*proxy.ask(paths), *proxy.ask(paths[:5], x_diff_id="forged"), *proxy.ask(["/orders"], "POST")]
    assert [200] * 25 + [201] == [status for status, _ in answers]
    assert [int(path.rpartition("/")[2].partition("?")[0]) for path in paths] == [a["id"] for _, a in answers[:20]]
    ledger = proxy.ledger(lambda ledger: ledger["pairs"]["ready"] >= 25 and ledger["mirrored"]["blocked"] >= 1)
    primary = ledger["observations"]["primary"]
    assert {"paired": 25, "duplicate": 0, "ambiguous": 0, "orphaned": 0} == {
        name: primary[name] for name in ("paired", "duplicate", "ambiguous", "orphaned")
    }
    assert 1.0 == ledger["coverage"]["ratio"]
    assert 25 == sum(ledger["pairs"][result] for result in ("match", "mismatch"))
    assert ledger["pairs"]["match"] > 0 < ledger["pairs"]["mismatch"]


def test_the_user_gets_v1s_responses_while_shadowdiff_hangs(proxy: Proxy) -> None:
    """On one connection, each request waits for the previous request's copy, at most until NGINX's timeouts."""
    assert proxy.service.process is not None
    proxy.service.send(signal.SIGSTOP)
    try:
        answers = proxy.ask([f"/products/{number}" for number in range(10)])
    finally:
        proxy.service.send(signal.SIGCONT)
    assert [(200, number) for number in range(10)] == [(status, answer["id"]) for status, answer in answers]


def test_the_user_gets_v1s_responses_while_shadowdiff_is_dead(proxy: Proxy) -> None:
    """No process listens on the mirror port."""
    assert 0 == proxy.service.stop()
    answers = proxy.ask([f"/products/{number}" for number in range(10)])
    assert [(200, number) for number in range(10)] == [(status, answer["id"]) for status, answer in answers]


def _selecting(nginx_conf: str) -> str:
    """Return a configuration with the map of docs/nginx.md, and the location of the copy that uses it."""
    section = (ROOT / "docs" / "nginx.md").read_text("utf-8").partition("## Copy only some requests")[2]
    conditions, location = re.findall(r"```nginx\n(.*?)```", section, re.DOTALL)[:2]
    stop = location.splitlines()[1]
    opening = "location = /_shadowdiff {\n"
    assert opening in nginx_conf
    return nginx_conf.replace("http {\n", f"http {{\n{conditions}", 1).replace(opening, f"{opening}{stop}\n", 1)


def test_the_map_of_the_docs_copies_only_the_included_requests(tmp_path: Path) -> None:
    """NGINX copies what `include` and `exclude` select, and every user gets v1's response."""
    received: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Note the request if it is a copy, and respond."""
            if self.connection.getsockname()[1] == ports["8080"]:
                received.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - as in http.server

    ports = {name: free_port_number() for name in ("8000", "8001", "8080")}
    paths = ["/products/1?a=b", "/products/1/x", "/api/a", "/api/export", "/other", "/api/b?c"]
    conf = re.sub(r"\b(?:8000|8001|8080)\b", lambda at: str(ports[at[0]]), _selecting(_read("nginx.conf")))
    (tmp_path / "nginx.conf").write_text(conf)
    (tmp_path / "tmp").mkdir()
    with ExitStack() as stack:
        for name in ("8001", "8080"):
            server = http.server.ThreadingHTTPServer((HOST, ports[name]), Handler)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = [needs_tool("nginx"), "-p", str(tmp_path), "-c", "nginx.conf", "-e", "stderr"]
        stack.enter_context(running(proxy, ports["8000"], tmp_path, {}))
        for path in paths:
            connection = http.client.HTTPConnection(HOST, ports["8000"], timeout=WITHIN_S)
            connection.request("GET", path)
            assert 200 == connection.getresponse().status
            connection.close()
        deadline = time.monotonic() + WITHIN_S
        while len(received) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert ["/api/a", "/api/b?c", "/products/1?a=b"] == sorted(received)
