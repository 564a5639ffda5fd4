"""Measure the server's time per page with much stored data: one line per page.

Run: scripts/bench pages [--json] [--fingerprints N] [--samples N].  The product's own writes fill a separate Redis
through the commit script, and requests run in process: `median_ms` and `p95_ms` are the server's time, without network
and browser; `cpu_ms` is the CPU time of server and Redis; `first_ms` is the first request, when only the catalog of
fingerprints is in memory, which a service loads in the background (`catalogue_ms`); `grown_ms` and `grown_cpu_ms` are
the same after ten times as many pairs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec
from redis.exceptions import ResponseError
from rig import redis
from traffic import product

from shadowdiff.model import (
    Candidate,
    Comparison,
    Difference,
    Incr,
    Kind,
    Observation,
    Pair,
    Result,
    Severity,
    Side,
    Target,
)
from shadowdiff.pairing import names
from shadowdiff.pairing.claim import Claim, Judged, commit
from shadowdiff.queries.targets import Queries, TargetView
from shadowdiff.report import Redactor, ReportStage, SampleSettings
from shadowdiff.rule_changes.changes import RuleChanges
from shadowdiff.store import Store, connect
from shadowdiff.verdict import CountCaps, count_writes, history_writes
from shadowdiff.web import WebParts, create_web

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.applications import Starlette

    from shadowdiff.model import Write

TARGET: Final = "shop"
ROUTES: Final = 20
ROUNDS: Final = 9
LIMIT_MS: Final = 150.0
BATCH: Final = 100
LEDGER: Final = {"target": TARGET, "balanced": True, "coverage": {"eligible": 1, "compared": 1, "ratio": 1.0}}
ROW: Final = {"mirrored": {"received": 1}, "recorded": {"received": 1}, "observations": {}, "pairs": {"ready": 1}}


def main() -> None:
    """Fill a store, request every page, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--fingerprints", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, redis(Path(folder)) as (_, url):
        lines = asyncio.run(measured(url, arguments.fingerprints, arguments.samples))
    for line in lines:
        if arguments.json:
            print(json.dumps(line))
        else:
            named = ("median", "p95", "first", "grown", "cpu")
            figures = "  ".join(f"{name} {line[f'{name}_ms']:7.1f}" for name in named)
            print(f"{line['page']:<22} {figures}  {line['bytes'] / 1000:6.0f} kB")
    late = [line["page"] for line in lines if max(line["median_ms"], line["grown_ms"]) > LIMIT_MS]
    if late:
        raise SystemExit(f"above {LIMIT_MS:g} ms at the median: {', '.join(late)}")


async def measured(url: str, fingerprints: int, samples: int) -> list[dict[str, Any]]:
    """Return a line for each page."""
    store = Store(connect(url))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(OSError, Exception):
            await store.command("PING")
            break
        await asyncio.sleep(0.05)
    now_ms = time.time_ns() // 1_000_000
    await fill(store, fingerprints, samples, now_ms)
    parts = parts_over(store, now_ms)
    app = create_web(parts)
    began = time.perf_counter()
    await parts.queries.fingerprints.ruled_out(TARGET, None, "status", None)
    catalogue_ms = round((time.perf_counter() - began) * 1000)
    pages = await addresses(app)
    lines = [{"page": name, **await timed(app, store, address)} for name, address in pages.items()]
    await count_more(store, fingerprints * 9, now_ms)
    for line in lines:
        grown = await timed(app, store, pages[line["page"]])
        line |= {"grown_ms": grown["median_ms"], "grown_cpu_ms": grown["cpu_ms"], "catalogue_ms": catalogue_ms}
    await store.close()
    return lines


def parts_over(store: Store, now_ms: int) -> WebParts:
    """Return the parts of the application."""
    target = Target(name=TARGET, hosts=(TARGET,), candidate=Candidate(url="http://v2:8080"))

    async def ledger(_target: str) -> dict[str, Any]:
        return {**LEDGER, **ROW}

    queries = Queries(targets=lambda: [TargetView(target)], reader=store, ledger=ledger, now_ms=lambda: now_ms)
    return WebParts(queries=queries, rules=RuleChanges(queries))


async def fill(store: Store, fingerprints: int, samples: int, now_ms: int) -> None:
    """Commit the given number of fingerprints, the last ones with a sample each."""
    settings = SampleSettings(
        redactor=Redactor(b"a key"), keep=samples, per_fingerprint=200, size_bytes=1 << 30, body_bytes=1 << 17
    )
    report = ReportStage(settings, most_fingerprints=fingerprints)
    caps = CountCaps()
    for first in range(0, fingerprints, BATCH):
        judged: list[tuple[Any, ...]] = []
        for number in range(first, min(first + BATCH, fingerprints)):
            at_ms = now_ms - (fingerprints - number) * 200
            made, said = fault(number, large=number == fingerprints - 1, sampled=number >= fingerprints - samples)
            counted = (*count_writes(made, said, caps), *history_writes(made, said, at_ms))
            judged.append((*counted, *report(made, said, at_ms)))
        await put(store, judged)


def fault(number: int, *, large: bool, sampled: bool) -> tuple[Pair, Comparison]:
    """Return a pair that differs at a unique path; the large one has a thousand lines."""
    ours = product(number % 500, "2026-01-01") if sampled else b"{}"
    if large:
        ours = json.dumps({f"name {line}": line for line in range(1000)}).encode()
    theirs = ours.replace(b"1", b"2", 1)
    path = f"$['field {number}']"
    found = Difference(
        path=path, pattern=path, kind=list(Kind)[2 + number % 4], primary="1", candidate="2", severity=Severity.VALUE
    )
    pair = Pair(
        key=number.to_bytes(8, "big") * 2,
        target=TARGET,
        route=f"GET /things/{number % ROUTES}/{{id}}",
        primary=seen(Side.PRIMARY, ours, number),
        candidate=seen(Side.CANDIDATE, theirs, number),
    )
    return pair, Comparison(result=Result.MISMATCH, differences=(found,))


def seen(side: Side, body: bytes, number: int) -> Observation:
    """Return a side's response."""
    return Observation(
        side=side,
        target=TARGET,
        id=str(number),
        id_source="x-request-id",
        method="GET",
        path=f"/things/{number % ROUTES}/{number}",
        host=TARGET,
        status=200,
        headers=((b"content-type", b"application/json"),),
        body=body,
        body_bytes=len(body),
        duration_ms=3.0,
    )


async def put(store: Store, judged: Sequence[tuple[Write, ...]]) -> None:
    """Commit writes as a worker does."""
    stream = store.keys.name(0, names.ready(TARGET))
    with suppress(ResponseError):  # the group is there already
        await store.command("XGROUP", "CREATE", stream, names.GROUP, "0", "MKSTREAM")
    entries = await asyncio.gather(*(store.command("XADD", stream, "*", "k", "x") for _ in judged))
    await store.command("XREADGROUP", "GROUP", names.GROUP, "me", "COUNT", len(judged), "STREAMS", stream, ">")
    claims = [Claim(0, TARGET, entry, b"", b"", b"", None, 0.0) for entry in entries]
    done = await commit(store, 0, [Judged(claim, writes) for claim, writes in zip(claims, judged, strict=True)])
    if not all(done):
        raise RuntimeError("the store did not take a commit")


async def count_more(store: Store, pairs: int, now_ms: int) -> None:
    """Count this many more pairs over an hour, as combined writes of matches."""
    for minute in range(60):
        for route in range(ROUTES):
            made, _ = fault(route, large=False, sampled=False)
            said = Comparison(result=Result.MATCH)
            writes = (*count_writes(made, said), *history_writes(made, said, now_ms - minute * 60_000))
            many = pairs // (60 * ROUTES)
            scaled = (msgspec.structs.replace(one, by=many) if isinstance(one, Incr) else one for one in writes)
            await put(store, [tuple(scaled)])


async def addresses(app: Starlette) -> dict[str, str]:
    """Return the path of each page; the newest sample has a thousand lines."""
    listed = json.loads((await asked(app, f"/api/v1/samples?target={TARGET}&limit=2"))[1])["samples"]
    large, small = listed[0], listed[1]
    at = urlencode({"target": TARGET, "sample": small["id"], "path": small["differences"][0]["pattern"]})
    return {
        "overview": "/",
        "target": f"/targets/{TARGET}",
        "target by severity": f"/targets/{TARGET}?sort=severity&offset=200",
        "target, one route": f"/targets/{TARGET}?" + urlencode({"route": small["route"]}),
        "target, a path": f"/targets/{TARGET}?path=field+777",
        "target, a kind": f"/targets/{TARGET}?kind=value&sort=count",
        "target, a week": f"/targets/{TARGET}?window=7d",
        "group": f"/fingerprints/{small['fingerprint']}",
        "sample": f"/samples/{small['id']}",
        "sample, 1000 lines": f"/samples/{large['id']}",
        "unified, 1000 lines": f"/samples/{large['id']}?view=unified",
        "patch, 1000 lines": f"/samples/{large['id']}?view=patch",
        "rules": f"/rules?target={TARGET}",
        "rules, a preview": f"/rules?{at}",
        "ledger": "/ledger",
    }


async def timed(app: Starlette, store: Store, address: str) -> dict[str, Any]:
    """Return the time of a page."""
    first_ms, body = await asked(app, address)
    began_s = time.process_time() + await redis_s(store)
    times = sorted([(await asked(app, address))[0] for _ in range(ROUNDS)])
    cpu_ms = (time.process_time() + await redis_s(store) - began_s) * 1000 / ROUNDS
    return {
        "median_ms": round(statistics.median(times), 2),
        "p95_ms": round(times[int(0.95 * len(times))], 2),
        "first_ms": round(first_ms, 2),
        "cpu_ms": round(cpu_ms, 2),
        "bytes": len(body),
    }


async def redis_s(store: Store) -> float:
    """Return Redis' CPU time so far, in seconds."""
    cpu = await store.command("INFO", "cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


async def asked(app: Starlette, address: str) -> tuple[float, bytes]:
    """Return the response time in ms, and the body."""
    path, _, query = address.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8082")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8082),
    }
    started: dict[str, Any] = {}
    parts: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        started.update(message)
        parts.append(message.get("body", b""))

    began = time.perf_counter()
    await app(scope, receive, send)
    took_ms = (time.perf_counter() - began) * 1000
    if started["status"] != 200:
        raise RuntimeError(f"{address} answered {started['status']}: {b''.join(parts)[:300]!r}")
    return took_ms, b"".join(parts)


if __name__ == "__main__":
    main()
