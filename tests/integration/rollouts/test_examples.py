"""Flagger's and Argo's own calls, as examples/rollouts has them configured, replayed against a real service.

The controllers cannot run here; what they send and how they read the answer is theirs, read from their sources:
Flagger posts {name, namespace, phase, checksum, metadata} and takes 2xx for a yes; Argo's web provider gets a URL and
reads JSON, its Prometheus provider asks a real Prometheus, and both hold `result` against their conditions.
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

from shadowdiff.demo.port import free_ports
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
def test_each_example_is_what_the_controllers_take(path: Path) -> None:
    """By the schemas of their own definitions, closed to unknown keys."""
    folder = schemas_folder()
    if folder is None:
        pytest.skip("no schemas of custom resources here: name their folder in SHADOWDIFF_CRD_SCHEMAS")
    for each in objects(path.name):
        assert is_custom(each)
        assert [] == faults_of_custom(each, folder)


class Candidate(ThreadingHTTPServer):
    """v2, which can be made wrong."""

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
        """Say nothing."""


@dataclass
class Own(Service):
    """A service whose API asks for a token."""

    def get(self, path: str, within_s: float = 10) -> Any:
        """Return the JSON of a path of the API."""
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
        """Send that many requests through the mesh, and wait until all are judged."""
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
        """Return where a URL of the examples leads on this machine."""
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
        service = Own(tmp_path_factory.mktemp("rollouts"), config, {"ARGO_TOKEN": TOKEN, "HOOKS_TOKEN": HOOKS_TOKEN})
        service.start()
        try:
            yield World(service, v2)
        finally:
            _ = service.stop()
            v2.shutdown()


@pytest.fixture
def here(running: World, request: pytest.FixtureRequest) -> World:
    """Return the service with a target that no other test uses, and with a v2 that is sound."""
    running.candidate.wrong = False
    running.target = TARGETS[_TAKEN.setdefault(request.node.name, len(_TAKEN))]
    return running


@dataclass
class Flagger:
    """What its controller does with a Canary's webhooks."""

    world: World
    canary: dict[str, Any]
    checksum: str
    phase: str = "Progressing"

    async def call(self, kind: str) -> int:
        """Call the hooks of one type, as its controller does, and return the status."""
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

    async def asks_until(self, kind: str, wanted: int) -> None:
        """Ask as it does, again and again, until that is the answer: the books of an epoch come a moment later."""
        deadline, status = time.monotonic() + WITHIN_S, 0
        while status != wanted:
            assert time.monotonic() < deadline, f"{kind} answers {status}, not {wanted}"
            await asyncio.sleep(0.1)
            status = await self.call(kind)

    async def advance(self) -> list[int]:
        """Go one interval on: it asks whether to roll back, then whether this check failed."""
        return [await self.call("rollback"), await self.call("rollout")]


@pytest.mark.parametrize("name", ["flagger-istio.yaml", "flagger-gateway-api.yaml"])
async def test_flagger_promotes_what_is_sound_and_rolls_back_what_is_not(name: str, here: World) -> None:
    """A first revision waits for its pass and is promoted; a second one differs and is rolled back."""
    (canary,) = objects(name)
    first = Flagger(here, canary, "6f9bb5c7b4")
    assert [200, 200] == [await first.call("event"), await first.call("pre-rollout")]
    assert [404, 200] == await first.advance()
    first.phase = "WaitingPromotion"
    assert 409 == await first.call("confirm-promotion")
    await here.pairs()
    await first.asks_until("confirm-promotion", 200)
    first.phase = "Succeeded"
    assert 200 == await first.call("event")
    here.candidate.wrong = True
    second = Flagger(here, canary, "77c9d8f6d5")
    assert 200 == await second.call("pre-rollout")
    await here.pairs()
    await second.asks_until("rollout", 412)
    assert [200, 412] == await second.advance()
    assert 412 == await second.call("confirm-promotion")


async def test_flagger_without_the_token_is_refused(here: World) -> None:
    """By a 4xx, which neither promotes nor rolls back."""
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
    """Return what a condition is for a result; the language is Argo's expr, as far as the examples use it."""
    form = _ARGO.fullmatch(condition)
    assert form is not None, condition
    what, compared, value = form.groups()
    if what == "result[0]":
        return bool(result) and _COMPARED[compared](result[0], 0)
    return result["verdict"] == value.strip('"')


def _phase(metric: dict[str, Any], result: Any) -> str:
    """Return the phase of a measurement, as Argo tells it from its conditions."""
    if _holds(metric["failureCondition"], result):
        return "Failed"
    return "Successful" if _holds(metric["successCondition"], result) else "Inconclusive"


def _filled(text: str, **arguments: str) -> str:
    for name, value in arguments.items():
        text = text.replace("{{args." + name + "}}", value)
    assert "{{" not in text
    return text


async def test_argos_web_provider_pauses_passes_and_fails(here: World) -> None:
    """Each revision by its own epoch: inconclusive at first, then successful; the next one fails. Always a 200."""
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
    """Run a real Prometheus on the service's metrics."""
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
    """From a real Prometheus: no series is inconclusive, then so is insufficient, then a pass and a fail."""
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
                except aiohttp.ClientError:  # it starts
                    seen = "Prometheus does not answer yet"

        await until("Inconclusive")
        await here.pairs()
        await until("Successful")
        here.candidate.wrong = True
        await here.pairs(PAIRS * 3)
        await until("Failed")
