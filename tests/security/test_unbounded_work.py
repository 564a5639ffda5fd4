"""Send requests and bodies that would cause unbounded work to a running service.

During each attack, health, the mirror and the records port respond. The CPU time of the event loop between two of their
responses is bounded, and so is the memory of the service and of each of its processes. The ledger balances afterwards,
and no differing pair is reported as a match.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.attack_bodies import ATTACKS, JSON, LIMITS, REQUESTS, RULES, Attack
from tests.conftest import free_port_number
from tests.integration.service.conftest import World, settings, target
from tests.integration.service.scripts import response, v2
from tests.running import WITHIN_S, Service, mesh_of, unharmed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator

    from tests.conftest import RedisServer

OWN_MIB = 256
"""Maximum for the service itself."""
CHILD_MIB = 800
"""Maximum for each process that compares or handles requests."""
LOOP_CPU_S = 0.5
"""Maximum CPU time of the event loop thread between two responses: far more than a slow machine needs."""
ROUNDS = 5
"""Minimum number of requests to health, mirror and records during each attack."""
PAUSE_S = 0.05
"""Between two rounds, so that the attack gets most of the machine."""
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SETTLED_WITHIN_S = 120.0
FORMS = ("patch", "deepdiff")


@pytest.fixture(scope="module")
def shared(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, int]]:
    """Run one service for all tests of this file, check that its log has no failure, and return the port for v2."""
    port = free_port_number()
    config = settings(
        redis_server.url,
        target(port, rules=RULES),
        store={"prefix": f"attacks-{os.getpid()}"},
        pairing={"claim_idle": "60s"},
        limits=LIMITS,
    )
    service = Service(tmp_path_factory.mktemp("service"), config)
    with unharmed(service):
        yield service, port


@pytest.fixture
async def world(shared: tuple[Service, int]) -> AsyncIterator[World]:
    """Return the environment of the shared service, with a v2 that attacks."""

    async def answers(head: bytes, writer: asyncio.StreamWriter) -> None:
        attack = ATTACKS.get(head.split(b" ")[1].decode().strip("/"))
        body, kind = (attack.v2, attack.kind) if attack else (b'{"side": "v2"}', JSON)
        coding = attack.coding if attack else "identity"
        writer.write(response(body, "200 OK", f"content-type: {kind}", f"content-encoding: {coding}"))

    async with v2(answers, shared[1]), mesh_of(shared[0]) as mesh:
        yield World(shared[0], mesh)


@dataclass
class Watch:
    """Polls all ports, and measures the service during the attack."""

    world: World
    name: str
    rounds: int = 0
    loop_cpu_s: float = 0.0
    child_mib: int = 0
    answered: set[tuple[int, ...]] = field(default_factory=set[tuple[int, ...]])

    async def during(self, attack: Awaitable[Any]) -> Any:
        """Poll until the attack ends, and at least a few times; return the result of the attack."""
        at_work = asyncio.ensure_future(attack)
        try:
            while not at_work.done() or self.rounds < ROUNDS:
                await self._round()
        finally:
            at_work.cancel()
        return at_work.result()

    async def _round(self) -> None:
        before_s = self._cpu_s()
        self.rounds += 1
        small = f"{self.name}-small-{self.rounds}"
        self.answered.add(
            (
                await asyncio.to_thread(self._health),
                await self.world.mesh.record(
                    small, b'{"side": "v2"}', "/small", h_content_type=JSON, h_content_encoding="identity"
                ),
                await self.world.mesh.mirror(small, "/small"),
            )
        )
        self.loop_cpu_s = max(self.loop_cpu_s, self._cpu_s() - before_s)
        self._look_at_children()
        await asyncio.sleep(PAUSE_S)

    def _look_at_children(self) -> None:
        for child in self._children():
            with contextlib.suppress(OSError):  # the process has exited
                lines = Path(f"/proc/{child}/status").read_text().splitlines()
                peaks = [int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")]
                self.child_mib = max(self.child_mib, *peaks, 0)

    def _health(self) -> int:
        with urllib.request.urlopen(self.world.service.url("metrics", "/healthz"), timeout=WITHIN_S) as answer:
            return answer.status

    @property
    def _pid(self) -> int:
        assert self.world.service.process is not None
        return self.world.service.process.pid

    def _cpu_s(self) -> float:
        """Return the CPU time of the thread that runs the event loop."""
        fields = Path(f"/proc/{self._pid}/task/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    def _children(self) -> list[str]:
        started = (file.read_text() for file in Path(f"/proc/{self._pid}/task").glob("*/children"))
        return " ".join(started).split()

    def check(self) -> None:
        """Check the measurements against the limits."""
        own_mib = self.world.service.peak_mib()
        assert {(200, 202, 202)} == self.answered
        assert (self.loop_cpu_s < LOOP_CPU_S, own_mib < OWN_MIB, self.child_mib < CHILD_MIB) == (True, True, True), (
            f"{self.loop_cpu_s:.2f} s between two answers, {own_mib} MiB, {self.child_mib} MiB in a process"
        )


async def _pairs_of(world: World, name: str, attack: Attack) -> dict[str, int]:
    """Send the pairs of an attack and return the number of each result. Small pairs must match."""
    before = (await world.service.until(lambda books: books["balanced"]))["pairs"]
    for number in range(attack.pairs):
        coded = {"h_content_type": attack.kind, "h_content_encoding": attack.coding}
        await world.both(f"{name}-{number}", attack.v1, f"/{name}", **coded)

    def came(books: Any) -> dict[str, int]:
        return {one: books["pairs"][one] - before[one] for one in ("ignored", "mismatch", "incomparable")}

    books = await world.service.until(
        lambda books: sum(came(books).values()) >= attack.pairs, within_s=SETTLED_WITHIN_S
    )
    return came(books)


@pytest.mark.parametrize("name", ATTACKS)
async def test_bodies_that_would_cause_unbounded_work_stop_nothing(name: str, world: World) -> None:
    """Each pair has a difference or exceeds the work budget. Small pairs match meanwhile."""
    attack, watch = ATTACKS[name], Watch(world, name)
    came = await watch.during(_pairs_of(world, name, attack))
    watch.check()
    books = await world.until()
    assert attack.pairs == sum(came[result] for result in attack.results), came
    assert books["balanced"]


async def _preview(world: World, rules: list[dict[str, Any]], limit: int = 1000) -> int:
    url = world.service.url("web", f"/api/v1/rules/preview?limit={limit}")
    async with world.mesh.session.post(url, json={"target": "shop", "rules": rules}) as answer:
        await answer.read()
        return answer.status


@pytest.mark.parametrize("name", REQUESTS)
async def test_rule_previews_that_would_cause_unbounded_work_stop_nothing(name: str, world: World) -> None:
    """A preview of a rule on samples of these bodies ends, or fails because it takes too long."""
    watch = Watch(world, name.replace(" ", "-"))
    assert await watch.during(_preview(world, REQUESTS[name])) in {200, 422}
    watch.check()


async def test_too_many_slow_requests_are_rejected_and_stop_nothing(world: World) -> None:
    """Only a bounded number of slow requests waits.

    Other slow requests get a response that asks the client to retry.
    """
    watch = Watch(world, "many")
    asked = asyncio.gather(*(_preview(world, REQUESTS["a few long paths"], limit=100) for _ in range(20)))
    statuses = await watch.during(asked)
    assert {503} < set(statuses) <= {200, 422, 503}
    watch.check()


async def test_suggestions_and_exports_of_those_bodies_stop_nothing(world: World) -> None:
    """Suggestions and exports end, or report that they take too long."""

    async def status(path: str) -> int:
        async with world.mesh.session.get(world.service.url("web", f"/api/v1/{path}")) as answer:
            await answer.read()
            return answer.status

    async def all_of() -> set[int]:
        samples = await world.samples()
        newest = {one["path"]: one["id"] for one in samples}
        found = [await status("suggestions?target=shop"), await status("rules?target=shop&format=yaml")]
        return {*found, *[await status(f"samples/{one}/export?form={f}") for one in newest.values() for f in FORMS]}

    watch = Watch(world, "suggestions")
    assert await watch.during(all_of()) <= {200, 422}
    watch.check()
