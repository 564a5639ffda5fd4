"""Test tokens and rate limits of the records port, and what an attacker with only that port can do."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.intake.record_parser import MAX_ATTEMPT
from tests.conftest import free_port_number
from tests.integration.service.conftest import World, figure, lines_of, metrics_of, serving, settings, target
from tests.integration.service.scripts import always, response, v2
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
    """Yield a service with a wrong v2 and an open records port."""
    port = free_port_number()
    config = settings(redis_server.url, target(port), store={"prefix": f"forged{port}"}, pairing={"window": "4s"})
    async with v2(always(response(WRONG, "200 OK", f"content-type: {JSON}")), port), serving(tmp_path, config) as world:
        yield world


PATH = "/cart?session=s3cret"


async def record(world: World, request_id: str, body: bytes, **fields: str) -> int:
    """Record a response, as any client of the port can."""
    return await world.mesh.record(request_id, body, PATH, h_content_type=JSON, **fields)


def examples(world: World, kind: str) -> list[Any]:
    """Return the logged examples of one kind of rejected record."""
    return lines_of(world.service, f"observation of shop does not fit a pair: {kind}")


async def test_a_forged_record_leaves_a_count_and_an_example(attacked: World) -> None:
    """The ledger and the log show a forged record, whenever it arrives and even without v1's own."""
    world = attacked
    assert await record(world, "before", WRONG, attempt="9999") == 202
    assert await record(world, "before", V1) == 202
    assert await world.mesh.mirror("before", PATH) == 202
    assert await record(world, "next-to", WRONG) == 202
    assert await record(world, "next-to", V1) == 202
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
    of = {"replaced": "before", "ambiguous": "next-to", "duplicate": "twice", "late": "after"}
    for kind, request_id in of.items():
        (example,) = examples(world, kind)
        wanted = {"target": "shop", "side": "primary", "kind": kind, "path": "/cart", "id": request_id}
        assert wanted.items() <= example.items()
    assert "s3cret" not in world.service.log


async def test_many_records_of_one_kind_do_not_hide_another(attacked: World) -> None:
    """If a batch has many repeated records and one replaced record, the log has an example of both."""
    fact = {"id_source": "x-diff-id", "method": "GET", "path": "/cart", "host": "shop", "status": 200}
    body = base64.b64encode(V1).decode()
    lines = [fact | {"id": "again", "body_base64": body} for _ in range(50)]
    lines += [fact | {"id": "replaced", "attempt": attempt, "body_base64": body} for attempt in (2, 1)]
    sent = b"\n".join(json.dumps(line).encode() for line in lines)
    async with attacked.mesh.session.post(attacked.service.url("records", "/records"), data=sent) as answer:
        assert answer.status == 202
    await attacked.until(observations__primary__duplicate=49, observations__primary__replaced=1)
    assert [["again"], ["replaced"]] == [
        [example["id"] for example in examples(attacked, kind)] for kind in ("duplicate", "replaced")
    ]


@pytest.mark.parametrize("attempt", ["101", "65536", "999999999999999"])
async def test_a_huge_attempt_number_is_capped(attacked: World, attempt: str) -> None:
    """A huge attempt number cannot replace every later response. If two attempts are equal, the pair is ambiguous."""
    assert await record(attacked, "capped", WRONG, attempt=attempt) == 202
    assert await record(attacked, "capped", V1, attempt=str(MAX_ATTEMPT)) == 202
    assert await attacked.mesh.mirror("capped", PATH) == 202
    books = await attacked.until(observations__primary__ambiguous=2, observations__candidate__ambiguous=1)
    assert 0 == books["pairs"]["ready"]
    (example,) = [one for one in examples(attacked, "ambiguous") if one["side"] == "primary"]
    assert MAX_ATTEMPT == example["attempt"]


async def test_forged_pairs_are_distinguished_from_real_ones(attacked: World) -> None:
    """Forged pairs do not remove a `fail` verdict.

    The metric counts forged records by side, and the doctor reports them.
    """
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
    title = (await _found(world))["candidate_recorded"]
    assert re.fullmatch(r"200 v2 responses came from a recorder, and \d+ from this service.", title)


async def _found(world: World) -> dict[str, str]:
    """Return the titles of the doctor's findings by code."""
    report = await asyncio.to_thread(world.service.get, "doctor?target=shop")
    return {one["code"]: one["title"] for one in report["findings"]}


PARTS = ("price", "100", "999", "cart", "s3cret", "shop", "kn0wn", "match", "8080", "redis", "shadowdiff:", "sd:")
"""Parts of what was recorded, mirrored and counted, and of the configuration."""


async def test_the_records_port_reveals_nothing(attacked: World) -> None:
    """No method and no path returns any recorded, mirrored, counted or configured data."""
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


async def test_no_response_reveals_whether_an_id_is_known(attacked: World) -> None:
    """New, repeated, ambiguous, late and expected ids all get the same bytes, as do uncompared methods and hosts."""
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
        lines = "".join(f"x-shadowdiff-{field}: {value}\r\n" for field, value in fields.items())
        head = f"POST /record HTTP/1.1\r\nhost: s\r\n{lines}content-length: {len(body)}\r\n\r\n"
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


async def test_a_record_requires_a_token_if_tokens_are_configured(redis_server: RedisServer, tmp_path: Path) -> None:
    """Any configured token works, so recorders can rotate tokens. Records without a token are counted and ignored."""
    config = settings(redis_server.url, target(), store={"prefix": f"token{free_port_number()}"})
    config["access"] = {"records": ["OLD_TOKEN", "NEW_TOKEN"]}
    async with serving(tmp_path, config, OLD_TOKEN=OLD, NEW_TOKEN=NEW) as world:
        wrong = (None, "", OLD[:-1], OLD + "x", OLD.upper(), "é")
        assert [await recorded(world, token) for token in wrong] == [401] * len(wrong)
        assert await recorded(world, "x", "/records") == 401
        assert [await recorded(world, token) for token in (OLD, NEW)] == [202, 202]
        unknown = await asyncio.to_thread(world.service.ledger, "_unknown")
        assert (unknown["recorded"]["received"], unknown["recorded"]["refused"]) == (7, 7)
        async with asyncio.timeout(60):  # the doctor only counts data since its first snapshot
            while "records_without_token" not in (found := await _found(world)):
                assert await recorded(world, None) == 401
        assert re.fullmatch(r"\d+ records rejected without a valid token\.", found["records_without_token"])
        books = await world.service.until(
            lambda books: (books["recorded"]["accepted"], books["recorded"]["in_flight"]) == (2, 0)
        )
        assert (books["recorded"]["received"], books["recorded"]["refused"]) == (2, 0)
        world.service.config["access"] = {"records": ["NEW_TOKEN"]}
        world.service.write()
        world.service.process.send_signal(1) if world.service.process else None
        async with asyncio.timeout(60):
            while not lines_of(world.service, "config reloaded"):  # noqa: ASYNC110 - tests wait on conditions
                await asyncio.sleep(0.05)
        assert [await recorded(world, token) for token in (OLD, NEW)] == [401, 202]


async def test_records_per_source_are_limited(redis_server: RedisServer, tmp_path: Path) -> None:
    """Single records and batches above the limit are shed with a reason."""
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
