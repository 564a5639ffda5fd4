"""Test the service as the image runs it: any UID, no HOME, a read-only root."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from tests.chart.rendering import one, rendered
from tests.conftest import ROOT, RedisServer
from tests.image.contained import UID, Contained, build, contained, needs_namespaces
from tests.running import TARGET, mesh_of, settled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

WITHIN_S = 60


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it once. The service's process sees the folder as /mnt."""
    needs_namespaces()
    folder = tmp_path_factory.mktemp("image")
    folder.chmod(0o755)
    _ = build(folder)
    return folder


@contextlib.asynccontextmanager
async def _v2() -> AsyncGenerator[str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b'{"price": 1}', content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
def service(installed: Path) -> Iterator[Contained]:
    """Return a service without targets, and stop it after the test."""
    (installed / "service.log").unlink(missing_ok=True)
    here = Contained(installed, {})
    try:
        yield here
    finally:
        if here.process is not None:
            here.stop()


async def _pairs(service: Contained) -> Any:
    """Start the service, send one pair, and return the ledger."""
    async with _v2() as v2:
        service.config["targets"] = [{"name": TARGET, "hosts": [TARGET], "candidate": {"url": v2}}]
        service.start()
        async with mesh_of(service) as mesh:
            assert 202 == await mesh.mirror("a1")
            assert 202 == await mesh.record("a1", b'{"price": 1}', **{"h-content-type": "application/json"})
            return await service.until(lambda books: settled(books) and books["pairs"]["ready"] == 1)


def _healthy(service: Contained) -> int:
    """Run the Dockerfile's own health check on the test's port."""
    line = re.search(r"HEALTHCHECK.*?CMD (\[.*?\])\n", (ROOT / "Dockerfile").read_text(), re.DOTALL)
    assert line is not None
    program, *arguments = json.loads(line.group(1).replace(":9090", f":{service.ports['metrics']}"))
    assert "python" == program
    return subprocess.run([sys.executable, *arguments], timeout=WITHIN_S, check=False, capture_output=True).returncode


def _helm_test(service: Contained, targets: str) -> subprocess.CompletedProcess[str]:
    """Run the command of `helm test` from the rendered pod, on the test's ports."""
    (container,) = one(rendered(), "Pod", "shadowdiff-test")["spec"]["containers"]
    numbers = {"mirror": 8080, "records": 8081, "web": 8082, "metrics": 9090}
    ports = {f"PORT_{number}": str(service.ports[name]) for name, number in numbers.items()}
    env = {**os.environ, "HOST": "127.0.0.1", "TARGETS": targets, "WEB": "open", **ports}
    command = [sys.executable, *container["command"][1:]]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=WITHIN_S, check=False)


async def test_it_serves_with_a_store_of_its_own(service: Contained) -> None:
    """The service compares a pair, the health check and `helm test` pass, and the process exits with 0."""
    books = await _pairs(service)
    assert (1, True) == (books["pairs"]["match"], books["balanced"])
    status = service.status()
    assert (str(UID), "0", "1") == (status["Uid"].split()[0], status["Gid"].split()[0], status["NoNewPrivs"])
    assert "/tmp/" in service.log  # noqa: S108 - the embedded store says where its data is
    assert 0 == _healthy(service)
    said = _helm_test(service, TARGET)
    assert (0, 6) == (said.returncode, said.stdout.count("ok: ")), said.stderr
    other = _helm_test(service, "another")
    assert (1, True) == (other.returncode, "8082 lists the targets: expected ['another']" in other.stderr)
    assert 0 == service.stop()


async def test_it_serves_with_a_redis_url_from_a_variable(service: Contained, redis_server: RedisServer) -> None:
    """The environment variable comes from a Secret, as in the chart."""
    service.config["store"] = {"prefix": "image"}
    service.env["SHADOWDIFF_STORE__URL"] = redis_server.url
    books = await _pairs(service)
    assert (1, True) == (books["pairs"]["match"], books["balanced"])
    assert 0 == service.stop()


def test_the_folder_is_read_only_and_the_wheel_runs(installed: Path) -> None:
    """In these tests only /tmp is writable, and the service runs the wheel's code."""
    script = (
        "import shadowdiff, pathlib\n"
        "print(shadowdiff.__file__)\n"
        "for place in ('/mnt/x', '/var/tmp/x', '/x', '/tmp/x'):\n"
        "    try: pathlib.Path(place).touch(); print('wrote', place)\n"
        "    except OSError as error: print(type(error).__name__)\n"
    )
    env = {"PYTHONPATH": "/mnt/site", "PYTHONDONTWRITEBYTECODE": "1"}
    command = contained(installed, [sys.executable, "-c", script], env)
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert ["/mnt/site/shadowdiff/__init__.py", "OSError", "OSError", "OSError", "wrote /tmp/x"] == (
        done.stdout.split("\n")[:-1]
    ), done.stderr
