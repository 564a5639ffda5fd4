"""Load for the pipeline benchmark: mirrored requests, records of v1's answers, and v2 itself, in one process.

They share a process so that the load can keep a fixed number of requests between the service and v2. The
mirror port responds before the work, so its responses do not show the service's progress.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PRODUCTS = 1000
FAULTY_SHARE = 0.05
STALLED_S = 20.0
"""Longer than any response takes: v2 responds at once or after eight seconds."""
REQUEST_HEADERS = "".join(
    f"{name}: {value}\r\n"
    for name, value in (
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
        ("accept", "application/json"),
        ("accept-language", "en-GB,en;q=0.9"),
        ("accept-encoding", "identity"),
        ("x-forwarded-for", "10.4.17.23"),
        ("x-forwarded-proto", "https"),
        ("x-envoy-internal", "true"),
        ("x-envoy-expected-rq-timeout-ms", "15000"),
        ("x-b3-sampled", "0"),
        ("authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.ZRrHA1JJJW8opsbCGfG_HACGpVUMN_a9IV7pAx_Zmeo"),
        ("x-tenant", "shop-1"),
        ("cookie", "session=8f14e45fceea167a5a36dedd4bea2543"),
    )
)
"""With host, x-request-id and x-diff-id: fifteen headers, as in a mesh's requests."""


def product(number: int, when: str, *, faulty: bool = False, times: int = 1) -> bytes:
    """Return a JSON body of 1 to 2 KB, or `times` as many; `when` always differs between v1 and v2."""
    draw = random.Random(number)
    return json.dumps(
        {
            "id": number,
            "name": f"Product {number}",
            "price": round(draw.uniform(1, 500), 2) + (1 if faulty else 0),
            "currency": "EUR",
            "stock": draw.randrange(1000),
            "description": " ".join(draw.choice(("solid", "light", "blue", "steel", "oak", "wide")) for _ in range(30)),
            "variants": [
                {
                    "sku": f"{number:04d}-{n:02d}",
                    "size": n,
                    "price": round(draw.uniform(1, 500), 2),
                    "tags": ["new", "eu"],
                }
                for n in range(draw.randrange(12 * times, 18 * times))
            ],
            "meta": {"generatedAt": when, "region": "eu-west-1", "cached": False},
        }
    ).encode()  # fmt: skip


def times_of(body_bytes: int) -> int:
    """Return the multiple of the shortest product that has about this many bytes."""
    return max(1, round((body_bytes - 300) / 1_100))


def answers(when: str, *, faults: bool, times: int = 1) -> list[bytes]:
    """Return each product's whole HTTP response."""
    faulty = PRODUCTS * FAULTY_SHARE if faults else 0
    bodies = [product(n, when, faulty=n < faulty, times=times) for n in range(PRODUCTS)]
    return [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-version: v2\r\nserver: stub\r\n"
        b"cache-control: no-store\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        for body in bodies
    ]


def requests_of(run: str, port: int, times: int = 1) -> tuple[list[bytes], list[bytes]]:
    """Return templates of the mirrored request and of the record of each product; `@ID@@@@@@@@@` marks the id."""
    mirrored: list[bytes] = []
    records: list[bytes] = []
    for n in range(PRODUCTS):
        body = product(n, "2026-11-23T10:00:00.001Z", times=times)
        head = f"GET /products/{n} HTTP/1.1\r\nhost: shop:{port}\r\n{REQUEST_HEADERS}"
        mirrored.append(f"{head}x-request-id: {run}-@ID@@@@@@@@@\r\nx-diff-id: {run}-@ID@@@@@@@@@\r\n\r\n".encode())
        record = (
            f"POST /record HTTP/1.1\r\nhost: shadowdiff\r\nx-shadowdiff-id: {run}-@ID@@@@@@@@@\r\n"
            f"x-shadowdiff-id-source: x-diff-id\r\nx-shadowdiff-method: GET\r\nx-shadowdiff-path: /products/{n}\r\n"
            f"x-shadowdiff-host: shop:{port}\r\nx-shadowdiff-status: 200\r\nx-shadowdiff-side: primary\r\n"
            f"x-shadowdiff-size: {len(body)}\r\nx-shadowdiff-attempt: 1\r\nx-shadowdiff-duration-ms: 3\r\n"
            "x-shadowdiff-h-content-type: application/json\r\nx-shadowdiff-h-cache-control: no-store\r\n"
            f"x-shadowdiff-h-server: stub\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        records.append(record.encode() + body)
    return mirrored, records


class Answering(asyncio.Protocol):
    """v2: answers each GET at once, and counts it."""

    def __init__(self, prepared: list[bytes], served: Served) -> None:
        self._prepared = prepared
        self._served = served
        self._rest = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every whole request in `data`."""
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in requests:
            self.answer(int(request[request.index(b"/products/") + 10 : request.index(b" HTTP/1.1")]))

    def answer(self, number: int) -> None:
        """Answer a request for one product."""
        self._transport.write(self._prepared[number])
        self._served.more()


class Late(Answering):
    """A slow v2."""

    def __init__(self, prepared: list[bytes], served: Served, after_s: float) -> None:
        super().__init__(prepared, served)
        self._after_s = after_s

    def answer(self, number: int) -> None:
        """Answer after a delay."""
        asyncio.get_running_loop().call_later(self._after_s, super().answer, number)


@dataclass
class Served:
    """The number of requests that v2 answered, with an event for waiters."""

    count: int = 0
    changed: asyncio.Event | None = None

    def more(self) -> None:
        """Count one."""
        self.count += 1
        if self.changed is not None:
            self.changed.set()


class Sending(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    def __init__(self, idle: deque[Sending], wake: asyncio.Event) -> None:
        self._idle = idle
        self._wake = wake
        self._missing = -1
        self._head = b""
        self.statuses: dict[bytes, int] = {}
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start idle."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._idle.append(self)

    def send(self, request: bytes) -> None:
        """Send one request."""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Read until the response is complete, then become idle."""
        if self._missing < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            status = self._head[9:12]
            self.statuses[status] = self.statuses.get(status, 0) + 1
            at = self._head.find(b"content-length: ") + 16
            self._missing = int(self._head[at : self._head.index(b"\r", at)]) - (len(self._head) - end - 4)
            self._head = b""
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._missing = -1
            self.answered()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def answered(self) -> None:
        """Become idle."""
        self._idle.append(self)
        self._wake.set()


async def connect_all(port: int, connections: int, wake: asyncio.Event) -> tuple[list[Sending], deque[Sending]]:
    """Open the connections to one port."""
    idle: deque[Sending] = deque()
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Sending(idle, wake), "127.0.0.1", port)
    return list(idle), idle


class Unheard(Served):
    """Counts as if v2 answered everything, for loads that reach v2 only in part."""

    def __init__(self) -> None:
        self._count = 0
        self.changed = None

    @property
    def count(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] - in the place of a field
        """Return an ever larger number."""
        self._count += 1 << 40
        return self._count


async def heard(wake: asyncio.Event) -> None:
    """Wait for a response; raise TimeoutError if none comes because requests were shed."""
    wake.clear()
    try:
        async with asyncio.timeout(STALLED_S):
            await wake.wait()
    except TimeoutError:
        raise TimeoutError("v2 was asked less than was sent") from None


def id_of(run: str, number: int) -> str:
    """Return the id of a run's request."""
    return f"{run}-{number:012d}"


async def _at_once(_number: int) -> None:
    """Allow a request at once."""


async def drive(
    run: str,
    total: int,
    *,
    mirror_port: int,
    records_port: int | None,
    served: Served,
    outstanding: int,
    connections: int | None = None,
    times: int = 1,
    rate: float | None = None,
    room: Callable[[int], Awaitable[None]] = _at_once,
) -> dict[str, int]:
    """Send `total` requests, and with each its record where there is a port for it; return answers by status.

    Never more than `outstanding` requests are between the first port and v2, and no more than `rate` go in a second,
    over as many connections to each port, or over so many. `room` waits until one more may go.
    """
    wake = asyncio.Event()
    served.changed = wake
    mirrored, records = requests_of(run, mirror_port, times)
    each = connections or outstanding
    ports = [await connect_all(mirror_port, each, wake)]
    if records_port is not None:
        ports.append(await connect_all(records_port, each, wake))
    first = served.count
    began_s = time.monotonic()
    for number in range(total):
        if rate and (early_s := began_s + number / rate - time.monotonic()) > 0:
            await asyncio.sleep(early_s)
        while number - (served.count - first) >= outstanding or not all(idle for _, idle in ports):
            await heard(wake)
        await room(number)
        mark = b"%012d" % number
        place = number % PRODUCTS
        ports[0][1].popleft().send(mirrored[place].replace(b"@ID@@@@@@@@@", mark))
        if records_port is not None:
            ports[1][1].popleft().send(records[place].replace(b"@ID@@@@@@@@@", mark))
    while served.count - first < total or any(len(idle) < len(every) for every, idle in ports):
        await heard(wake)
    statuses: dict[str, int] = {}
    for every, _ in ports:
        for connection in every:
            for status, count in connection.statuses.items():
                statuses[status.decode()] = statuses.get(status.decode(), 0) + count
    return statuses
