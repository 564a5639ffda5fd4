"""Run a real shadowdiff process with a scripted v2, and send the copies and records that the mesh would send."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

import aiohttp
import yaml

from tests.conftest import free_port_number
from tests.funnel_check import check_funnels

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence

WITHIN_S = 120.0
LONG_BODY = 1 << 20
TARGET = "shop"


@dataclass
class Service:
    """A `shadowdiff serve` process with a configuration file that tests can rewrite."""

    folder: Path
    config: dict[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    ports: dict[str, int] = field(
        default_factory=lambda: {name: free_port_number() for name in ("mirror", "records", "web", "metrics")}
    )
    process: subprocess.Popen[bytes] | None = None
    arguments: Sequence[str] = ()
    tls: ssl.SSLContext | None = None
    """The TLS context for its ports, if they use TLS."""
    token: str = ""
    """The token for the API, if it requires one."""
    program: Sequence[str] = ("shadowdiff",)
    """A module, and its arguments before `serve`."""
    command: Sequence[str] = ("serve",)

    def write(self) -> Path:
        """Write the configuration file and return its path."""
        listen = {"host": "127.0.0.1", **self.ports}
        path = self.folder / "shadowdiff.yaml"
        path.write_text(yaml.safe_dump({"listen": listen, "log": {"format": "json"}} | self.config))
        return path

    @property
    def log(self) -> str:
        """Return the log of the service."""
        return (self.folder / "service.log").read_text()

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        command = [sys.executable, "-m", *self.program, *self.command, "--config", str(self.write()), *self.arguments]
        with (self.folder / "service.log").open("a") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **self.environment})
        deadline = time.monotonic() + WITHIN_S
        while not self.answers("metrics", "/readyz"):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process only."""
        assert self.process is not None
        self.process.send_signal(number)

    def peak_mib(self) -> int:
        """Return the peak memory of the process."""
        return self._memory_mib("VmHWM")

    def resident_mib(self) -> int:
        """Return the current memory of the process."""
        return self._memory_mib("VmRSS")

    def _memory_mib(self, which: str) -> int:
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(which)) // 1024

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop the process and return its exit code. If the code is 0, check the funnels against the ledger."""
        assert self.process is not None
        unlike: AssertionError | None = None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            if number == signal.SIGTERM:
                unlike = self._unlike_funnels()
            self.process.send_signal(number)
        try:
            code = self.process.wait(timeout=WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process = None
        if unlike is not None:
            raise unlike
        return code

    def _unlike_funnels(self) -> AssertionError | None:
        """Return the error in a funnel, or None if the funnel is right or the store is unavailable."""
        try:
            with contextlib.suppress(URLError, OSError):  # status 503 raises HTTPError, a subclass of URLError
                check_funnels(lambda path: self.get(path, within_s=5))
        except AssertionError as error:
            return error
        return None

    def url(self, port: str, path: str) -> str:
        """Return the URL of a path on one of the ports."""
        scheme = "https" if port in self.config.get("tls", {}) else "http"
        return f"{scheme}://127.0.0.1:{self.ports[port]}{path}"

    def answers(self, port: str, path: str) -> bool:
        """Return whether a GET gets status 200."""
        with (
            contextlib.suppress(URLError, OSError),
            urllib.request.urlopen(self.url(port, path), timeout=2, context=self.tls) as answer,
        ):
            return answer.status == 200
        return False

    def get(self, path: str, within_s: float = 60) -> Any:
        """Return the JSON of an API path."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = urllib.request.Request(self.url("web", f"/api/v1/{path}"), headers=headers)
        with urllib.request.urlopen(request, timeout=within_s, context=self.tls) as answer:
            return json.load(answer)

    def ledger(self, target: str = TARGET) -> Any:
        """Return the ledger of a target."""
        return self.get(f"ledger?target={target}")

    async def until(self, condition: Callable[[Any], bool], within_s: float = WITHIN_S, target: str = TARGET) -> Any:
        """Return a target's ledger when it meets `condition`. After the timeout, fail and show the ledger."""
        books: Any = None
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with contextlib.suppress(URLError, OSError):
                books = await asyncio.to_thread(self.ledger, target)
                if condition(books):
                    return books
            await asyncio.sleep(0.05)
        raise AssertionError(f"the books never came to say so: {json.dumps(books)}\n{self.log[-3000:]}")


@contextlib.contextmanager
def unharmed(service: Service) -> Generator[None]:
    """Run a service for the block, and check that the service exits with 0 and logs no error."""
    service.start()
    yield
    assert 0 == service.stop()
    assert [] == [line for line in service.log.splitlines() if "Traceback" in line or '"level": "ERROR"' in line]


def settled(books: Any) -> bool:
    """Return whether no request of this ledger is in flight."""
    waiting = sum(row["waiting"] for row in books["observations"].values())
    in_flight = books["mirrored"]["in_flight"] + books["recorded"]["in_flight"]
    return books["mirrored"]["received"] > 0 and waiting + in_flight + books["pairs"]["pending"] == 0


@dataclass
class Mesh:
    """Replaces the mesh: sends the mirrored copy of a request, and the record of v1's response."""

    service: Service
    session: aiohttp.ClientSession
    host: str = TARGET

    async def mirror(self, request_id: str, path: str = "/", method: str = "GET", **options: Any) -> int:
        """Send a mirrored request, and return the status."""
        headers = {"host": f"{self.host}-shadow:8080", "x-diff-id": request_id, "x-request-id": request_id}
        headers |= options.pop("headers", {})
        async with self.session.request(
            method, self.service.url("mirror", path), headers={k: v for k, v in headers.items() if v}, **options
        ) as answer:
            return answer.status

    async def record(self, request_id: str, body: bytes = b"", path: str = "/", **fields: str) -> int:
        """Send the record of v1's response, and return the status."""
        stated = {
            "id": request_id, "id-source": "x-diff-id", "method": "GET", "path": path, "host": f"{self.host}:8080",
            "status": "200", "size": str(len(body)), "attempt": "1", "duration-ms": "2",
        } | {name.replace("_", "-"): value for name, value in fields.items()}  # fmt: skip
        headers = {f"x-shadowdiff-{name}": value for name, value in stated.items()}
        sent = (
            body if len(body) < LONG_BODY else io.BytesIO(body)
        )  # aiohttp warns about a large body that is not a stream
        async with self.session.post(self.service.url("records", "/record"), data=sent, headers=headers) as answer:
            return answer.status


@contextlib.asynccontextmanager
async def mesh_of(service: Service) -> AsyncGenerator[Mesh]:
    """Yield a simulated mesh in front of `service`."""
    connector = aiohttp.TCPConnector(ssl=service.tls or True)
    async with aiohttp.ClientSession(auto_decompress=False, connector=connector) as session:
        yield Mesh(service, session)
