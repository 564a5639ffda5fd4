"""Test runs in a real Redis with the API, without the rest of the service."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.model import Candidate, Expire, Gate, Incr, Result, Side, Target
from shadowdiff.queries.targets import Queries, TargetView
from shadowdiff.rule_changes.changes import RuleChanges
from shadowdiff.store import Store, connect
from shadowdiff.verdict import RunInputs, Runs
from shadowdiff.web import WebParts, create_web
from tests.fakes.asgi import Answer, get
from tests.fakes.shop import replace_parts
from tests.fakes.traffic import MATCH, mismatch, observation, pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette

    from shadowdiff.model import Comparison, Pair, Write
    from tests.conftest import RedisServer

TARGET = "shop"
HEADER = "x-version"


def wall_ms() -> int:
    """Return the wall clock."""
    return time.time_ns() // 1_000_000


@dataclass
class Process:
    """One process of the service: its rules, its runs, and the pairs that it compares."""

    store: Store
    ledger: dict[str, Any]
    rules: str = "rules-1"
    noise: dict[str, Any] = field(default_factory=dict[str, Any])
    runs: Runs = field(init=False)

    def __post_init__(self) -> None:
        """Make the process's runs."""

        async def read(_target: str) -> dict[str, Any]:
            return self.ledger

        self.runs = Runs(
            self.store,
            lambda: [RunInputs(target=TARGET, revision_header=HEADER.encode(), rules=self.rules, **self.noise)],
            read,
        )

    async def judge(
        self,
        n: int = 1,
        result: Result = Result.MATCH,
        *,
        revision: str | None = None,
        route: str = "GET /",
        at_ms: int | None = None,
        status: int = 200,
    ) -> None:
        """Compare this number of equal pairs, and commit the writes of their run."""
        headers = ((HEADER.encode(), revision.encode()),) if revision else ()
        answered = observation(
            Side.CANDIDATE, headers=headers, at_ms=wall_ms() + 1 if at_ms is None else at_ms, status=status
        )
        comparison = MATCH if result is Result.MATCH else mismatch()
        for write in self.runs.writes(pair(candidate=answered, route=route), comparison, wall_ms()):
            await self.commit(write, n)

    async def judge_triple(self, triple: Pair, raw: Comparison, noise: Comparison) -> None:
        """Compare a pair that has a control, and commit the writes of its run."""
        for write in (*self.runs.writes(triple, raw, wall_ms()), *self.runs.triple_writes(triple, raw, noise)):
            await self.commit(write)

    async def commit(self, write: Write, n: int = 1) -> None:
        """Apply one write this number of times."""
        match write:
            case Incr(key, name, by, _):
                await self.store.command("HINCRBY", self.store.keys.name(0, key), name, by * n)
            case Expire(key, ttl_s):
                await self.store.command("EXPIRE", self.store.keys.name(0, key), ttl_s)
            case _:
                raise AssertionError(write)

    def covered(self, n: int) -> None:
        """Make the ledger show this number of responses of v1, all compared."""
        self.ledger["coverage"] = {"eligible": n, "compared": n, "ratio": 1.0}

    def app(self, routes: tuple[str, ...] = (), **changes: Any) -> Starlette:
        """Return the API on top of this process's runs."""

        async def read(_target: str) -> dict[str, Any]:
            return self.ledger

        gate = Gate(max_mismatch_ratio=0.05, min_coverage=0.9)
        target = Target(name=TARGET, hosts=(TARGET,), candidate=Candidate(url="http://v2"), gate=gate, routes=routes)
        queries = Queries(
            targets=lambda: (TargetView(target),), reader=self.store, ledger=read, runs=self.runs, now_ms=wall_ms
        )
        return create_web(replace_parts(WebParts(queries=queries, rules=RuleChanges(queries)), **changes))


async def post(app: Starlette, path: str, payload: Any, **headers: str) -> Answer:
    """POST JSON and return the response."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return await get(app, f"/api/v1/{path}", "POST", body, "application/json", **({"host": "localhost"} | headers))


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[Store]:
    """Yield a separate store."""
    made = Store(connect(redis_server.url), prefix=f"t{os.urandom(4).hex()}")
    yield made
    await made.close()


@pytest.fixture
async def process(store: Store) -> Process:
    """Return a process that has refreshed its runs once."""
    one = Process(store, {"coverage": {"eligible": 0, "compared": 0, "ratio": 0.0}})
    await one.runs.refresh()
    return one


def another(of: Process, rules: str | None = None) -> Process:
    """Return another process with the same store."""
    return Process(of.store, of.ledger, rules=rules or of.rules)
