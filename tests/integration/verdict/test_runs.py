"""Test when a run starts, which pairs count in it, and that all processes agree."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shadowdiff.model import Result
from shadowdiff.verdict import Evidence, StartedBy, read_evidence
from shadowdiff.verdict.run import RETURNS_AFTER_MS
from shadowdiff.verdict.run_store import RESUMED_MS, read_run_starts
from tests.integration.verdict.conftest import TARGET, Process, another, wall_ms

if TYPE_CHECKING:
    from shadowdiff.verdict import Run


async def _run(process: Process) -> Run:
    run = await process.runs.current(TARGET)
    assert run is not None
    return run


async def _evidence(process: Process) -> Evidence:
    return await read_evidence(process.store, TARGET, await _run(process))


async def _silent(process: Process, name: str, by_ms: int = RETURNS_AFTER_MS + 1000) -> None:
    """Set the time at which a revision or rollout was last seen to this long ago."""
    key = process.store.keys.name(0, name)
    listed = await process.store.command("ZRANGE", key, 0, -1)
    for member in listed:
        await process.store.command("ZINCRBY", key, -by_ms, member)


async def test_first_refresh_starts_a_run(process: Process) -> None:
    """A service always has a run, which starts before its first pair."""
    run = await _run(process)
    assert (1, StartedBy.START, None, "rules-1") == (run.id, run.by, run.revision, run.rules)
    assert abs(wall_ms() - run.started_ms) < 60_000


async def test_restart_continues_the_current_run(process: Process) -> None:
    """No count is lost, and no run starts."""
    await process.judge(7)
    after = another(process)
    await after.runs.refresh()
    await after.judge(3)
    assert (1, 10) == ((await _run(after)).id, (await _evidence(after)).compared)


async def test_first_revision_names_the_run_without_a_new_one(process: Process) -> None:
    """No pair is lost while v2's revision becomes known."""
    await process.judge(5, revision="1.0")
    await process.runs.refresh()
    await process.judge(5, revision="1.0")
    run = await _run(process)
    assert (1, "1.0", 10) == (run.id, run.revision, (await _evidence(process)).compared)


async def test_first_revision_after_nameless_responses_is_another_v2(process: Process) -> None:
    """Responses without a revision came from another version."""
    await process.judge(5)
    await process.judge(1, revision="1.0")
    await process.runs.refresh()
    assert (2, StartedBy.REVISION) == ((await _run(process)).id, (await _run(process)).by)


async def test_run_starts_in_a_full_store(process: Process) -> None:
    """Workers wait for the run, and only workers can empty the store."""
    after = another(process, rules="rules-2")
    try:
        await process.store.command("CONFIG", "SET", "maxmemory", "1")
        await after.runs.refresh()
        await process.store.command("CONFIG", "SET", "maxmemory", "0")
        await after.judge(1, revision="1.0")
        await process.store.command("CONFIG", "SET", "maxmemory", "1")
        await after.runs.refresh()
    finally:
        await process.store.command("CONFIG", "SET", "maxmemory", "0")
    run = await _run(process)
    assert (2, StartedBy.RULES, "rules-2", "1.0") == (run.id, run.by, run.rules, run.revision)


async def test_new_revision_starts_a_run(process: Process) -> None:
    """The evidence starts again, and the run has the reason."""
    await process.judge(9, revision="1.0")
    await process.runs.refresh()
    await process.judge(1, revision="1.1")
    await process.runs.refresh()
    await process.judge(4, revision="1.1")
    run = await _run(process)
    assert (2, StartedBy.REVISION, "1.1", 4) == (
        run.id,
        run.by,
        run.revision,
        (await _evidence(process)).compared,
    )


async def test_late_response_of_the_old_revision_does_not_count(process: Process) -> None:
    """An old pod's last responses arrive after the new one's first."""
    for revision in ("1.0", "1.1"):
        await process.judge(1, revision=revision)
        await process.runs.refresh()
    await process.judge(6, Result.MISMATCH, revision="1.0")
    await process.judge(2, revision="1.1")
    await process.runs.refresh()
    found = await _evidence(process)
    assert (2, 2, {"revision": 6}) == ((await _run(process)).id, found.compared, found.excluded)


async def test_returning_revision_starts_a_run(process: Process) -> None:
    """After two minutes without the new revision, v2 was rolled back."""
    for revision in ("1.0", "1.1"):
        await process.judge(1, revision=revision)
        await process.runs.refresh()
    await _silent(process, f"revisions:{TARGET}")
    await process.judge(1, revision="1.0")
    await process.runs.refresh()
    assert (3, "1.0") == ((await _run(process)).id, (await _run(process)).revision)


async def test_failure_without_a_revision_counts(process: Process) -> None:
    """A v2 that refuses connections fails."""
    await process.judge(1, revision="1.0")
    await process.runs.refresh()
    await process.judge(3, Result.MISMATCH, status=0)
    assert 3 == (await _evidence(process)).mismatches


async def test_response_before_the_run_does_not_count(process: Process) -> None:
    """A pair that is compared late belongs to the v2 that responded."""
    await process.judge(8, at_ms=wall_ms() - 60_000)
    assert (0, {"before": 8}) == ((await _evidence(process)).compared, (await _evidence(process)).excluded)


async def test_new_rules_start_a_run_and_exclude_the_old_process(process: Process) -> None:
    """While a configuration rolls out, pods compare under two rule sets, but only one of them counts."""
    newer = another(process, rules="rules-2")
    await newer.runs.refresh()
    await process.runs.refresh()
    await process.judge(5)
    await newer.judge(3)
    found = await _evidence(newer)
    assert (StartedBy.RULES, "rules-2") == ((await _run(newer)).by, (await _run(newer)).rules)
    assert (2, 3, {"rules": 5}) == ((await _run(newer)).id, found.compared, found.excluded)


async def _change_rules(process: Process, rules: str) -> None:
    process.rules = rules
    process.runs.reload()
    await process.runs.refresh()


async def test_old_rules_again_resume_their_run(process: Process) -> None:
    """Undoing a rule loses no evidence. Pairs under the other rules do not count in the run."""
    before = await _run(process)
    await process.judge(5)
    await _change_rules(process, "rules-2")
    await process.judge(3)
    assert (2, 3) == ((await _run(process)).id, (await _evidence(process)).compared)
    await _change_rules(process, "rules-1")
    await process.judge(2)
    again = await _run(process)
    assert (before.id, before.started_ms, before.rules) == (again.id, again.started_ms, again.rules)
    assert (7, 3) == ((await _evidence(process)).compared, again.serial)


async def test_a_run_after_a_resumed_run_has_a_new_id(process: Process) -> None:
    """No run ever counts under the id of another one."""
    for rules in ("rules-2", "rules-1", "rules-3"):
        await _change_rules(process, rules)
    assert (4, 0) == ((await _run(process)).id, (await _evidence(process)).compared)
    await process.runs.start(TARGET)
    assert 5 == (await _run(process)).id


async def test_other_names_of_places_start_a_run_and_no_earlier_run_is_resumed(process: Process) -> None:
    """Earlier runs have the old names. A process with other rules than the run's keeps the run's rules."""
    await _change_rules(process, "rules-2")
    other = another(process, rules="rules-1")
    for expected in (3, 4):
        renamed = await other.runs.start(TARGET, StartedBy.RULES, renamed=True)
        assert (expected, "rules-2") == (renamed.id, renamed.rules)
    await _change_rules(process, "rules-1")
    assert 5 == (await _run(process)).id


async def test_an_earlier_version_of_the_service_never_counts_under_the_id_of_another_run(process: Process) -> None:
    """It adds 1 to the current id and knows no resumed runs; afterwards no earlier run is resumed."""
    for rules in ("rules-2", "rules-1"):
        await _change_rules(process, rules)
    name = process.store.keys.name(0, f"run:{TARGET}")
    serial: Any = await process.store.command("HGET", name, "id")
    assert (b"3", 1) == (serial, (await _run(process)).id)
    await process.store.command("HSET", name, "id", 4, "rules", "rules-3", "by", "manual")
    assert (4, "rules-3") == ((await _run(process)).id, (await _run(process)).rules)
    await _change_rules(process, "rules-2")
    assert 5 == (await _run(process)).id


async def test_a_named_run_has_its_revision_in_the_list_of_starts(process: Process) -> None:
    """So the first revision is not new."""
    await process.judge(1, revision="1.0")
    await process.runs.refresh()
    await _change_rules(process, "rules-2")
    assert ["1.0", "1.0"] == [one.revision for one in await read_run_starts(process.store, TARGET)]


async def test_each_of_several_undone_rules_resumes_its_run(process: Process) -> None:
    """Rules are undone one after the other, and can be added again."""
    found: list[int] = []
    for rules in ("rules-2", "rules-3", "rules-2", "rules-1", "rules-3"):
        await _change_rules(process, rules)
        found.append((await _run(process)).id)
    assert [2, 3, 2, 1, 3] == found


async def test_old_rules_with_another_v2_start_a_run(process: Process) -> None:
    """The earlier run has evidence about the earlier v2."""
    await process.judge(1, revision="1.0")
    await process.runs.refresh()
    await _change_rules(process, "rules-2")
    await process.judge(1, revision="2.0")
    await process.runs.refresh()
    await _change_rules(process, "rules-1")
    assert (4, "2.0") == ((await _run(process)).id, (await _run(process)).revision)


async def test_a_manual_run_is_not_undone(process: Process) -> None:
    """Somebody decided that earlier pairs no longer count."""
    await _change_rules(process, "rules-2")
    await process.runs.start(TARGET)
    await _change_rules(process, "rules-1")
    assert 4 == (await _run(process)).id


async def test_processes_agree_on_a_resumed_run(process: Process) -> None:
    """Each process counts in the run that the first of them resumed."""
    other = another(process)
    await other.runs.refresh()
    for rules in ("rules-2", "rules-1"):
        for one in (process, other):
            await _change_rules(one, rules)
    await process.judge(2)
    await other.judge(3)
    assert (1, 5) == ((await _run(process)).id, (await _evidence(other)).compared)


async def test_a_run_that_ended_long_ago_is_not_resumed(process: Process) -> None:
    """Its counts may have expired."""
    await _change_rules(process, "rules-2")
    assert 0 < await process.store.command("PTTL", process.store.keys.name(0, f"earlier:{TARGET}")) <= RESUMED_MS
    await process.store.command("DEL", process.store.keys.name(0, f"earlier:{TARGET}"))
    await _change_rules(process, "rules-1")
    assert 3 == (await _run(process)).id


async def test_many_processes_that_see_a_revision_at_once_start_one_run(process: Process) -> None:
    """The first process starts the run, and the others use it."""
    processes = [process, *(another(process) for _ in range(5))]
    for one in processes:
        await one.runs.refresh()
        await one.judge(1, revision="1.0")
        await one.runs.refresh()
    for one in processes:
        await one.judge(1, revision="1.1")
    await asyncio.gather(*(one.runs.refresh() for one in processes))
    for one in processes:
        await one.runs.refresh()
    assert (2, "1.1") == ((await _run(process)).id, (await _run(process)).revision)


async def test_manual_run_keeps_revision_and_rules(process: Process) -> None:
    """Only the start of the run is new."""
    await process.judge(1, revision="1.0")
    await process.runs.refresh()
    opened = await process.runs.start(TARGET)
    assert (2, StartedBy.MANUAL, "1.0", "rules-1") == (opened.id, opened.by, opened.revision, opened.rules)


async def test_only_the_first_request_of_a_rollout_starts_a_run(process: Process) -> None:
    """Each rollout revision has one run, for any number of requests to any process."""
    first = await process.runs.for_rollout(TARGET, "shop/cart/7")
    again = await another(process).runs.for_rollout(TARGET, "shop/cart/7")
    other = await process.runs.for_rollout(TARGET, "shop/cart/8")
    assert (2, 2, 3) == (first.id, again.id, other.id)
    assert (StartedBy.ROLLOUT, "shop/cart/8") == (other.by, other.rollout)


async def test_rollout_keeps_its_run_when_the_revision_appears(process: Process) -> None:
    """The hook comes first and v2's first new response later, but they belong to the same rollout."""
    await process.judge(1, revision="1.0")
    await process.runs.refresh()
    await process.runs.for_rollout(TARGET, "shop/cart/7")
    await process.judge(1, revision="1.1")
    await process.runs.refresh()
    run = await process.runs.for_rollout(TARGET, "shop/cart/7")
    assert (3, "1.1", "shop/cart/7") == (run.id, run.revision, run.rollout)


async def test_request_by_v2s_own_revision_uses_the_current_run(process: Process) -> None:
    """A controller that sends v2's revision starts no second run."""
    await process.judge(1, revision="1.0")
    await process.runs.refresh()
    assert 1 == (await process.runs.for_rollout(TARGET, "1.0")).id


async def test_superseded_rollout_starts_no_run_until_the_other_is_silent(process: Process) -> None:
    """Two alternating rollouts do not end each other's evidence. A permanent return starts a new run."""
    for rollout in ("a", "b", "a", "b"):
        await process.runs.for_rollout(TARGET, rollout)
    assert 3 == (await _run(process)).id
    await _silent(process, f"rollouts:{TARGET}")
    assert (4, "a") == ((await process.runs.for_rollout(TARGET, "a")).id, (await _run(process)).rollout)


async def test_run_keeps_the_ledger_of_its_start(process: Process) -> None:
    """Coverage counts from the same moment."""
    process.covered(120)
    assert 120 == (await process.runs.start(TARGET)).ledger["coverage.eligible"]


async def test_routes_keep_their_order_of_appearance(process: Process) -> None:
    """The shares of the error depend on the order of routes, so it never changes."""
    for route in ("GET /z", "GET /a", "GET /m"):
        await process.judge(1, route=route)
        await process.runs.refresh()
    await another(process).runs.refresh()
    assert ["GET /z", "GET /a", "GET /m"] == [route.route for route in (await _evidence(process)).routes]


async def test_counts_of_a_run_expire(process: Process) -> None:
    """Old runs do not fill the store."""
    await process.judge(1, Result.MISMATCH)
    await process.runs.refresh()
    pattern = process.store.keys.name(0, f"run:{TARGET}:1:*")
    keys = await process.store.command("KEYS", pattern)
    assert {b"mismatch", b"paths", b"routes"} == {key.rpartition(b":")[2] for key in keys}
    assert all([0 < await process.store.command("TTL", key) for key in keys])


async def test_emptied_store_starts_a_new_run(process: Process) -> None:
    """An emptied store has no evidence, so a new run starts."""
    await process.judge(5)
    for key in await process.store.command("KEYS", process.store.keys.name(0, "*")):
        await process.store.command("DEL", key)
    await process.runs.refresh()
    await process.judge(2)
    assert (1, 2) == ((await _run(process)).id, (await _evidence(process)).compared)
