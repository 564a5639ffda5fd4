"""Send mirrored requests and records at a fixed rate, even if the service responds slowly.

The arguments are two ports, the number of pairs, their rate and the number of connections. The module prints JSON: the
sent requests, the responses and their times, and the unsent requests. A request is not sent if every connection is
busy, like with a mesh's circuit breaker. `python -m tests.faults.flood …` runs as its own process, so neither the
service nor v2 waits for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter, deque
from typing import TYPE_CHECKING, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S = 0.002
BODY = json.dumps({"id": 1, "items": [{"sku": f"{n:05d}", "price": n / 4, "tags": ["new", "eu"]} for n in range(25)]})
END = b"\r\n\r\n"
RECORD = (
    "host: shadowdiff\r\nx-shadowdiff-id-source: x-diff-id\r\nx-shadowdiff-method: GET\r\nx-shadowdiff-path: /items\r\n"
    f"x-shadowdiff-host: shop\r\nx-shadowdiff-status: 200\r\nx-shadowdiff-size: {len(BODY)}\r\n"
    "x-shadowdiff-attempt: 1\r\nx-shadowdiff-duration-ms: 3\r\nx-shadowdiff-h-content-type: application/json\r\n"
    f"content-length: {len(BODY)}\r\n\r\n{BODY}"
)


class Sender(asyncio.Protocol):
    """A connection with one request in flight at a time."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._sent_s = 0.0
        self._answer = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Mark the connection as idle."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._port.idle.append(self)

    def send(self, request: bytes, now_s: float) -> None:
        """Send one request."""
        self._sent_s = now_s
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Read a response's head and body."""
        self._answer += data
        head, end, body = self._answer.partition(END)
        if not end:
            return
        at = head.find(b"content-length: ") + 16
        if len(body) < int(head[at:].partition(b"\r")[0]):
            return
        self._answer = b""
        self._port.answered(self, int(head[9:12]), self._sent_s)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the end is what counts
        """Count a broken connection."""
        self._port.broken += 1


class Port:
    """The connections to one port, and the results of their requests."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str, request: Callable[[str], bytes]) -> None:
        self._loop = loop
        self._name = name
        self._request = request
        self.idle: deque[Sender] = deque()
        self.out = 0
        self.busy = 0
        self.broken = 0
        self.statuses: Counter[int] = Counter()
        self.took_s: list[float] = []

    async def connect(self, port: int, connections: int) -> None:
        """Open every connection."""
        for _ in range(connections):
            await self._loop.create_connection(lambda: Sender(self), "127.0.0.1", port)

    def send(self, number: int) -> None:
        """Send one request over an idle connection. If no connection is idle, count the request as unsent."""
        if not self.idle:
            self.busy += 1
            return
        self.out += 1
        self.idle.popleft().send(self._request(f"{self._name}-{number}"), self._loop.time())

    def answered(self, sender: Sender, status: int, sent_s: float) -> None:
        """Record a response."""
        self.out -= 1
        self.statuses[status] += 1
        self.took_s.append(self._loop.time() - sent_s)
        self.idle.append(sender)

    def report(self) -> dict[str, object]:
        """Return the results, with times in ms."""
        took = sorted(self.took_s) or [0.0]
        of = {name: took[min(len(took) - 1, int(len(took) * share))] for name, share in (("p50", 0.5), ("p99", 0.99))}
        times = {f"{name}_ms": round(1000 * each, 1) for name, each in {**of, "max": took[-1]}.items()}
        statuses = {str(status): count for status, count in self.statuses.items()}
        return {"statuses": statuses, "busy": self.busy, "broken": self.broken, **times}


def mirrored_request(request_id: str) -> bytes:
    """Return the mirrored copy of a request."""
    head = "GET /items HTTP/1.1\r\nhost: shop\r\naccept: application/json\r\nx-diff-id: "
    return f"{head}{request_id}\r\n\r\n".encode()


def record(request_id: str) -> bytes:
    """Return the record of v1's response to this request."""
    return f"POST /record HTTP/1.1\r\nx-shadowdiff-id: {request_id}\r\n{RECORD}".encode()


async def flood(options: argparse.Namespace) -> dict[str, object]:
    """Send the given number of pairs at the rate. Return when every request has a response."""
    loop = asyncio.get_running_loop()
    mirrored, recorded = Port(loop, options.name, mirrored_request), Port(loop, options.name, record)
    await mirrored.connect(options.mirror, options.connections)
    await recorded.connect(options.records, options.connections)
    begun_s = loop.time()
    offered = 0
    while offered < options.pairs:
        due = min(options.pairs, int((loop.time() - begun_s) * options.rate))
        for number in range(offered, due):
            while options.patient and not (mirrored.idle and recorded.idle):  # noqa: ASYNC110 - as fast as it can
                await asyncio.sleep(0)
            mirrored.send(number)
            recorded.send(number)
        offered = due
        await asyncio.sleep(TICK_S)
    async with asyncio.timeout(60):
        while mirrored.out or recorded.out:  # noqa: ASYNC110 - nobody waits for this but the end
            await asyncio.sleep(TICK_S)
    return {"offered": offered, "mirrored": mirrored.report(), "recorded": recorded.report()}


def run() -> None:
    """Parse the options, run the flood, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mirror", type=int, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="pairs a second")
    parser.add_argument("--pairs", type=int, required=True)
    parser.add_argument("--connections", type=int, default=64, help="to each port")
    parser.add_argument("--patient", action="store_true", help="wait for a connection, instead of turning away")
    parser.add_argument("--name", default="flood", help="begins every id")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(json.dumps(runner.run(flood(options))) + "\n")


if __name__ == "__main__":
    run()
