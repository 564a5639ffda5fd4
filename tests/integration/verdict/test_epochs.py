"""When an epoch opens, what counts in it, and that all processes agree."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shadowdiff.model import Result
from shadowdiff.verdict import Evidence, OpenedBy, read_evidence
from shadowdiff.verdict.epoch import RETURNS_AFTER_MS
from tests.integration.verdict.conftest import TARGET, Process, another, wall_ms

if TYPE_CHECKING:
    from shadowdiff.verdict import Epoch


async def _epoch(process: Process) -> Epoch:
    epoch = await process.epochs.current(TARGET)
    assert epoch is not None
    return epoch


async def _evidence(process: Process) -> Evidence:
    return await read_evidence(process.store, TARGET, await _epoch(process))


async def _silent(process: Process, name: str, by_ms: int = RETURNS_AFTER_MS + 1000) -> None:
    """Let a revision or session have been heard of for the last time so long ago."""
    key = process.store.keys.name(0, name)
    listed = await process.store.command("ZRANGE", key, 0, -1)
    for member in listed:
        await process.store.command("ZINCRBY", key, -by_ms, member)


async def test_the_first_look_opens_an_epoch(process: Process) -> None:
    """There is always one, from a start that was fixed before the first pair."""
    epoch = await _epoch(process)
    assert (1, OpenedBy.START, None, "rules-1") == (epoch.id, epoch.by, epoch.revision, epoch.rules)
    assert abs(wall_ms() - epoch.started_ms) < 60_000


async def test_a_restart_goes_on_in_the_epoch_that_is_open(process: Process) -> None:
    """What was counted is not lost, and nothing starts anew."""
    await process.judge(7)
    after = another(process)
    await after.epochs.refresh()
    await after.judge(3)
    assert (1, 10) == ((await _epoch(after)).id, (await _evidence(after)).compared)


async def test_the_first_revision_names_the_epoch_without_a_new_start(process: Process) -> None:
    """No pair is lost to learning what v2 calls itself."""
    await process.judge(5, revision="1.0")
    await process.epochs.refresh()
    await process.judge(5, revision="1.0")
    epoch = await _epoch(process)
    assert (1, "1.0", 10) == (epoch.id, epoch.revision, (await _evidence(process)).compared)


async def test_a_first_revision_after_answers_without_one_is_another_v2(process: Process) -> None:
    """Answers that named none were another version's."""
    await process.judge(5)
    await process.judge(1, revision="1.0")
    await process.epochs.refresh()
    assert (2, OpenedBy.REVISION) == ((await _epoch(process)).id, (await _epoch(process)).by)


async def test_an_epoch_opens_in_a_store_that_is_full(process: Process) -> None:
    """Workers wait for it, and only they can empty the store."""
    after = another(process, rules="rules-2")
    try:
        await process.store.command("CONFIG", "SET", "maxmemory", "1")
        await after.epochs.refresh()
        await process.store.command("CONFIG", "SET", "maxmemory", "0")
        await after.judge(1, revision="1.0")
        await process.store.command("CONFIG", "SET", "maxmemory", "1")
        await after.epochs.refresh()
    finally:
        await process.store.command("CONFIG", "SET", "maxmemory", "0")
    epoch = await _epoch(process)
    assert (2, OpenedBy.RULES, "rules-2", "1.0") == (epoch.id, epoch.by, epoch.rules, epoch.revision)


async def test_an_unseen_revision_opens_an_epoch(process: Process) -> None:
    """The evidence begins anew, and remembers why."""
    await process.judge(9, revision="1.0")
    await process.epochs.refresh()
    await process.judge(1, revision="1.1")
    await process.epochs.refresh()
    await process.judge(4, revision="1.1")
    epoch = await _epoch(process)
    assert (2, OpenedBy.REVISION, "1.1", 4) == (
        epoch.id,
        epoch.by,
        epoch.revision,
        (await _evidence(process)).compared,
    )


async def test_a_straggler_of_the_old_revision_counts_nowhere_and_changes_nothing(process: Process) -> None:
    """An old pod's last answers come after the new one's first."""
    for revision in ("1.0", "1.1"):
        await process.judge(1, revision=revision)
        await process.epochs.refresh()
    await process.judge(6, Result.MISMATCH, revision="1.0")
    await process.judge(2, revision="1.1")
    await process.epochs.refresh()
    found = await _evidence(process)
    assert (2, 2, {"revision": 6}) == ((await _epoch(process)).id, found.compared, found.aside)


async def test_a_revision_that_comes_back_for_good_opens_an_epoch(process: Process) -> None:
    """After two minutes without the new one, v2 evidently went back."""
    for revision in ("1.0", "1.1"):
        await process.judge(1, revision=revision)
        await process.epochs.refresh()
    await _silent(process, f"revisions:{TARGET}")
    await process.judge(1, revision="1.0")
    await process.epochs.refresh()
    assert (3, "1.0") == ((await _epoch(process)).id, (await _epoch(process)).revision)


async def test_a_failure_names_no_revision_and_counts(process: Process) -> None:
    """A v2 that refuses is a v2 that fails."""
    await process.judge(1, revision="1.0")
    await process.epochs.refresh()
    await process.judge(3, Result.MISMATCH, status=0)
    assert 3 == (await _evidence(process)).mismatches


async def test_what_v2_answered_before_the_epoch_does_not_count_in_it(process: Process) -> None:
    """A pair may be judged late; it speaks of the v2 that answered."""
    await process.judge(8, at_ms=wall_ms() - 60_000)
    assert (0, {"before": 8}) == ((await _evidence(process)).compared, (await _evidence(process)).aside)


async def test_other_rules_open_an_epoch_and_the_old_process_counts_nowhere(process: Process) -> None:
    """While a configuration rolls out, pods compare by two rule sets; one of them counts."""
    newer = another(process, rules="rules-2")
    await newer.epochs.refresh()
    await process.epochs.refresh()
    await process.judge(5)
    await newer.judge(3)
    found = await _evidence(newer)
    assert (OpenedBy.RULES, "rules-2") == ((await _epoch(newer)).by, (await _epoch(newer)).rules)
    assert (2, 3, {"rules": 5}) == ((await _epoch(newer)).id, found.compared, found.aside)


async def test_going_back_to_old_rules_opens_an_epoch_too(process: Process) -> None:
    """There and back again is two changes."""
    for rules in ("rules-2", "rules-1"):
        process.rules = rules
        process.epochs.reload()
        await process.judge(1)
        await process.epochs.refresh()
    assert (3, 0) == ((await _epoch(process)).id, (await _evidence(process)).compared)


async def test_many_processes_that_see_a_revision_at_once_open_one_epoch(process: Process) -> None:
    """One is quicker; the others take what is there."""
    processes = [process, *(another(process) for _ in range(5))]
    for one in processes:
        await one.epochs.refresh()
        await one.judge(1, revision="1.0")
        await one.epochs.refresh()
    for one in processes:
        await one.judge(1, revision="1.1")
    await asyncio.gather(*(one.epochs.refresh() for one in processes))
    for one in processes:
        await one.epochs.refresh()
    assert (2, "1.1") == ((await _epoch(process)).id, (await _epoch(process)).revision)


async def test_an_epoch_by_hand_keeps_revision_and_rules(process: Process) -> None:
    """Only the start is new."""
    await process.judge(1, revision="1.0")
    await process.epochs.refresh()
    opened = await process.epochs.open(TARGET)
    assert (2, OpenedBy.HAND, "1.0", "rules-1") == (opened.id, opened.by, opened.revision, opened.rules)


async def test_a_rollouts_first_question_opens_an_epoch_and_the_next_ones_do_not(process: Process) -> None:
    """One epoch per rollout revision, however often it asks and whichever process it reaches."""
    first = await process.epochs.ask(TARGET, "shop/cart/7")
    again = await another(process).epochs.ask(TARGET, "shop/cart/7")
    other = await process.epochs.ask(TARGET, "shop/cart/8")
    assert (2, 2, 3) == (first.id, again.id, other.id)
    assert (OpenedBy.ROLLOUT, "shop/cart/8") == (other.by, other.session)


async def test_a_rollout_goes_on_through_a_new_revision(process: Process) -> None:
    """The hook comes first, v2's first new answer later: still the same rollout."""
    await process.judge(1, revision="1.0")
    await process.epochs.refresh()
    await process.epochs.ask(TARGET, "shop/cart/7")
    await process.judge(1, revision="1.1")
    await process.epochs.refresh()
    epoch = await process.epochs.ask(TARGET, "shop/cart/7")
    assert (3, "1.1", "shop/cart/7") == (epoch.id, epoch.revision, epoch.session)


async def test_a_question_by_the_revision_that_v2_names_is_about_the_open_epoch(process: Process) -> None:
    """Where the controller knows v2's own version, nothing opens twice."""
    await process.judge(1, revision="1.0")
    await process.epochs.refresh()
    assert 1 == (await process.epochs.ask(TARGET, "1.0")).id


async def test_a_superseded_rollout_opens_nothing_until_the_other_falls_silent(process: Process) -> None:
    """Two that ask in turns do not end each other's evidence; one that comes back for good begins anew."""
    for session in ("a", "b", "a", "b"):
        await process.epochs.ask(TARGET, session)
    assert 3 == (await _epoch(process)).id
    await _silent(process, f"sessions:{TARGET}")
    assert (4, "a") == ((await process.epochs.ask(TARGET, "a")).id, (await _epoch(process)).session)


async def test_the_ledger_is_noted_as_it_stood(process: Process) -> None:
    """So that coverage can count from the same moment."""
    process.covered(120)
    assert 120 == (await process.epochs.open(TARGET)).ledger["coverage.eligible"]


async def test_routes_keep_the_order_in_which_they_appeared(process: Process) -> None:
    """Their shares of the level follow from it, so that it never changes."""
    for route in ("GET /z", "GET /a", "GET /m"):
        await process.judge(1, route=route)
        await process.epochs.refresh()
    await another(process).epochs.refresh()
    assert ["GET /z", "GET /a", "GET /m"] == [route.route for route in (await _evidence(process)).routes]


async def test_counts_of_an_epoch_expire(process: Process) -> None:
    """Old epochs do not fill the store."""
    await process.judge(1, Result.MISMATCH)
    await process.epochs.refresh()
    pattern = process.store.keys.name(0, f"epoch:{TARGET}:1:*")
    keys = await process.store.command("KEYS", pattern)
    assert {b"mismatch", b"paths", b"routes"} == {key.rpartition(b":")[2] for key in keys}
    assert all([0 < await process.store.command("TTL", key) for key in keys])


async def test_an_emptied_store_begins_with_a_new_epoch(process: Process) -> None:
    """A store that came back empty has no evidence to go on with."""
    await process.judge(5)
    for key in await process.store.command("KEYS", process.store.keys.name(0, "*")):
        await process.store.command("DEL", key)
    await process.epochs.refresh()
    await process.judge(2)
    assert (1, 2) == ((await _epoch(process)).id, (await _evidence(process)).compared)
