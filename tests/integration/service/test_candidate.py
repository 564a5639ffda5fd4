"""Each behavior of v2 gives the right result and reason, and the ledger balances.

One service serves all tests of this file. Each test has its own target and a scripted v2.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.conftest import RedisServer, free_port_number
from tests.integration.service.conftest import JSON, World, settings, target
from tests.integration.service.scripts import Answer, always, chunked, resets, response, silent, v2, zipped
from tests.running import Service, mesh_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

NAMES = ("answers", "dead", "slow", "hung", "resets", "narrow", "breaker")
QUICK = {"timeout": "300ms"}
SETTINGS = {"slow": QUICK, "hung": QUICK, "narrow": {"concurrency": 1, "queue": 0}}
MIB = b"a" * (1 << 20)
TEXT = b'{"price": 100}' * 300


@dataclass
class Shared:
    """One service with a target for each test, and the port for each target's v2."""

    service: Service
    ports: dict[str, int]

    @contextlib.asynccontextmanager
    async def world(self, name: str) -> AsyncGenerator[World]:
        """Yield the world of one target."""
        async with mesh_of(self.service) as mesh:
            mesh.host = name
            yield World(self.service, mesh, name)


@pytest.fixture(scope="module")
def shared(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Run one service for all tests of this file."""
    ports = {name: free_port_number() for name in NAMES}
    targets = [target(port, name, candidate=SETTINGS.get(name, {})) for name, port in ports.items()]
    config = settings(redis_server.url, *targets, store={"prefix": "candidate"}, samples={"keep": 1000})
    service = Service(tmp_path_factory.mktemp("service"), config)
    service.start()
    yield Shared(service, ports)
    assert service.stop() == 0


ANSWERS: dict[str, tuple[Answer, dict[str, str], bytes]] = {
    "204": (always(response(status="204 No Content")), {"status": "204"}, b""),
    "head": (always(response(b"0123456789")[:-10]), {"method": "HEAD", "h_content_length": "10"}, b""),
    "gzip": (
        always(response(zipped(TEXT), "200 OK", "content-encoding: gzip")),
        {"h_content_encoding": "gzip"},
        zipped(TEXT),
    ),
    "gzip against plain": (always(response(zipped(TEXT), "200 OK", "content-encoding: gzip")), {}, TEXT),
    "1 MiB": (always(response(MIB)), {}, MIB),
    "chunked": (always(chunked(TEXT)), {}, TEXT),
    "chunked gzip": (
        always(chunked(zipped(TEXT), "content-encoding: gzip")),
        {"h_content_encoding": "gzip"},
        zipped(TEXT),
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_an_equal_response_matches_in_every_form(shared: Shared, case: str) -> None:
    """Empty, compressed, chunked and maximum-size bodies arrive completely and match."""
    answer, fields, body = ANSWERS[case]
    async with v2(answer, shared.ports["answers"]), shared.world("answers") as world:
        before = (await world.until())["pairs"]
        await world.both(f"equal {case}", body, h_content_type="", **fields)
        after = (await world.until(pairs__ready=before["ready"] + 1))["pairs"]
    assert before | {"ready": before["ready"] + 1, "match": before["match"] + 1} == after


async def test_a_difference_inside_gzip_has_its_path(shared: Shared) -> None:
    """The difference has the path inside the compressed body."""
    zipped_json = response(zipped(b'{"price": 101}'), "200 OK", "content-encoding: gzip", f"content-type: {JSON}")
    async with v2(always(zipped_json), shared.ports["answers"]), shared.world("answers") as world:
        before = (await world.until())["pairs"]["mismatch"]
        await world.both("gzip-differs", zipped(b'{"price": 100}'), h_content_encoding="gzip")
        await world.until(pairs__mismatch=before + 1)
        (sample,) = [each for each in await world.samples() if each["request_id"] == "gzip-differs"]
    assert [("$['price']", "100", "101")] == [
        (found["path"], found["primary"], found["candidate"]) for found in sample["differences"]
    ]


async def test_a_body_above_the_limit_is_incomparable(shared: Shared) -> None:
    """Two truncated bodies do not match, even if both start the same."""
    async with v2(always(response(MIB + b"b")), shared.ports["answers"]), shared.world("answers") as world:
        before = (await world.until())["pairs"]["incomparable"]
        await world.both("too-long", MIB, h_content_type="", size=str(len(MIB) + 1))
        await world.until(pairs__incomparable=before + 1)
        (sample,) = [each for each in await world.samples("incomparable") if each["request_id"] == "too-long"]
    assert "truncated" in sample["reason"]


async def _fails(shared: Shared, name: str, answer: Answer | None, failure: str) -> None:
    """Send one pair to a v2 without a complete response, and check the failure in the result."""
    async with contextlib.AsyncExitStack() as stack:
        if answer is not None:
            await stack.enter_async_context(v2(answer, shared.ports[name]))
        world = await stack.enter_async_context(shared.world(name))
        await world.both(f"{name}-1")
        books = await world.until(pairs__mismatch=1, mirrored__forwarded=1)
        assert Counter({failure: 1}) == await world.failures()
        assert 1.0 == books["coverage"]["ratio"]


async def test_a_dead_v2_is_a_mismatch(shared: Shared) -> None:
    """A refused connection counts against v2, as `refused`."""
    await _fails(shared, "dead", None, "refused")


async def test_a_slow_v2_is_a_mismatch(shared: Shared) -> None:
    """A response after the deadline counts against v2, as `timeout`."""
    await _fails(shared, "slow", silent, "timeout")


async def test_a_v2_that_resets_is_a_mismatch(shared: Shared) -> None:
    """A reset within the body counts against v2, as `reset`."""
    await _fails(shared, "resets", resets, "reset")


async def test_a_hung_v2_is_a_mismatch_and_recovers(shared: Shared, tmp_path: Path) -> None:
    """A v2 stopped by SIGSTOP accepts connections without a response: `timeout`. Once resumed, it responds again."""
    command = [sys.executable, "-m", "http.server", str(shared.ports["hung"]), "--bind", "127.0.0.1"]
    process = subprocess.Popen(  # noqa: ASYNC220 - starts at once, and is waited for below
        [*command, "--directory", str(tmp_path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await _listening(shared.ports["hung"])
        async with shared.world("hung") as world:
            process.send_signal(signal.SIGSTOP)
            await world.both("hung-1", b"same", "/page")
            await world.until(pairs__mismatch=1)
            assert Counter({"timeout": 1}) == await world.failures()
            process.send_signal(signal.SIGCONT)
            await world.both("hung-2", path="/none")
            await world.until(pairs__mismatch=2)
            assert Counter({"timeout": 1, None: 1}) == await world.failures()
    finally:
        process.kill()
        process.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            await asyncio.sleep(0.02)


async def test_a_saturated_v2_is_a_mismatch_and_not_shed(shared: Shared) -> None:
    """A request without a free slot at v2 counts against v2 as `saturated`, and nothing is shed."""
    busy, free = asyncio.Event(), asyncio.Event()

    async def waits(_head: bytes, writer: asyncio.StreamWriter) -> None:
        busy.set()
        await free.wait()
        writer.write(response(b"{}", "200 OK", f"content-type: {JSON}"))

    async with v2(waits, shared.ports["narrow"]), shared.world("narrow") as world:
        await world.both("narrow-0")
        async with asyncio.timeout(60):
            await busy.wait()
        for number in range(1, 5):
            await world.both(f"narrow-{number}")
        books = await world.service.until(
            lambda books: books["pairs"]["mismatch"] == 4 and books["mirrored"]["in_flight"] == 1, target="narrow"
        )
        assert 0 == books["mirrored"]["shed"]
        free.set()
        books = await world.until(pairs__match=1, pairs__mismatch=4)
        assert Counter({"saturated": 4}) == await world.failures()
        assert (5, 0) == (books["mirrored"]["forwarded"], books["mirrored"]["shed"])


async def test_the_breaker_opens_for_a_dead_v2(shared: Shared) -> None:
    """After five refusals in a row v2 gets no requests for some time, and each pair still counts against it."""
    async with shared.world("breaker") as world:
        for number in range(12):
            await world.both(f"breaker-{number}")
            await world.until(pairs__mismatch=number + 1)
        failures = await world.failures()
    assert {"refused", "breaker_open"} == set(failures)
    assert 12 == failures.total()
    assert failures["refused"] >= 5
