"""Send hostile HTTP to every port: the service stays up, bounded and exact, and serves the next client.

One service serves all tests of this file, in front of a v2 with a strict parser. At the end the tests check the log,
the memory and the ledger of the service.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.service.conftest import World, balanced_and_still, metrics_of, target
from tests.integration.service.conftest import settings as config_of
from tests.running import Service, mesh_of
from tests.security.conftest import raw
from tests.security.hostile_http import CHUNKS, CODINGS, LENGTHS, ODD, hostile
from tests.security.smuggling import cases
from tests.security.strict_http import ANSWER, ReadRequest, StrictV2, requests_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RedisServer

PORTS = ("mirror", "records", "web", "metrics")
QUICK, DEEP = 500, 25_000
"""Connections to each port."""
EXAMPLES, DEEP_EXAMPLES = 40, 5_000
"""Sequences of requests to each port."""
AT_ONCE = 32
ANSWERED_WITHIN_S = 0.05
GROWS_AT_MOST_MIB = 64
STATUS = re.compile(rb"^HTTP/1\.1 ([0-9]{3}) ", re.MULTILINE)
BASE = b"/base"
ADDED = {b"host", b"x-forwarded-host", b"x-shadowdiff", b"baggage", b"content-length"}
"""The fields that shadowdiff adds to a request for v2."""


class Attacked(NamedTuple):
    """The attacked service and its v2."""

    service: Service
    v2: StrictV2


@pytest.fixture(scope="module")
def attacked(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """Run one service for all tests of this file. The service must stop cleanly and log no failure."""
    v2 = StrictV2()
    lane = {"url": f"http://127.0.0.1:{v2.port}{BASE.decode()}", "queue": 16_384, "queue_timeout": "30s"}
    shop = target(v2.port, candidate=lane, methods=["GET", "HEAD", "OPTIONS", "POST"])
    config = config_of(redis_server.url, shop, store={"prefix": f"hostile-http-{os.getpid()}"})
    config["pairing"] |= {"window": "2s"}
    running = Service(tmp_path_factory.mktemp("hostile-http"), config)
    running.start()
    try:
        yield Attacked(running, v2)
        assert 0 == running.stop()
    finally:
        v2.close()
    assert [] == [line for line in running.log.splitlines() if "Traceback" in line or '"level": "ERROR"' in line]


@pytest.fixture
def service(attacked: Attacked) -> Service:
    """Return the service of this file."""
    return attacked.service


async def _send(port: int, pieces: list[bytes], *, half_closes: bool) -> bytes:
    """Send the bytes of one connection in pieces, and return the reply that arrives soon after."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    parts: list[bytes] = []
    with suppress(OSError, TimeoutError):
        for piece in pieces:
            if writer.transport.is_closing():
                break
            writer.write(piece)
            await asyncio.sleep(0)
        if half_closes:
            writer.write_eof()
        while part := await asyncio.wait_for(reader.read(65_536), ANSWERED_WITHIN_S):
            parts.append(part)
    writer.transport.abort()
    return b"".join(parts)


def _pieces(draw: random.Random, sent: bytes) -> list[bytes]:
    """Split the bytes so that parts that belong together arrive separately."""
    cuts = sorted(draw.randrange(len(sent) + 1) for _ in range(draw.choice((0, 0, 1, 3, 20))))
    return [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]


class AttackOutcome(NamedTuple):
    """Status counts by port, and the requests that a strict parser reads from the bytes to the mirror port."""

    statuses: Counter[tuple[str, int]]
    requests: list[ReadRequest]


async def _attack(service: Service, connections: int, seed: int) -> AttackOutcome:
    """Attack each port with this number of connections."""
    seen = AttackOutcome(Counter(), [])
    turns = iter([(name, number) for number in range(connections) for name in PORTS])

    async def one_by_one() -> None:
        for name, number in turns:
            draw = random.Random(f"{seed} {name} {number}")
            sent = hostile(draw)
            answer = await _send(service.ports[name], _pieces(draw, sent), half_closes=draw.random() < 0.5)
            assert not answer or answer.startswith(b"HTTP/1.1 "), (name, number, answer[:100])
            seen.statuses.update((name, int(status)) for status in STATUS.findall(answer))
            if name == "mirror":
                seen.requests.extend(one._replace(body=b"") for one in requests_of(sent))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_by_one())
    return seen


def _nothing_is_smuggled(arrived: list[ReadRequest], sent: list[ReadRequest]) -> None:
    """Check that each request at v2 matches an incoming one, with no additional request or field."""
    known: defaultdict[str, list[ReadRequest]] = defaultdict(list)
    for request in sent:
        known[request.id].append(request)
    assert {} == Counter(one.id for one in arrived) - Counter(one.id for one in sent)
    for one in arrived:
        fields = {field for field in one.fields if field[0] not in ADDED}
        assert any(one.method == of.method and fields <= set(of.fields) for of in known[one.id]), one


def _all_went_to_the_candidate(attacked: Attacked) -> None:
    """Check every request at v2 against the configuration and the strict parser."""
    assert [] == attacked.v2.faults
    for one in attacked.v2.heard:
        headers = one.all_of(b"host"), one.all_of(b"x-shadowdiff"), one.all_of(b"transfer-encoding")
        assert ([attacked.v2.authority], [b"1"], []) == headers, one
        assert one.target.startswith(BASE + b"/"), one


async def _until_v2_has_answered(attacked: Attacked) -> None:
    """Wait until no request to v2 is in flight; v2 then received as many requests as the ledger counts."""
    assert [] == attacked.v2.faults
    books = await attacked.service.until(lambda books: books["mirrored"]["in_flight"] == 0)
    assert len(attacked.v2.heard) == books["mirrored"]["forwarded"]


async def _serves_a_valid_pair(service: Service, request_id: str) -> None:
    """Check that the ledger is stable and balances, and that one more pair matches."""
    async with mesh_of(service) as mesh:
        world = World(service, mesh)
        before = (await world.until())["pairs"]
        await world.both(request_id, ANSWER)
        after = (await world.until(pairs__match=before["match"] + 1))["pairs"]
        assert after == before | {"match": before["match"] + 1, "ready": before["ready"] + 1}
        await world.service.until(balanced_and_still, target="_unknown")


async def _shed(service: Service) -> int:
    """Return from the metrics how many records the limits shed."""
    counted = {
        name: value for (name, labels), value in (await metrics_of(service)).items()
        if name == "shadowdiff_records_total" and ("disposition", "shed") in labels
    }  # fmt: skip
    return int(sum(counted.values()))


@pytest.mark.parametrize(
    "connections",
    [QUICK, pytest.param(DEEP, marks=[pytest.mark.deep, pytest.mark.timeout(3600)])],
    ids=["quick", "deep"],
)
async def test_hostile_bytes_break_nothing(attacked: Attacked, connections: int) -> None:
    """The service returns no 5xx, logs no fault, keeps its memory bounded, and smuggles nothing to v2.

    After the attacks, a valid pair still matches. `-rP` shows the figures.
    """
    service, already, resident = attacked.service, len(attacked.v2.heard), attacked.service.resident_mib()
    seen = await _attack(service, connections, seed=1)
    await _until_v2_has_answered(attacked)
    faults = {(name, status): count for (name, status), count in seen.statuses.items() if status >= 500}
    assert {} == {fault: count for fault, count in faults.items() if fault != ("records", 503)}
    assert faults.get(("records", 503), 0) <= await _shed(service)
    assert {name for name, _ in seen.statuses} == set(PORTS)
    arrived = attacked.v2.heard[already:]
    assert len(arrived) > connections // 4
    _nothing_is_smuggled(arrived, seen.requests)
    _all_went_to_the_candidate(attacked)
    await _serves_a_valid_pair(service, f"proper-{connections}")
    assert service.peak_mib() - resident < GROWS_AT_MOST_MIB
    answers = {name: sum(count for (port, _), count in seen.statuses.items() if port == name) for name in PORTS}
    memory = f"{resident} MiB resident before, {service.resident_mib()} after, {service.peak_mib()} at most"
    sys.stdout.write(f"{connections} connections to each port; answers: {answers}; 5xx: {faults}; {memory}; ")
    sys.stdout.write(f"v2 was asked {len(arrived)} times\n")


async def test_smuggled_requests_do_not_reach_v2(attacked: Attacked) -> None:
    """For every known attack, v2 gets only the allowed requests, and no field takes the value of another."""
    wanted = {name: (case.arrives, case.statuses) for name, case in cases().items()}
    already = len(attacked.v2.heard)
    answers: dict[str, tuple[str, ...]] = {}
    for name, case in cases().items():
        answer = await asyncio.to_thread(raw, attacked.service.ports["mirror"], case.sent)
        answers[name] = tuple(status.decode() for status in STATUS.findall(answer))
    await _until_v2_has_answered(attacked)
    arrived = attacked.v2.heard[already:]
    of_case = {name: {f"first-{number:02d}", f"second-{number:02d}"} for number, name in enumerate(cases())}
    observed = {
        name: (tuple(sorted(one.id for one in arrived if one.id in ids)), answers[name])
        for name, ids in of_case.items()
    }
    assert wanted == observed
    assert {one.id for one in arrived} == {name for arrives, _ in wanted.values() for name in arrives}
    assert [] == [one for one in arrived if one.id.startswith("first") and one.all_of(b"x-smuggled")]
    assert [] == [one for one in arrived if one.all_of(b"x-secret")]
    _all_went_to_the_candidate(attacked)


def test_the_strict_reader_is_strict() -> None:
    """The strict parser reads all allowed requests, and reads no request from bytes that must be rejected."""
    read_ids = {name: tuple(one.id for one in requests_of(case.sent)) for name, case in cases().items()}
    assert {} == {name: seen for name, seen in read_ids.items() if seen and cases()[name].statuses == ("400",)}
    assert {} == {name: seen for name, seen in read_ids.items() if not set(cases()[name].arrives) <= set(seen)}


_VALUES: dict[bytes, tuple[bytes, ...]] = {
    b"content-length": LENGTHS,
    b"transfer-encoding": CODINGS,
    b"x": ODD,
    b"expect": (b"100-continue", b"x"),
    b"connection": (b"close", b"keep-alive", b"upgrade", b"\0"),
    b"upgrade": (b"websocket", b"h2c"),
}
_METHODS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE"]
_TARGETS = [b"/", b"/record", b"/records", b"/api/v1/rules", b"/metrics", b"*", b"http://h/p?q", b"h:1"]
FIELD = st.sampled_from([name + b": " + value for name, values in _VALUES.items() for value in values])


def _request(method: bytes, path: bytes, fields: list[bytes], body: bytes) -> bytes:
    return b"\r\n".join((b" ".join((method, path, b"HTTP/1.1")), b"host: shop", *fields, b"", body))


_SMALL = [chunk for chunk in CHUNKS if len(chunk) < 1_000]
"""Only small chunks, because hypothesis prints each example and warns if it is very long."""
REQUEST = st.builds(
    _request,
    st.sampled_from(_METHODS),
    st.sampled_from(_TARGETS) | st.binary(max_size=20),
    st.lists(FIELD | st.binary(max_size=30), max_size=5),
    st.sampled_from([b"", b"hello", *_SMALL]) | st.binary(max_size=50),
)


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize(
    "examples",
    [EXAMPLES, pytest.param(DEEP_EXAMPLES, marks=[pytest.mark.deep, pytest.mark.timeout(1800)])],
    ids=["quick", "deep"],
)
async def test_no_sequence_of_requests_causes_a_server_error(attacked: Attacked, port: str, examples: int) -> None:
    """No combination of fields and pipelined requests gets a 5xx."""
    already, sent, answered = len(attacked.v2.heard), list[ReadRequest](), 0

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(requests=st.lists(REQUEST, min_size=1, max_size=4))
    def tried(requests: list[bytes]) -> None:
        nonlocal answered
        sent.extend(requests_of(b"".join(requests)))
        with suppress(ConnectionError):
            answer = raw(attacked.service.ports[port], b"".join(requests))
            assert not answer or answer.startswith(b"HTTP/1.1 ")
            statuses = STATUS.findall(answer)
            answered += bool(statuses)
            assert [] == [status for status in statuses if status >= b"500"]

    await asyncio.to_thread(tried)
    assert answered > examples // 2
    await _until_v2_has_answered(attacked)
    _nothing_is_smuggled(attacked.v2.heard[already:], sent if port == "mirror" else [])
    _all_went_to_the_candidate(attacked)
