"""The records port: tokens and rates, and what an attacker with that port alone can do."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.intake.record_form import MAX_ATTEMPT
from tests.conftest import free_port_number
from tests.integration.service.conftest import World, figure, lines_of, metrics_of, serving, settings, target
from tests.integration.service.scripts import response, says, v2
from tests.security.conftest import raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import RedisServer

OLD, NEW = "old-records-token-0123", "new-records-token-0123"
V1, WRONG = b'{"price": 100}', b'{"price": 999}'
JSON = "application/json"


@pytest.fixture
async def attacked(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[World]:
    """Yield a service whose v2 answers wrongly, and whose records port asks for nothing."""
    port = free_port_number()
    config = settings(redis_server.url, target(port), store={"prefix": f"forged{port}"}, pairing={"window": "4s"})
    async with v2(says(response(WRONG, "200 OK", f"content-type: {JSON}")), port), serving(tmp_path, config) as world:
        yield world


PATH = "/cart?session=s3cret"


async def record(world: World, request_id: str, body: bytes, **fields: str) -> int:
    """Record an answer, as anybody can who reaches the port."""
    return await world.mesh.record(request_id, body, PATH, h_content_type=JSON, **fields)


def examples(world: World, kind: str) -> list[Any]:
    """Return the examples of a misfit that the log holds."""
    return lines_of(world.service, f"an observation of shop fits no pair: {kind}")


async def test_a_forged_record_leaves_a_count_and_an_example(attacked: World) -> None:
    """Whether it comes before v1's own, beside it, in its place, or after: the books and the log say so, of each."""
    world = attacked
    assert await record(world, "before", WRONG, attempt="9999") == 202
    assert await record(world, "before", V1) == 202
    assert await world.mesh.mirror("before", PATH) == 202
    assert await record(world, "beside", WRONG) == 202
    assert await record(world, "beside", V1) == 202
    assert await record(world, "twice", V1) == 202
    assert await record(world, "twice", V1) == 202
    assert await world.mesh.mirror("twice", PATH) == 202
    assert await world.mesh.mirror("after", PATH) == 202
    assert await record(world, "after", V1) == 202
    await world.service.until(lambda books: figure(books, "pairs__ready") == 3)
    assert await record(world, "after", WRONG, attempt="9999") == 202
    counts = {"replaced": 1, "ambiguous": 2, "duplicate": 1, "late": 1}
    books = await world.until(**{f"observations__primary__{what}": count for what, count in counts.items()})
    assert (books["pairs"]["mismatch"], books["pairs"]["match"]) == (2, 1)
    of = {"replaced": "before", "ambiguous": "beside", "duplicate": "twice", "late": "after"}
    for kind, request_id in of.items():
        (told,) = examples(world, kind)
        wanted = {"target": "shop", "side": "primary", "as": kind, "path": "/cart", "id": request_id}
        assert wanted.items() <= told.items()
    assert "s3cret" not in world.service.log


async def test_many_of_one_kind_hide_no_other(attacked: World) -> None:
    """A batch of repeated records, parked at once, and among them one in the place of another: both have examples."""
    fact = {"id_source": "x-diff-id", "method": "GET", "path": "/cart", "host": "shop", "status": 200}
    body = base64.b64encode(V1).decode()
    lines = [fact | {"id": "again", "body_base64": body} for _ in range(50)]
    lines += [fact | {"id": "replaced", "attempt": attempt, "body_base64": body} for attempt in (2, 1)]
    sent = b"\n".join(json.dumps(line).encode() for line in lines)
    async with attacked.mesh.session.post(attacked.service.url("records", "/records"), data=sent) as answer:
        assert answer.status == 202
    await attacked.until(observations__primary__duplicate=49, observations__primary__replaced=1)
    assert [["again"], ["replaced"]] == [
        [told["id"] for told in examples(attacked, kind)] for kind in ("duplicate", "replaced")
    ]


@pytest.mark.parametrize("attempt", ["101", "65536", "999999999999999"])
async def test_no_attempt_counts_for_more_than_the_last_one_that_is_counted(attacked: World, attempt: str) -> None:
    """So that none beats every answer to come: beside the highest of v1's own it is ambiguous, and decides nothing."""
    assert await record(attacked, "capped", WRONG, attempt=attempt) == 202
    assert await record(attacked, "capped", V1, attempt=str(MAX_ATTEMPT)) == 202
    assert await attacked.mesh.mirror("capped", PATH) == 202
    books = await attacked.until(observations__primary__ambiguous=2, observations__candidate__ambiguous=1)
    assert 0 == books["pairs"]["ready"]
    (told,) = [one for one in examples(attacked, "ambiguous") if one["side"] == "primary"]
    assert MAX_ATTEMPT == told["attempt"]


async def test_forged_pairs_are_told_from_those_that_were_asked_for(attacked: World) -> None:
    """They thin out a fail, which stands as yet: the metric counts them by their side, and the doctor names them."""
    world, forged = attacked, 200
    for number in range(20):
        await world.both(f"real-{number}", V1, "/cart")
    await world.until(pairs__mismatch=20)
    assert "candidate_recorded" not in await _found(world)
    for number in range(forged):
        for side in ("primary", "candidate"):
            assert await record(world, f"forged-{number}", V1, side=side) == 202
    await world.both("real-20", V1, "/cart")
    await world.until(pairs__mismatch=21, pairs__match=forged)
    metrics = await metrics_of(world.service)
    labels = (("disposition", "accepted"), ("side", "candidate"), ("target", "shop"))
    assert forged == metrics["shadowdiff_records_total", labels]
    assert "fail" == (await asyncio.to_thread(world.service.get, "verdict?target=shop"))["verdict"]
    told = (await _found(world))["candidate_recorded"]
    assert re.fullmatch(r"200 answers of v2 recorded by somebody, beside \d+ that this service asked for.", told)


async def _found(world: World) -> dict[str, str]:
    """Return what the doctor finds: titles by their codes."""
    told = await asyncio.to_thread(world.service.get, "doctor?target=shop")
    return {one["code"]: one["title"] for one in told["findings"]}


PARTS = ("price", "100", "999", "cart", "s3cret", "shop", "kn0wn", "match", "8080", "redis", "shadowdiff:", "sd:")
"""Of what was recorded, mirrored and counted, and of how the service is set up."""


async def test_the_records_port_tells_nothing(attacked: World) -> None:
    """No method and no path gives back any part of what was recorded, mirrored, counted or configured."""
    world = attacked
    await world.both("kn0wn-id", V1, PATH)
    await world.until(pairs__mismatch=1)
    (sample,) = await world.samples()
    fingerprints = await asyncio.to_thread(world.service.get, "fingerprints?target=shop")
    parts = [*PARTS, sample["id"], fingerprints["fingerprints"][0]["id"], str(world.service.ports["web"])]
    paths = (
        "/", "/record", "/records", "/api/v1/targets", "/api/v1/ledger?target=shop", "/metrics", "/healthz", "/samples",
        f"/api/v1/samples/{sample['id']}", "/../web", "*", "/record?id=kn0wn-id", "/records/kn0wn-id", "/cart",
    )  # fmt: skip
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "SEARCH"):
        for path in paths:
            fields = "host: shop\r\nx-shadowdiff-id: kn0wn-id\r\nx-shadowdiff-host: shop\r\ncontent-length: 0"
            head = f"{method} {path} HTTP/1.1\r\n{fields}\r\nconnection: close\r\n\r\n"
            answer = (await asyncio.to_thread(raw, world.service.ports["records"], head.encode())).decode()
            assert answer.split(" ")[1] in {"400", "404", "405"}, (method, path, answer)
            assert [] == [part for part in parts if part in answer], (method, path, answer)


async def test_no_answer_tells_what_is_known_of_an_id(attacked: World) -> None:
    """New, repeated, ambiguous, late, waited for, of a method or a host that nobody compares: the same bytes."""
    world = attacked
    await world.both("paired", V1, PATH)
    await world.until(pairs__mismatch=1)
    assert await world.mesh.mirror("waited-for", PATH) == 202
    sent: dict[str, tuple[str, bytes, dict[str, str]]] = {
        "new": ("new", V1, {}), "repeated": ("new", V1, {}), "ambiguous": ("new", WRONG, {}),
        "later attempt": ("new", WRONG, {"attempt": "3"}), "late": ("paired", V1, {}),
        "waited for": ("waited-for", V1, {}), "another method": ("new", V1, {"method": "DELETE"}),
        "another host": ("new", V1, {"host": "nowhere"}), "another side": ("new", V1, {"side": "candidate"}),
    }  # fmt: skip
    singly: dict[str, bytes] = {}
    batched: dict[str, bytes] = {}
    for name, (request_id, body, changes) in sent.items():
        fields = {"id": request_id, "id-source": "x-diff-id", "method": "GET", "path": "/cart", "host": "shop",
                  "status": "200"} | changes  # fmt: skip
        told = "".join(f"x-shadowdiff-{field}: {value}\r\n" for field, value in fields.items())
        head = f"POST /record HTTP/1.1\r\nhost: s\r\n{told}content-length: {len(body)}\r\n\r\n"
        singly[name] = await asyncio.to_thread(raw, world.service.ports["records"], head.encode() + body)
        line = {field.replace("-", "_"): value for field, value in fields.items()} | {"status": 200}
        line |= {"attempt": int(changes.get("attempt", 0)), "body_base64": base64.b64encode(body).decode()}
        said = json.dumps(line).encode()
        head = f"POST /records HTTP/1.1\r\nhost: s\r\ncontent-length: {len(said)}\r\n\r\n"
        batched[name] = await asyncio.to_thread(raw, world.service.ports["records"], head.encode() + said)
    for answers in (singly, batched):
        assert answers["new"].startswith(b"HTTP/1.1 202 ")
        assert {} == {name: answer for name, answer in answers.items() if answer != answers["new"]}


async def recorded(world: World, token: str | None, path: str = "/record", **options: Any) -> int:
    """Post a record with a token and return the status."""
    headers = {f"x-shadowdiff-{name}": value for name, value in {
        "id": "a", "id-source": "x-diff-id", "method": "GET", "path": "/", "host": "shop", "status": "200",
    }.items()}  # fmt: skip
    headers |= {"authorization": f"Bearer {token}"} if token is not None else {}
    url = world.service.url("records", path)
    async with world.mesh.session.post(url, headers=headers, data=b"{}", **options) as answer:
        return answer.status


async def test_where_tokens_are_configured_a_record_brings_one(redis_server: RedisServer, tmp_path: Path) -> None:
    """Any of them, so that recorders move from one to the next; what brings none is counted and believed in nothing."""
    config = settings(redis_server.url, target(), store={"prefix": f"token{free_port_number()}"})
    config["access"] = {"records": ["OLD_TOKEN", "NEW_TOKEN"]}
    async with serving(tmp_path, config, OLD_TOKEN=OLD, NEW_TOKEN=NEW) as world:
        wrong = (None, "", OLD[:-1], OLD + "x", OLD.upper(), "é")
        assert [await recorded(world, token) for token in wrong] == [401] * len(wrong)
        assert await recorded(world, "x", "/records") == 401
        assert [await recorded(world, token) for token in (OLD, NEW)] == [202, 202]
        unknown = await asyncio.to_thread(world.service.ledger, "_unknown")
        assert (unknown["recorded"]["received"], unknown["recorded"]["refused"]) == (7, 7)
        async with asyncio.timeout(20):  # the doctor judges by what came since it looked first
            while "records_without_token" not in (found := await _found(world)):
                assert await recorded(world, None) == 401
        assert re.fullmatch(r"\d+ records refused for want of a token.", found["records_without_token"])
        books = await world.service.until(
            lambda books: (books["recorded"]["accepted"], books["recorded"]["in_flight"]) == (2, 0)
        )
        assert (books["recorded"]["received"], books["recorded"]["refused"]) == (2, 0)
        world.service.config["access"] = {"records": ["NEW_TOKEN"]}
        world.service.write()
        world.service.process.send_signal(1) if world.service.process else None
        async with asyncio.timeout(20):
            while not lines_of(world.service, "configuration reloaded"):  # noqa: ASYNC110 - tests wait on conditions
                await asyncio.sleep(0.05)
        assert [await recorded(world, token) for token in (OLD, NEW)] == [401, 202]


async def test_one_address_sends_no_more_than_its_share(redis_server: RedisServer, tmp_path: Path) -> None:
    """What goes past it is shed with its reason, single records and batches alike."""
    config = settings(
        redis_server.url,
        target(),
        store={"prefix": f"rate{free_port_number()}"},
        limits={"records_per_source": 5},
    )
    async with serving(tmp_path, config) as world:
        line = b'{"id":"b","id_source":"x-diff-id","method":"GET","path":"/","host":"shop","status":200}\n'
        url = world.service.url("records", "/records")
        async with world.mesh.session.post(url, data=line * 1000) as answer:
            assert answer.status == 202
        assert {await recorded(world, None) for _ in range(20)} == {503}
        async with world.mesh.session.post(url, data=line * 7) as answer:
            assert answer.status == 503
        books = await asyncio.to_thread(world.service.ledger)
        assert (books["recorded"]["shed"], books["balanced"]) == (20, True)
        unknown = await asyncio.to_thread(world.service.ledger, "_unknown")
        assert (unknown["recorded"]["shed"], unknown["balanced"]) == (7, True)
