"""What the chart renders, in a real Envoy: pairs complete, and a service that hangs costs nobody anything.

The filter, the mirror, the id and the bounds are those of `helm template`; `istio.py` puts them into Envoy's own
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
from mesh_service import whole
from mesh_world import Plan, World, mesh, serving

from shadowdiff.demo.envoy import files, render
from shadowdiff.demo.port import HOST, free_ports
from tests.chart.rendering import rendered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

BODY = b'{"sku":"SD-1","price":"10.00"}'
RECORDS = "cluster.outbound.8081..shadowdiff.shadowdiff.svc.cluster.local"
MIRROR = "cluster.outbound.8080..shadowdiff.shadowdiff.svc.cluster.local"
MIB = 1 << 20
PATIENT: dict[str, Any] = {
    "istio__records__connectTimeout": "20000ms",
    "istio__mirror__connectTimeout": "20000ms",
    "recorder__timeoutMs": 20_000,
}
"""Where every pair counts: on a busy machine a quarter of a second is no time to connect in."""
STATED_MIB = 256
WITHIN_S = 60


async def _answer(request: web.Request) -> web.StreamResponse:
    return web.json_response({"path": request.path})


async def _ask(world: World, count: int, at_once: int, *, posts: int = 0) -> list[int]:
    """Ask v1 through Envoy, and return the statuses of what was not as it should be.

    posts: how many records and copies each request makes; all are waited for before more is asked, so that on the
    slowest of machines no bound turns any away. 0 waits for none.
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
    """Return how many records, and copies, have got an answer."""
    return sum([await world.statistic(f"{cluster}.upstream_rq_completed") for cluster in (RECORDS, MIRROR)])


@pytest.mark.parametrize(
    ("case", "template"),
    [("istio", "envoy.yaml"), ("gateway-api", "envoy.yaml"), ("istio-gateway", "gateway.yaml")],
)
async def test_what_the_chart_renders_pairs_every_request(case: str, template: str, tmp_path: Path) -> None:
    """300 requests, each recorded and mirrored, by a VirtualService, an HTTPRoute and at a gateway: 300 matches."""
    over = PATIENT | {"recorder__skipPaths": ["/status/live"]}
    if case == "istio-gateway":
        shop = {"name": "shop", "hosts": [HOST, "recommendation"], "candidate": {"url": "http://shop-v2"}}
        own = {"enabled": True, "at": "gateway", "selector": {"istio": "ingressgateway"}}
        way = {"enabled": True, "destination": {"host": "shop"}}
        over |= {"targets": [shop | {"mesh": {"recorder": own, "virtualService": way}}]}
    plan = Plan(template=template, change=partial(apply, objects=rendered(case, **over)))
    async with whole(_answer, _answer, tmp_path, plan) as here:
        wrong = await _ask(here.world, 300, 10, posts=2)
        forged = {"x-diff-id": "forged"}
        for number in range(3):
            async with here.world.user.get(f"{here.world.client}/forged/{number}", headers=forged) as answer:
                assert 200 == answer.status
        if template == "envoy.yaml":  # the kubelet's probes come to v1's side, past every mirror
            async with here.world.user.get(f"{here.world.inbound}/x", headers={"user-agent": "kube-probe/1.33"}):
                pass
            async with here.world.user.get(f"{here.world.inbound}/status/live?deep=1", headers={"x-diff-id": "1"}):
                pass
        ledger = await here.when(lambda now: now.pairs["ready"] >= 303)

    assert ([], 303, 303) == (wrong, ledger.pairs["ready"], ledger.pairs["match"])
    assert 303 == ledger.recorded["received"]
    assert ledger.balanced


async def test_both_sides_recorded_pair_without_a_mirror_of_ours(tmp_path: Path) -> None:
    """The copy goes to v2 itself, as a rollout controller lets it, and both proxies record: 200 pairs, 10 differ."""

    async def newer(request: web.Request) -> web.StreamResponse:
        path = request.path
        return web.json_response({"path": path if not path.endswith("-0") else "wrong"})

    async with serving(newer) as v2:
        plan = Plan(
            change=partial(both_sides, objects=rendered("both-sides", **PATIENT), v2=v2, port=free_ports([0])[0])
        )
        async with whole(_answer, _answer, tmp_path, plan) as here:
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
    """Accept in the kernel and never read, as a process that was stopped.

    Its segments are those of a network: loopback's, of 64 KiB, let the kernel hold whole bodies in the proxy's place.
    """
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
        server.bind((HOST, 0))
        server.listen(4096)
        yield server.getsockname()[1]


async def test_breakers_shed_while_shadowdiff_hangs_and_nobody_notices(tmp_path: Path) -> None:
    """2,000 requests, 50 at once, mirror and recorder hung: all answered, connections bounded, the rest shed."""
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
    """Return the most memory that a process ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


async def peak_of_v1s_proxy(tmp_path: Path, objects: list[dict[str, Any]] | None, requests: int = 1000) -> float:
    """Return the memory of v1's Envoy after answers of 1 MiB, 50 at once, while the recorder hangs.

    objects: None leaves the recorder away.
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
    """Answers of 1 MiB, 50 at once: the bounds that the chart renders keep v1's Envoy below 256 MiB.

    `scripts/bench proxy_memory` prints it beside the same without a recorder, and without bounds.
    """
    peak = await peak_of_v1s_proxy(tmp_path, rendered("istio"))
    print(f"v1's Envoy held {peak:.0f} MiB at most")  # noqa: T201
    assert peak < STATED_MIB


@pytest.mark.parametrize("page", ["install.md", "envoy.md"])
def test_the_figure_that_is_stated_is_the_one_that_is_held(page: str) -> None:
    """In each page that names it, with the command that prints it."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    assert (True, True) == (f"{STATED_MIB} MiB" in " ".join(text.split()), "scripts/bench proxy_memory" in text)


@pytest.mark.parametrize("template", ["envoy.yaml", "gateway.yaml"])
def test_the_stand_in_for_istiod_leaves_nothing_of_the_file_itself(template: str) -> None:
    """What the tests above find in Envoy came from the chart."""
    names = re.findall(r"\$\{(\w+)\}", (files() / template).read_text())
    config = yaml.safe_load(render(files() / template, dict.fromkeys(names, 1)))
    made = apply(config, [each for each in rendered("istio") if each["kind"] == "DestinationRule"])
    text = yaml.safe_dump(made)
    assert "x-diff-id" in yaml.safe_dump(config)
    assert not {"x-diff-id", "request_mirror_policies", "envoy.filters.http.lua.v3.Lua"} & set(
        re.findall(r"[\w.-]+", text)
    )
