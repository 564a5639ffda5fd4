"""Run the rendered chart in a real Envoy: pairs are complete, and a hanging service affects no user.

`helm template` renders the filter, the mirror, the id and the limits. `istio.py` adds them to Envoy's own
configuration, as istiod would.
"""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import web
from istio import apply, both_sides
from mesh_service import service_mesh
from mesh_world import Plan, World, mesh, serving

from shadowdiff.demo.envoy import files, render
from shadowdiff.demo.process import HOST, free_ports
from tests.chart.rendering import rendered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

BODY = b'{"sku":"SD-1","price":"10.00"}'
RECORDS = "cluster.outbound.8081..shadowdiff.shadowdiff.svc.cluster.local"
MIRROR = "cluster.outbound.8080..shadowdiff.shadowdiff.svc.cluster.local"
MIB = 1 << 20
LONG_TIMEOUTS: dict[str, Any] = {
    "istio__records__connectTimeout": "20000ms",
    "istio__mirror__connectTimeout": "20000ms",
    "recorder__timeoutMs": 20_000,
}
"""For tests where every pair counts: a busy machine may take more than 250 ms to connect."""
STATED_MIB = 256
WITHIN_S = 60


async def _answer(request: web.Request) -> web.StreamResponse:
    return web.json_response({"path": request.path})


async def _ask(world: World, count: int, at_once: int, *, posts: int = 0) -> list[int]:
    """Send requests to v1 through Envoy, and return the statuses of the failed ones.

    posts: the number of records and copies to wait for per request. The function waits for records and copies before it
    sends more, so no limit rejects a request on a slow machine. If `posts` is 0, the function does not wait.
    """
    wrong: list[int] = []

    async def one(name: str) -> None:
        async with world.user.get(f"{world.client}/orders/{name}") as answer:
            if answer.status != 200 or name not in await answer.text():
                wrong.append(answer.status)

    for step in range(count // at_once):
        _ = await asyncio.gather(*(one(f"{number}-{step}") for number in range(at_once)))
        async with asyncio.timeout(WITHIN_S):
            while await _taken(world) < posts * at_once * (step + 1):  # noqa: ASYNC110 - polls
                await asyncio.sleep(0.01)
    return wrong


async def _taken(world: World) -> int:
    """Return how many records and copies got a response."""
    return sum([await world.statistic(f"{cluster}.upstream_rq_completed") for cluster in (RECORDS, MIRROR)])


@pytest.mark.parametrize(
    ("case", "template"),
    [("istio", "envoy.yaml"), ("gateway-api", "envoy.yaml"), ("istio-gateway", "gateway.yaml")],
)
async def test_the_rendered_chart_pairs_every_request(case: str, template: str, tmp_path: Path) -> None:
    """300 requests through a VirtualService, an HTTPRoute and a gateway give 300 matches."""
    over = LONG_TIMEOUTS | {"recorder__skipPaths": ["/status/live"]}
    if case == "istio-gateway":
        shop = {"name": "shop", "hosts": [HOST, "recommendation"], "candidate": {"url": "http://shop-v2"}}
        own = {"enabled": True, "at": "gateway", "selector": {"istio": "ingressgateway"}}
        way = {"enabled": True, "destination": {"host": "shop"}}
        over |= {"targets": [shop | {"mesh": {"recorder": own, "virtualService": way}}]}
    plan = Plan(template=template, change=partial(apply, objects=rendered(case, **over)))
    async with service_mesh(_answer, _answer, tmp_path, plan) as here:
        wrong = await _ask(here.world, 300, 10, posts=2)
        forged = {"x-diff-id": "forged"}
        for number in range(3):
            async with here.world.user.get(f"{here.world.client}/forged/{number}", headers=forged) as answer:
                assert 200 == answer.status
        if template == "envoy.yaml":  # the kubelet's probes reach v1 directly, without a mirror
            async with here.world.user.get(f"{here.world.inbound}/x", headers={"user-agent": "kube-probe/1.33"}):
                pass
            async with here.world.user.get(f"{here.world.inbound}/status/live?deep=1", headers={"x-diff-id": "1"}):
                pass
        ledger = await here.when(lambda now: now.pairs["ready"] >= 303)

    assert ([], 303, 303) == (wrong, ledger.pairs["ready"], ledger.pairs["match"])
    assert 303 == ledger.recorded["received"]
    assert ledger.balanced


async def test_both_sides_recorded_pair_without_a_mirror_of_ours(tmp_path: Path) -> None:
    """A rollout controller sends copies to v2, and the proxies of v1 and v2 record. 10 of 200 pairs differ."""

    async def newer(request: web.Request) -> web.StreamResponse:
        path = request.path
        return web.json_response({"path": path if not path.endswith("-0") else "wrong"})

    async with serving(newer) as v2:
        plan = Plan(
            change=partial(both_sides, objects=rendered("both-sides", **LONG_TIMEOUTS), v2=v2, port=free_ports([0])[0])
        )
        async with service_mesh(_answer, _answer, tmp_path, plan) as here:
            wrong = await _ask(here.world, 200, 10, posts=2)
            ledger = await here.when(lambda now: now.pairs["ready"] >= 200)

    assert ([], 200, 190, 10) == (wrong, ledger.pairs["ready"], ledger.pairs["match"], ledger.pairs["mismatch"])
    assert (0, 400, 400) == (
        ledger.mirrored["received"],
        ledger.recorded["received"],
        ledger.recorded["accepted"],
    )
    assert (1.0, True) == (ledger.coverage["ratio"], ledger.balanced)


@asynccontextmanager
async def _hung() -> AsyncGenerator[int]:
    """Accept connections in the kernel and never read from them, like a stopped process.

    In this test, TCP segments are as small as on a network. With loopback's segments of 64 KiB, the kernel, not the
    proxy, would buffer whole bodies.
    """
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
        server.bind((HOST, 0))
        server.listen(4096)
        yield server.getsockname()[1]


async def test_breakers_shed_while_shadowdiff_hangs_and_no_user_notices(tmp_path: Path) -> None:
    """All of 2,000 requests, sent 50 at once, get a response.

    Envoy limits the connections to shadowdiff, and drops the copies and records above the limit.
    """
    async with _hung() as mirror, _hung() as records:
        plan = Plan(ports=(mirror, records), change=partial(apply, objects=rendered("istio")))
        async with mesh(_answer, tmp_path, plan) as world:
            wrong = await _ask(world, 2000, 50)
            open_posts = await world.statistic(f"{RECORDS}.upstream_cx_active")
            open_copies = await world.statistic(f"{MIRROR}.upstream_cx_active")
            shed = await world.statistic(f"{RECORDS}.upstream_rq_pending_overflow")
            shed_copies = await world.statistic(f"{MIRROR}.upstream_rq_pending_overflow")

    assert [] == wrong
    assert open_posts <= 32
    assert open_copies <= 64
    assert shed > 1000
    assert shed_copies > 500


def _peak_mib(pid: int) -> float:
    """Return the peak memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


async def peak_of_v1s_proxy(tmp_path: Path, objects: list[dict[str, Any]] | None, requests: int = 1000) -> float:
    """Return the memory of v1's Envoy after 1 MiB responses, 50 at once, while the records port hangs.

    objects: None omits the recorder.
    """

    async def large(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bytes(MIB))

    def change(config: dict[str, Any]) -> dict[str, Any]:
        bounds = [each for each in rendered("istio") if each["kind"] == "DestinationRule"]
        return apply(config, bounds if objects is None else objects)

    async with AsyncExitStack() as stack:
        ports = (await stack.enter_async_context(_hung()), await stack.enter_async_context(_hung()))
        world = await stack.enter_async_context(mesh(large, tmp_path, Plan(ports=ports, change=change)))

        async def ask() -> None:
            for _ in range(requests // 50):
                async with world.user.get(f"{world.inbound}/large", headers={"x-diff-id": "1"}) as answer:
                    assert MIB == len(await answer.read())

        _ = await asyncio.gather(*(ask() for _ in range(50)))
        return _peak_mib(world.envoy.process.pid)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
async def test_v1s_proxy_stays_within_its_memory_while_the_recorder_hangs(tmp_path: Path) -> None:
    """For 1 MiB responses, 50 at once, v1's Envoy needs less than 256 MiB with the chart's limits.

    `scripts/bench proxy_memory` prints this memory, and the memory without a recorder and without limits.
    """
    peak = await peak_of_v1s_proxy(tmp_path, rendered("istio"))
    print(f"v1's Envoy held {peak:.0f} MiB at most")  # noqa: T201
    assert peak < STATED_MIB


@pytest.mark.parametrize("page", ["install.md", "envoy.md"])
def test_the_documented_figure_is_the_tested_one(page: str) -> None:
    """Each page that has the figure also names the command that prints the figure."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    assert (True, True) == (f"{STATED_MIB} MiB" in " ".join(text.split()), "scripts/bench proxy_memory" in text)


@pytest.mark.parametrize("template", ["envoy.yaml", "gateway.yaml"])
def test_the_istiod_stand_in_replaces_the_whole_file(template: str) -> None:
    """If the chart renders only a DestinationRule, Envoy's file loses its original mirror, id and recorder."""
    names = re.findall(r"\$\{(\w+)\}", (files() / template).read_text())
    config = yaml.safe_load(render(files() / template, dict.fromkeys(names, 1)))
    made = apply(config, [each for each in rendered("istio") if each["kind"] == "DestinationRule"])
    text = yaml.safe_dump(made)
    assert "x-diff-id" in yaml.safe_dump(config)
    assert not {"x-diff-id", "request_mirror_policies", "envoy.filters.http.lua.v3.Lua"} & set(
        re.findall(r"[\w.-]+", text)
    )
