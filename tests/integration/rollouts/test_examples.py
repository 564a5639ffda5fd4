"""Replay the requests of Flagger and Argo against a real service, as configured in examples/rollouts.

The controllers cannot run here. The requests, and the reading of responses, follow their source code. Flagger posts
{name, namespace, phase, checksum, metadata} and reads 2xx as yes. Argo's web provider gets a URL and reads JSON; its
Prometheus provider queries a real Prometheus. Both check `result` against their conditions.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import operator
import re
import subprocess
import threading
import time
import urllib.request
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest
import yaml

from shadowdiff.demo.process import free_ports
from tests.chart.schemas import faults_of_custom, is_custom, schemas_folder
from tests.conftest import ROOT, RedisServer, needs_tool
from tests.running import Mesh, Service, mesh_of, settled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

EXAMPLES = sorted((ROOT / "examples" / "rollouts").glob("*.yaml"))
TARGETS = [f"orders-{number}" for number in range(8)]
_TAKEN: dict[str, int] = {}
TOKEN = "a-token-with-the-role-write"
HOOKS_TOKEN = "a-token-of-the-hooks-alone"
WITHIN_S = 60.0
PAIRS = 150
_NUMBERS = itertools.count()


def objects(name: str) -> list[dict[str, Any]]:
    """Return the objects of an example."""
    return list(yaml.safe_load_all((ROOT / "examples" / "rollouts" / name).read_text()))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_each_example_is_valid_for_its_controller(path: Path) -> None:
    """Each example is valid under the schema of its controller's own definitions, without unknown keys."""
    folder = schemas_folder()
    if folder is None:
        pytest.skip("no schemas of custom resources here: name their folder in SHADOWDIFF_CRD_SCHEMAS")
    for each in objects(path.name):
        assert is_custom(each)
        assert [] == faults_of_custom(each, folder)


class Candidate(ThreadingHTTPServer):
    """A v2 whose responses a test can make wrong."""

    wrong = False
    daemon_threads = True
    request_queue_size = 512


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"price": 2}' if cast("Candidate", self.server).wrong else b'{"price": 1}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its base has the name
        """Suppress the server's log lines."""


@dataclass
class AuthenticatedService(Service):
    """A service whose API requires a token."""

    def get(self, path: str, within_s: float = 10) -> Any:
        """Return the JSON of an API path."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(self.url("web", f"/api/v1/{path}"), headers=headers)
        with urllib.request.urlopen(request, timeout=within_s) as answer:
            return json.load(answer)


@dataclass
class World:
    """A service, its v2, and one of its targets."""

    service: Service
    candidate: Candidate
    target: str = ""

    async def pairs(self, count: int = PAIRS) -> None:
        """Send this number of requests through the mesh, and wait until all are compared."""
        before = (await asyncio.to_thread(self.service.ledger, self.target))["pairs"]["ready"]
        async with mesh_of(self.service) as mesh:
            mesh.host = self.target
            _ = await asyncio.gather(*(self._one(mesh, f"r{next(_NUMBERS)}") for _ in range(count)))
        _ = await self.service.until(
            lambda books: settled(books) and books["pairs"]["ready"] == before + count, target=self.target
        )

    async def _one(self, mesh: Mesh, name: str) -> None:
        assert 202 == await mesh.mirror(name)
        assert 202 == await mesh.record(name, b'{"price": 1}', **{"h-content-type": "application/json"})

    def here(self, url: str) -> str:
        """Return the URL on this machine for a URL of the examples."""
        return url.replace("http://shadowdiff.shadowdiff:8082", self.service.url("web", ""))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[World]:
    """Run one service for all tests, with a target for each."""
    with Candidate(("127.0.0.1", 0), _Answer) as v2:
        threading.Thread(target=v2.serve_forever, daemon=True).start()
        url, gate = f"http://127.0.0.1:{v2.server_port}", {"max_mismatch_ratio": 0.05}
        config = {
            "targets": [{"name": name, "hosts": [name], "candidate": {"url": url}, "gate": gate} for name in TARGETS],
            "store": {"url": redis_server.url, "prefix": "rollouts"},
            "access": {
                "tokens": [{"name": "argo", "role": "write", "secret": "ARGO_TOKEN"}],
                "hooks": "HOOKS_TOKEN",
            },
        }
        service = AuthenticatedService(
            tmp_path_factory.mktemp("rollouts"), config, {"ARGO_TOKEN": TOKEN, "HOOKS_TOKEN": HOOKS_TOKEN}
        )
        service.start()
        try:
            yield World(service, v2)
        finally:
            _ = service.stop()
            v2.shutdown()


@pytest.fixture
def here(running: World, request: pytest.FixtureRequest) -> World:
    """Return the service with a target that no other test uses, and with a correct v2."""
    running.candidate.wrong = False
    running.target = TARGETS[_TAKEN.setdefault(request.node.name, len(_TAKEN))]
    return running


@dataclass
class Flagger:
    """Runs the webhooks of a Canary like Flagger's controller."""

    world: World
    canary: dict[str, Any]
    checksum: str
    phase: str = "Progressing"

    async def call(self, kind: str) -> int:
        """Call the hooks of one type like the controller, and return the status."""
        (hook,) = [each for each in self.canary["spec"]["analysis"]["webhooks"] if each["type"] == kind]
        payload = {
            "name": self.canary["metadata"]["name"],
            "namespace": self.canary["metadata"]["namespace"],
            "phase": self.phase,
            "checksum": self.checksum,
            "metadata": hook["metadata"] | {"token": HOOKS_TOKEN, "target": self.world.target},
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.world.here(hook["url"]), json=payload) as answer,
        ):
            assert "\n" not in await answer.text()
            return answer.status

    async def poll_until(self, kind: str, wanted: int) -> None:
        """Call repeatedly until the expected status, because the ledger of a run arrives with a delay."""
        deadline, status = time.monotonic() + WITHIN_S, 0
        while status != wanted:
            assert time.monotonic() < deadline, f"{kind} answers {status}, not {wanted}"
            await asyncio.sleep(0.1)
            status = await self.call(kind)

    async def advance(self) -> list[int]:
        """Run one interval: first the rollback hooks, then the rollout hooks."""
        return [await self.call("rollback"), await self.call("rollout")]


@pytest.mark.parametrize("name", ["flagger-istio.yaml", "flagger-gateway-api.yaml"])
async def test_flagger_promotes_a_correct_revision_and_rolls_back_a_wrong_one(name: str, here: World) -> None:
    """The first revision waits for a pass and is promoted. The second revision differs and is rolled back."""
    (canary,) = objects(name)
    first = Flagger(here, canary, "6f9bb5c7b4")
    assert [200, 200] == [await first.call("event"), await first.call("pre-rollout")]
    assert [404, 200] == await first.advance()
    first.phase = "WaitingPromotion"
    assert 409 == await first.call("confirm-promotion")
    await here.pairs()
    await first.poll_until("confirm-promotion", 200)
    first.phase = "Succeeded"
    assert 200 == await first.call("event")
    here.candidate.wrong = True
    second = Flagger(here, canary, "77c9d8f6d5")
    assert 200 == await second.call("pre-rollout")
    await here.pairs()
    await second.poll_until("rollout", 412)
    assert [200, 412] == await second.advance()
    assert 412 == await second.call("confirm-promotion")


async def test_flagger_without_the_token_is_rejected(here: World) -> None:
    """The response is a 4xx, which neither promotes nor rolls back."""
    (canary,) = objects("flagger-istio.yaml")
    for hook in canary["spec"]["analysis"]["webhooks"]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(here.here(hook["url"]), json={"name": "orders", "namespace": "shop",
                         "phase": "Progressing", "checksum": "1", "metadata": {"target": here.target}}) as answer,
        ):  # fmt: skip
            assert answer.status in {401, 403}


_ARGO = re.compile(r'(?:len\(result\) > 0 && )?(result(?:\.verdict|\[0\])) (==|>|<) ("\w+"|0)')
_COMPARED = {"==": operator.eq, ">": operator.gt, "<": operator.lt}


def _holds(condition: str, result: Any) -> bool:
    """Evaluate a condition for a result, in the part of Argo's expr language that the examples use."""
    form = _ARGO.fullmatch(condition)
    assert form is not None, condition
    what, compared, value = form.groups()
    if what == "result[0]":
        return bool(result) and _COMPARED[compared](result[0], 0)
    return result["verdict"] == value.strip('"')


def _phase(metric: dict[str, Any], result: Any) -> str:
    """Return the phase of a measurement, as Argo derives it from its conditions."""
    if _holds(metric["failureCondition"], result):
        return "Failed"
    return "Successful" if _holds(metric["successCondition"], result) else "Inconclusive"


def _filled(text: str, **arguments: str) -> str:
    for name, value in arguments.items():
        text = text.replace("{{args." + name + "}}", value)
    assert "{{" not in text
    return text


async def test_argos_web_provider_pauses_passes_and_fails(here: World) -> None:
    """Each revision has its own run: first inconclusive, then successful. The next one fails. Each reply is a 200."""
    template, rollout, _ = objects("argo-web.yaml")
    (metric,) = template["spec"]["metrics"]
    provider = metric["provider"]["web"]
    assert "{$}" == provider["jsonPath"]
    step = next(each["analysis"] for each in rollout["spec"]["strategy"]["canary"]["steps"] if "analysis" in each)
    assert {"target", "revision"} == {each["name"] for each in step["args"]}
    async with aiohttp.ClientSession() as session:

        async def until(revision: str, wanted: str) -> None:
            deadline, phase = time.monotonic() + WITHIN_S, ""
            while phase != wanted:
                assert time.monotonic() < deadline, f"{phase} in the place of {wanted}"
                await asyncio.sleep(0.1)
                phase = await measure(revision)

        async def measure(revision: str) -> str:
            url = here.here(_filled(provider["url"], target=here.target, revision=revision))
            headers = {each["key"]: _filled(each["value"], token=TOKEN) for each in provider["headers"]}
            async with session.get(url, headers=headers) as answer:
                assert 200 == answer.status
                return _phase(metric, await answer.json())

        assert "Inconclusive" == await measure("7d4f")
        await here.pairs()
        await until("7d4f", "Successful")
        here.candidate.wrong = True
        assert "Inconclusive" == await measure("8e5a")
        await here.pairs()
        await until("8e5a", "Failed")


@asynccontextmanager
async def _prometheus(folder: Path, metrics: int) -> AsyncGenerator[str]:
    """Run a real Prometheus that scrapes the service."""
    (port,) = free_ports([0])
    config = folder / "prometheus.yml"
    job = {"job_name": "shadowdiff", "static_configs": [{"targets": [f"127.0.0.1:{metrics}"]}]}
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "250ms"}, "scrape_configs": [job]}))
    command = [needs_tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with subprocess.Popen(  # noqa: ASYNC220 - started once, and waited for by its answers
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


async def test_argos_prometheus_provider_reads_the_same_verdict(here: World, tmp_path: Path) -> None:
    """A missing series and an insufficient verdict are inconclusive. The test then reads a pass and a fail."""
    (template,) = objects("argo-prometheus.yaml")
    (metric,) = template["spec"]["metrics"]
    provider = metric["provider"]["prometheus"]
    assert "Inconclusive" == _phase(metric, [])
    async with (
        _prometheus(tmp_path, here.service.ports["metrics"]) as address,
        aiohttp.ClientSession() as session,
    ):

        async def measure() -> str:
            query = {"query": _filled(provider["query"], target=here.target)}
            async with session.get(f"{address}/api/v1/query", params=query) as answer:
                series = (await answer.json())["data"]["result"]
            return _phase(metric, [float(each["value"][1]) for each in series]) if series else "no series"

        async def until(wanted: str) -> None:
            deadline, seen = time.monotonic() + WITHIN_S, ""
            while seen != wanted:
                assert time.monotonic() < deadline, f"{seen} in the place of {wanted}"
                await asyncio.sleep(0.1)
                try:
                    seen = await measure()
                except aiohttp.ClientError:  # still starting
                    seen = "Prometheus does not answer yet"

        await until("Inconclusive")
        await here.pairs()
        await until("Successful")
        here.candidate.wrong = True
        await here.pairs(PAIRS * 3)
        await until("Failed")
