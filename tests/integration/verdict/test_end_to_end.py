"""Test the verdict of a real service on a v2 that is right, wrong or unavailable."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import free_port_number
from tests.fakes.serving import served
from tests.running import Mesh, Service, mesh_of, settled

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from starlette.types import Receive, Scope, Send

    from tests.conftest import RedisServer

SOUND = b'{"price": 1}'
WRONG = b'{"price": 2}'
FAULT_EVERY = 50
AT_ONCE = 16
JSON_TYPE = b"application/json"
STRICT = {"max_mismatch_ratio": 0.001}
LOOSE = {"max_mismatch_ratio": 0.05}


async def v2(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond as v1 does. Under /faulty every fiftieth response has a wrong price."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    number = int(scope["path"].rpartition("/")[2])
    body = WRONG if scope["path"].startswith("/faulty") and number % FAULT_EVERY == 0 else SOUND
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", JSON_TYPE)]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def resetting() -> Generator[int]:
    """Accept connections and reset each."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def reset() -> None:
            while True:
                try:
                    taken, _ = listener.accept()
                except OSError:
                    return
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                taken.close()

        threading.Thread(target=reset, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def silent() -> Generator[int]:
    """Accept connections into the backlog and never respond, as a stopped process does."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=128)) as listener:
        yield listener.getsockname()[1]


def _target(name: str, url: str, gate: dict[str, float] = LOOSE, timeout: str = "3s") -> dict[str, Any]:
    candidate = {"url": url, "timeout": timeout, "queue_timeout": timeout}
    return {"name": name, "hosts": [name], "candidate": candidate, "gate": gate}


@pytest.fixture(scope="module")
def service(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service with one target per behavior of v2."""
    with served(v2) as sound, resetting() as reset_port, silent() as silent_port:
        config: dict[str, Any] = {
            "store": {"url": redis_server.url, "prefix": f"v{os.urandom(4).hex()}"},
            "pairing": {"window": "4s", "settle": "0s"},
            "targets": [
                _target("sound", sound),
                _target("faulty", f"{sound}/faulty", STRICT),
                _target("quiet", sound, STRICT),
                _target("refused", f"http://127.0.0.1:{free_port_number()}"),
                _target("reset", f"http://127.0.0.1:{reset_port}"),
                _target("silent", f"http://127.0.0.1:{silent_port}", timeout="300ms"),
                _target("unrecorded", sound),
                _target("changed", sound),
            ],
        }
        made = Service(tmp_path_factory.mktemp("verdict"), config)
        made.start()
        try:
            yield made
        finally:
            made.stop()


async def _play(service: Service, target: str, numbers: range, *, recorded: bool = True) -> None:
    """Send this number of requests, both sides of each, and wait until their pairs are compared."""
    books = await asyncio.to_thread(service.ledger, target)
    wanted = books["mirrored"]["received"] + len(numbers)
    async with mesh_of(service) as mesh:
        mesh.host = target
        for first in range(0, len(numbers), AT_ONCE):
            await asyncio.gather(
                *(_both(mesh, target, number, recorded=recorded) for number in numbers[first : first + AT_ONCE])
            )
    await _until(service, target, wanted)


async def _both(mesh: Mesh, target: str, number: int, *, recorded: bool) -> None:
    path, request_id = f"/things/{number}", f"{target}-{number}-{os.urandom(4).hex()}"
    if recorded:
        kind = {"h_content_type": JSON_TYPE.decode()}
        assert 202 == await mesh.record(request_id, SOUND, path, host=target, **kind)
    assert 202 == await mesh.mirror(request_id, path)


async def _until(service: Service, target: str, received: int) -> None:
    books: Any = None
    deadline = asyncio.get_running_loop().time() + 90
    while asyncio.get_running_loop().time() < deadline:
        books = await asyncio.to_thread(service.ledger, target)
        if books["mirrored"]["received"] >= received and settled(books):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{target} never settled: {books}\n{service.log[-2000:]}")


async def _verdict(service: Service, target: str) -> Any:
    return await asyncio.to_thread(service.get, f"verdict?target={target}")


async def test_v2_equal_to_v1_passes(service: Service) -> None:
    """A hundred pairs without differences are enough at a limit of 5 %."""
    await _play(service, "sound", range(1, 121))
    verdict = await _verdict(service, "sound")
    assert ("pass", 120, 1.0) == (verdict["verdict"], verdict["pairs"]["compared"], verdict["coverage"]["ratio"])
    assert [] == verdict["routes_untested"]


async def test_one_fault_in_fifty_fails_within_a_thousand_pairs(service: Service) -> None:
    """2 % of the pairs differ at a limit of 0.1 %, and the verdict names the path."""
    await _play(service, "faulty", range(1, 601))
    verdict = await _verdict(service, "faulty")
    reason = "12 of 600 pairs differ: at least 0.311 %, limit 0.1 %."
    assert ("fail", reason) == (verdict["verdict"], verdict["reason"])
    assert [("GET /things/{id}", "$['price']", 12)] == [(t["route"], t["path"], t["count"]) for t in verdict["top"]]


async def test_too_little_traffic_is_insufficient_with_the_pairs_still_needed(service: Service) -> None:
    """The verdict estimates when these pairs will have arrived."""
    await _play(service, "quiet", range(1, 21))
    verdict = await _verdict(service, "quiet")
    assert ("insufficient", "pairs") == (verdict["verdict"], verdict["insufficient_reason"])
    assert verdict["pairs_needed"] in range(4700, 4800)
    assert verdict["expected_at"] > verdict["window"]["end"]
    assert ["GET /things/{id}"] == verdict["routes_untested"]


@pytest.mark.parametrize("target", ["refused", "reset", "silent"])
async def test_unavailable_v2_fails(service: Service, target: str) -> None:
    """A missing response of v2 counts against v2."""
    await _play(service, target, range(1, 21))
    verdict = await _verdict(service, target)
    assert ("fail", 20) == (verdict["verdict"], verdict["pairs"]["mismatch"])


async def test_recorder_that_is_off_is_insufficient_by_coverage(service: Service) -> None:
    """Mirrored requests without recorded primaries are no evidence."""
    await _play(service, "unrecorded", range(1, 31), recorded=False)
    verdict = await _verdict(service, "unrecorded")
    assert ("insufficient", "coverage") == (verdict["verdict"], verdict["insufficient_reason"])
    assert "no response of v1 to 30 mirrored requests was recorded" in verdict["reason"]


async def test_recorder_that_goes_off_revokes_the_pass(service: Service) -> None:
    """Earlier pairs do not cover later traffic."""
    await _play(service, "unrecorded", range(1, 121))
    await _play(service, "unrecorded", range(121, 161), recorded=False)
    verdict = await _verdict(service, "unrecorded")
    assert ("insufficient", "coverage") == (verdict["verdict"], verdict["insufficient_reason"])
    assert verdict["coverage"]["ratio"] < 0.95


async def test_the_funnel_of_each_target_ends_with_its_compared_pairs(service: Service) -> None:
    """The sums of the funnel are those of the ledger, and every loss has a reason."""
    for target in ("sound", "faulty", "quiet", "refused", "reset", "silent", "unrecorded"):
        books, shown = service.ledger(target), service.get(f"funnel?target={target}")
        counts = [step["count"] for step in shown["steps"]]
        assert (True, books["coverage"]["compared"]) == (shown["exact"], counts[-1])
        assert (counts[1], counts[5]) == (books["recorded"]["received"], books["pairs"]["ready"])
    losses = service.get("funnel?target=unrecorded")["steps"][0]["losses"]
    assert [("unrecorded", 70)] == [(loss["reason"], loss["count"]) for loss in losses]


def _run(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shadowdiff", *arguments, "--url", service.url("web", "")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


async def test_new_rule_and_run_start_command_each_start_a_run(service: Service) -> None:
    """A new run starts without evidence. A restart of the service alone starts no run."""
    await _play(service, "changed", range(1, 11))
    service.config["targets"][-1]["rules"] = [{"ignore": "$.at"}]
    service.write()
    service.send(signal.SIGHUP)
    first = await _run_after(service, 1)
    await _play(service, "changed", range(11, 31))
    opened = await asyncio.to_thread(_run, service, "run", "start", "--target", "changed", "--reason", "new data")
    assert (0, "run 3, since ") == (opened.returncode, opened.stdout[:13])
    await _play(service, "changed", range(31, 36))
    service.stop()
    service.start()
    await _play(service, "changed", range(36, 41))
    verdict = await _verdict(service, "changed")
    assert ("rules", "manual", 10) == (first["by"], verdict["run"]["by"], verdict["pairs"]["compared"])


async def _run_after(service: Service, known: int) -> Any:
    deadline = asyncio.get_running_loop().time() + 20
    while asyncio.get_running_loop().time() < deadline:
        run = (await asyncio.to_thread(service.get, "runs?target=changed"))["run"]
        if run["id"] > known:
            return run
        await asyncio.sleep(0.05)
    raise AssertionError("no run started")


async def test_wait_prints_progress_and_exits_with_the_verdict(service: Service) -> None:
    """Progress goes to standard error, and the verdict to standard output. The status is 3 while pairs are missing."""
    waited = await asyncio.to_thread(_run, service, "verdict", "--target", "quiet", "--wait", "--timeout", "1")
    assert 3 == waited.returncode
    assert waited.stderr.startswith("waiting: 0 of 20 pairs differ. Too few pairs for a verdict: ")
    assert waited.stdout.startswith("insufficient  0 of 20 pairs differ. Too few pairs for a verdict: ")
    statuses = {
        target: (await asyncio.to_thread(_run, service, "verdict", "--target", target, "--wait")).returncode
        for target in ("sound", "faulty")
    }
    assert {"sound": 0, "faulty": 1} == statuses
