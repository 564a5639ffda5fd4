"""Run mirror, recorder and the real service together. shadowdiff compares the response that the user got."""

from __future__ import annotations

import asyncio
import gzip
import json
import signal
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from mesh_service import service_mesh
from mesh_world import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.demo.api import Ledger

VECTORS = Path(__file__).parents[2] / "fixtures" / "sampling.json"
OWN_IDS = """                          request_headers_to_add:
                            - header: { key: x-diff-id, value: "%UNIQUE_ID%" }
                              append_action: OVERWRITE_IF_EXISTS_OR_ADD
"""
CASES: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "small": (200, b'{"sku":"A1","price":10}', {"content-type": "application/json"}),
    "gzip": (200, gzip.compress(b'{"long":"' + b"x" * 5000 + b'"}'), {"content-encoding": "gzip"}),
    "no-content": (204, b"", {}),
    "not-found": (404, b"no such thing", {"content-type": "text/plain"}),
    "large": (200, bytes(range(256)) * 4096, {"content-type": "application/octet-stream"}),
}


async def _case(request: web.Request) -> web.StreamResponse:
    if request.path == "/chunked":
        answer = web.StreamResponse(headers={"content-type": "text/plain"})
        answer.enable_chunked_encoding()
        _ = await answer.prepare(request)
        for part in range(20):
            await answer.write(b"part %d;" % part)
        return answer
    status, body, headers = CASES[request.path.strip("/")]
    return web.Response(status=status, body=body or None, headers=headers)


def _pairs(count: int) -> Callable[[Ledger], bool]:
    return lambda ledger: ledger.pairs["ready"] >= count


async def test_every_form_of_response_is_paired_and_matches(tmp_path: Path) -> None:
    """If v2 responds like v1, all pairs match: small, gzip, 204, 404, 1 MiB, chunked and HEAD responses."""
    async with service_mesh(_case, _case, tmp_path) as here:
        for name in [*CASES, "chunked"]:
            async with here.world.user.get(f"{here.world.client}/{name}") as answer:
                _ = await answer.read()
        async with here.world.user.head(f"{here.world.client}/small"):
            pass
        ledger = await here.when(_pairs(7))
        samples = await here.api.samples()

    assert ([], 7, 7) == (samples, ledger.pairs["ready"], ledger.pairs["match"])
    assert ledger.balanced


async def test_the_compared_response_is_the_one_that_the_user_got(tmp_path: Path) -> None:
    """v1 first fails 100 requests, and Envoy's retries succeed. shadowdiff compares v2 with v1's last response."""
    seen: dict[str, int] = {}

    async def flaky(request: web.Request) -> web.StreamResponse:
        name = request.headers["x-request-id"]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] == 1:
            return web.Response(status=503, text="not yet")
        return web.Response(text=f"answer to {request.path}")

    async def steady(request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"answer to {request.path}")

    async with service_mesh(flaky, steady, tmp_path) as here:

        async def ask(number: int) -> str:
            headers = {"x-request-id": str(uuid.uuid4())}
            async with here.world.user.get(f"{here.world.client}/r{number}", headers=headers) as answer:
                return await answer.text()

        for start in range(0, 100, 2):
            got = await asyncio.gather(ask(start), ask(start + 1))
            assert [f"answer to /r{start}", f"answer to /r{start + 1}"] == got
        ledger = await here.when(_pairs(100))

    assert (100, 100) == (ledger.pairs["ready"], ledger.pairs["match"])
    assert (200, 100, 100) == tuple(ledger.observations["primary"][name] for name in ("parked", "paired", "replaced"))
    assert ledger.balanced


async def test_a_sample_keeps_the_same_requests_on_both_sides(tmp_path: Path) -> None:
    """At a sample rate of 0.1, filter and service sample the same ids of the shared test table, and all form pairs."""
    vectors = json.loads(VECTORS.read_bytes())
    sent = [row for row in vectors if row[0] and row[0].strip() == row[0]]
    kept = sum(row[2] for row in sent)
    plan = Plan(lua={"local SAMPLE = 1.0": "local SAMPLE = 0.1"}, config={OWN_IDS: ""})

    async with service_mesh(_case, _case, tmp_path, plan, {"sample": 0.1}) as here:
        for row in sent:
            await _raw_get(here.world.client, row[0].encode())
        ledger = await here.when(lambda now: now.mirrored["received"] == len(sent) and now.recorded["received"] == kept)

    assert (len(sent), len(sent) - kept, kept) == tuple(
        ledger.mirrored[name] for name in ("received", "sampled_out", "forwarded")
    )
    assert (kept, kept, 0) == tuple(ledger.recorded[name] for name in ("received", "accepted", "sampled_out"))
    assert (kept, kept) == (ledger.pairs["ready"], ledger.pairs["match"])
    assert ledger.balanced


async def _raw_get(url: str, name: bytes) -> None:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = b"GET /small HTTP/1.1\r\nhost: recommendation\r\nconnection: close\r\nx-diff-id: " + name + b"\r\n\r\n"
    writer.write(head)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200")


async def test_users_do_not_notice_a_service_that_is_paused(tmp_path: Path) -> None:
    """The service hangs during half of 2,000 requests, and no user gets an error. The ledger balances afterwards."""
    wrong: list[int] = []

    async with service_mesh(_case, _case, tmp_path) as here:

        async def ask(count: int) -> None:
            for _ in range(count):
                async with here.world.user.get(f"{here.world.client}/small") as answer:
                    if answer.status != 200 or await answer.read() != CASES["small"][1]:
                        wrong.append(answer.status)

        async def everybody(count: int) -> None:
            _ = await asyncio.gather(*(ask(count // 20) for _ in range(20)))

        await everybody(500)
        here.service.process.send_signal(signal.SIGSTOP)
        await everybody(1000)
        here.service.process.send_signal(signal.SIGCONT)
        await everybody(500)
        ledger = await here.when(lambda now: not now.unsettled)

    assert wrong == []
    assert ledger.balanced
    assert ledger.pairs["mismatch"] == 0


async def test_users_do_not_notice_a_service_that_was_killed(tmp_path: Path) -> None:
    """All 2,000 requests get a response, although the service was killed."""
    wrong: list[int] = []

    async with service_mesh(_case, _case, tmp_path) as here:
        here.service.process.kill()
        _ = here.service.process.wait()

        async def ask(count: int) -> None:
            for _ in range(count):
                async with here.world.user.get(f"{here.world.client}/small") as answer:
                    if answer.status != 200 or await answer.read() != CASES["small"][1]:
                        wrong.append(answer.status)

        _ = await asyncio.gather(*(ask(100) for _ in range(20)))

    assert wrong == []
