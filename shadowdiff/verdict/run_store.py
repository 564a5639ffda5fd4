"""Runs in Redis. Each change is one script, so all processes agree on the current run; times come from Redis.

The keys of runs are in the first shard. The run's counts of a pair are in the pair's shard.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.store import Script, number, reading
from shadowdiff.verdict.run import NewRun, Run, RunState, StartedBy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowdiff.model.store_reader import StoreReader
    from shadowdiff.store import Store

LIFE_S: Final = 35 * 86_400
"""How long the counts of a run outlive its last pair."""
RESUMED_MS: Final = 7 * 86_400_000
"""How long after its end a run can be resumed. Its counts live longer."""
EARLIER: Final = 8
"""The number of earlier runs per target that can be resumed."""
REMEMBERED: Final = 200
"""The number of newest revisions and rollouts that are stored per target."""
_LUA: Final = "shadowdiff.verdict.lua"
_READ: Final = Script.from_package(_LUA, "read_run.lua")
_START: Final = Script.from_package(_LUA, "start_run.lua")
_NAME: Final = Script.from_package(_LUA, "name_run.lua")
_ROLLOUT: Final = Script.from_package(_LUA, "note_rollout.lua")


class RunStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The start (Unix ms), the reason and the revision of a run."""

    at_ms: int
    id: int
    by: StartedBy
    revision: str | None


def counts_key(target: str, run_id: int, group: str) -> str:
    """Return the key of one group of a run's counts: a result name, `paths`, `excluded` or `routes`."""
    return f"run:{target}:{run_id}:{group}"


def _keys(target: str) -> tuple[str, str, str, str, str]:
    return (f"run:{target}", f"revisions:{target}", f"rollouts:{target}", f"runs:{target}", f"earlier:{target}")


class RunStore:
    """The runs of all targets. Its methods raise redis.exceptions.RedisError."""

    def __init__(self, store: Store, most_routes: int) -> None:
        self._store = store
        self._most_routes = most_routes

    async def read(
        self, target: str, run_id: int = 0, revisions: Sequence[str] = (), routes: Sequence[str] = ()
    ) -> RunState:
        """Return the state of a target's runs, and record revisions and routes that appeared since the last read."""
        keys = [*_keys(target)[:3], counts_key(target, run_id, "routes")]
        args = [run_id, LIFE_S, self._most_routes, len(revisions), *revisions, *routes]
        now_ms, run, known, rollouts = await self._store.run(_READ, 0, keys, args)
        with reading(f"the run of {target}"):
            times = {"revisions": _decode_times(known), "rollouts": _decode_times(rollouts)}
            return RunState(now_ms=int(now_ms), run=_decode_run(run), **times)

    async def start(self, target: str, state: RunState, new: NewRun, rules: str, ledger: Mapping[str, int]) -> Run:
        """Start a run unless another run has started since `state` was read; return the current run.

        If only the rules changed, and an earlier run had the same inputs, that run is resumed. Pairs from between do
        not count in it. The choice to leave them out does not depend on their results, so the verdict stays valid.
        """
        current = state.run
        keeps_rules = current is not None and (new.renamed or new.by not in {StartedBy.START, StartedBy.RULES})
        args: list[bytes | str | int] = [
            str(current.serial) if current else "",
            new.by,
            new.revision or "",
            current.rules if current and keeps_rules else rules,
            new.noise or "",
            new.rollout or "",
            json.dumps(ledger, separators=(",", ":")),
            REMEMBERED,
            EARLIER,
            RESUMED_MS,
            "" if new.renamed else "1",
        ]
        return self._current(target, await self._store.run(_START, 0, _keys(target), args))

    async def name(self, target: str, run: Run, revision: str) -> Run:
        """Set the revision of a run that does not have one yet; return the current run."""
        name, revisions, _, starts, _ = _keys(target)
        args = [str(run.serial), revision, REMEMBERED, str(run.id)]
        return self._current(target, await self._store.run(_NAME, 0, [name, revisions, starts], args))

    async def note_rollout(self, target: str, rollout: str) -> None:
        """Record that a known rollout requested its run."""
        await self._store.run(_ROLLOUT, 0, _keys(target)[2:3], [rollout])

    @staticmethod
    def _current(target: str, fields: list[bytes]) -> Run:
        with reading(f"the run of {target}"):
            run = _decode_run(fields)
        if run is None:
            raise RuntimeError("Redis lost the data of a run that just started; set maxmemory-policy to noeviction")
        return run


async def read_run_starts(reader: StoreReader, target: str) -> list[RunStarted]:
    """Return the start times of the newest runs, oldest first, without damaged entries."""
    found = map(_decode_start, await reader.newest(_keys(target)[3], 100))
    return sorted(filter(None, found), key=lambda one: one.at_ms)


def _decode_start(value: bytes) -> RunStarted | None:
    at_ms, run_id, by, revision, *_ = [*value.decode("utf-8", "replace").split(" ", 3), "", "", ""]
    try:
        return RunStarted(at_ms=int(at_ms), id=int(run_id), by=StartedBy(by), revision=revision or None)
    except ValueError:
        return None


def _decode_run(flat: list[bytes]) -> Run | None:
    fields = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
    if not fields:
        return None
    of, _, counts = fields.get("counts", "").partition(" ")
    return Run(
        id=number(counts if of == fields["id"] else fields["id"]),
        serial=number(fields["id"]),
        started_ms=number(fields["started_ms"]),
        by=StartedBy(fields["by"]),
        revision=fields["revision"] or None,
        rules=fields["rules"],
        noise=fields["noise"] or None,
        rollout=fields["rollout"] or None,
        ledger=msgspec.json.decode(fields["ledger"], type=dict[str, int]),
    )


def _decode_times(flat: list[bytes]) -> dict[str, int]:
    return {name.decode(): number(float(at)) for name, at in zip(flat[::2], flat[1::2], strict=True)}
