"""The demo's shop runs as real processes behind a real service: the verdict on each state of v2.

The test feeds the mirror and records ports itself, without a proxy. The test sends a user's request to v1, records the
response, and mirrors the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from shadowdiff.demo.shop import CATEGORIES, CATEGORY, ERROR_PRODUCT, ONE_IN, PRODUCTS, STRING_AT, STRING_EVERY
from tests.conftest import free_port_number
from tests.integration.verdict.test_end_to_end import resetting
from tests.running import Mesh, Service, mesh_of, settled

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.conftest import RedisServer

START_WITHIN_S = 30.0
SETTLE_WITHIN_S = 120.0
AT_ONCE = 16
MOST_PAIRS = 10_000
A_LOOK = 500
RULES = [
    {"ignore": "$.meta.generatedAt", "reason": "the clock of the instance that responds"},
    {"ignore": "header.x-version"},
]
QUICK = {"max_mismatch_ratio": 0.05}
ALIKE = [
    number
    for number in range(PRODUCTS)
    if CATEGORIES[number % len(CATEGORIES)] != CATEGORY
    and number != ERROR_PRODUCT
    and number % STRING_EVERY != STRING_AT
]
"""Products without a planted fault; v2 only changes one price in fifty, by the request's id."""


@contextlib.contextmanager
def shop(version: str) -> Generator[tuple[str, subprocess.Popen[bytes]]]:
    """Run one version of the shop as a process."""
    port = free_port_number()
    command = [sys.executable, "-m", "shadowdiff.demo.shop", "--version", version, "--port", str(port)]
    with subprocess.Popen(command) as process:
        try:
            deadline = time.monotonic() + START_WITHIN_S
            while True:
                assert process.poll() is None
                assert time.monotonic() < deadline
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()


def _target(name: str, url: str, gate: dict[str, float] | None = None, timeout: str = "3s") -> dict[str, Any]:
    candidate = {"url": url, "timeout": timeout, "queue_timeout": timeout}
    gated = {"gate": gate} if gate else {}
    return {"name": name, "hosts": [name], "candidate": candidate, "routes": ["/products/{id}"], "rules": RULES} | gated


@dataclass
class Launch:
    """The service, v1, and the client that plays its users."""

    service: Service
    v1: str
    numbers: Iterator[int]

    async def play(self, target: str, pairs: int, *, recorded: bool = True) -> Any:
        """Send this number of user requests, wait until their pairs are compared, and return the verdict."""
        books = await asyncio.to_thread(self.service.ledger, target)
        received = books["mirrored"]["received"] + pairs
        async with mesh_of(self.service) as mesh, aiohttp.ClientSession() as users:
            mesh.host = target
            waiting = iter([next(self.numbers) for _ in range(pairs)])
            await asyncio.gather(*(self._user(mesh, users, waiting, recorded=recorded) for _ in range(AT_ONCE)))
        await self.service.until(
            lambda now: now["mirrored"]["received"] >= received and settled(now), SETTLE_WITHIN_S, target
        )
        return await asyncio.to_thread(self.service.get, f"verdict?target={target}")

    async def _user(self, mesh: Mesh, users: aiohttp.ClientSession, waiting: Iterator[int], *, recorded: bool) -> None:
        for number in waiting:
            path, name = f"/products/{ALIKE[number % len(ALIKE)]}", f"request-{number}"
            async with users.get(f"{self.v1}{path}", headers={"x-request-id": name}) as answer:
                body, kind = await answer.read(), answer.headers["content-type"]
                stated = {"host": mesh.host, "status": str(answer.status), "h_content_type": kind}
            if recorded:
                assert 202 == await mesh.record(name, body, path, **stated)
            assert 202 == await mesh.mirror(name, path)


@pytest.fixture(scope="module")
def launch(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Run v1, a v2 equal to v1, a faulty v2, one that hangs, one that resets, and a service in front of them."""
    with (
        shop("v1") as (v1, _),
        shop("v1") as (same, _),
        shop("v2") as (faulty, _),
        shop("v2") as (hung, stopped),
        resetting() as reset_port,
    ):
        stopped.send_signal(signal.SIGSTOP)
        targets = [
            _target("same", same),
            _target("faulty", faulty),
            _target("refusing", f"http://127.0.0.1:{free_port_number()}", QUICK),
            _target("resetting", f"http://127.0.0.1:{reset_port}", QUICK),
            _target("hung", hung, QUICK, timeout="500ms"),
            _target("unrecorded", same),
        ]
        config: dict[str, Any] = {
            "store": {"url": redis_server.url, "prefix": f"s{os.urandom(4).hex()}"},
            "pairing": {"window": "5s", "settle": "0s"},
            "targets": targets,
        }
        made = Service(tmp_path_factory.mktemp("shop"), config)
        made.start()
        try:
            yield Launch(made, v1, itertools.count(1))
        finally:
            made.stop()


async def _until_decided(launch: Launch, target: str, most: int, a_look: int) -> Any:
    """Return the first verdict other than `insufficient`, or the last one."""
    verdict: Any = None
    for _ in range(0, most, a_look):
        verdict = await launch.play(target, a_look)
        if verdict["verdict"] != "insufficient":
            break
    return verdict


async def test_too_little_traffic_is_insufficient_with_pairs_needed(launch: Launch) -> None:
    """A v2 equal to v1 has no difference that counts, although every instance has its own clock."""
    verdict = await launch.play("same", 40)
    assert ("insufficient", "pairs", 40, 0) == (
        verdict["verdict"],
        verdict["insufficient_reason"],
        verdict["pairs"]["compared"],
        verdict["pairs"]["mismatch"],
    )
    assert verdict["pairs_needed"] in range(4_600, 4_800)


async def test_two_percent_of_faults_fail_within_a_thousand_pairs(launch: Launch) -> None:
    """With the default gate, the verdict names the path of the planted fault."""
    verdict = await _until_decided(launch, "faulty", 1_000, 250)
    assert "fail" == verdict["verdict"], verdict
    assert verdict["pairs"]["compared"] <= 1_000
    assert ["$['price']['amount']"] == [top["path"] for top in verdict["top"]]
    assert 1 / ONE_IN / 3 < verdict["mismatch_ratio"] < 3 / ONE_IN


@pytest.mark.parametrize("target", ["refusing", "resetting", "hung"])
async def test_v2_without_responses_fails(launch: Launch, target: str) -> None:
    """v2 refuses, resets, or is stopped by SIGSTOP. A missing response counts against v2."""
    verdict = await launch.play(target, 20)
    assert ("fail", 20) == (verdict["verdict"], verdict["pairs"]["mismatch"])


async def test_recorder_that_is_off_is_insufficient_by_coverage(launch: Launch) -> None:
    """No response of v1 is recorded, so coverage is too low for a pass."""
    verdict = await launch.play("unrecorded", 30, recorded=False)
    assert ("insufficient", "coverage") == (verdict["verdict"], verdict["insufficient_reason"])
    assert verdict["reason"].startswith("Coverage is 0 %"), verdict["reason"]


@pytest.mark.deep
async def test_v2_equal_to_v1_passes_within_ten_thousand_pairs(launch: Launch) -> None:
    """The gate is the default one, with a limit of 0.1 %."""
    verdict = await _until_decided(launch, "same", MOST_PAIRS, A_LOOK)
    assert ("pass", 0, 1.0) == (verdict["verdict"], verdict["pairs"]["mismatch"], verdict["coverage"]["ratio"])
    assert verdict["pairs"]["compared"] <= MOST_PAIRS
