"""The tables of a run: exact counts of sets, changes, changes alone and parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.model import Expire, Incr
from shadowdiff.report.cause_writes import (
    MOST_SETS,
    OTHER_PARAMETER,
    PARAMETERS,
    CauseWrites,
    CountedRun,
    history_key,
    parameter_of,
    table_key,
)
from shadowdiff.report.change import Change
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, difference, mismatch, pair

if TYPE_CHECKING:
    from shadowdiff.model import Comparison

AT_MS = 1_772_000_000_123
ROUTE = "GET /products/{id}"
RUN = CountedRun(7, "r1")


def _stage(run: CountedRun | None = RUN, *, is_on: bool = True) -> CauseWrites:
    return CauseWrites(lambda _: run, lambda _: is_on, lambda _pair, _difference, _bit, text: f"safe {text}")


async def _tables(*comparisons: Comparison, stage: CauseWrites | None = None) -> dict[str, dict[str, int]]:
    """Return the four tables after these pairs."""
    store, stage = MemoryStore(), stage or _stage()
    for number, one in enumerate(comparisons):
        store.commit(stage(pair(number=number), one, AT_MS + number * 700))
    parts = ("sets", "changes", "alone", "params")
    return {part: await store.counts(table_key("shop", 7, part)) for part in parts}


async def test_each_mismatch_counts_its_set_and_its_changes() -> None:
    """A pair with one change counts as alone; matches do not count."""
    a, b = difference("$['a']"), difference("$['b']")
    ids = {name: Change(ROUTE, f"$['{name}']", "value").id for name in "ab"}
    tables = await _tables(mismatch(a), mismatch(a, b), mismatch(b, a), MATCH)
    assert {ids["a"]: 1, "".join(sorted(ids.values())): 2} == tables["sets"]
    assert {Change(ROUTE, "$['a']", "value").field: 3, Change(ROUTE, "$['b']", "value").field: 2} == tables["changes"]
    assert {ids["a"]: 1} == tables["alone"]


async def test_no_table_is_written_outside_a_run_or_with_causes_off() -> None:
    """A pair of another revision counts in no run; a target can turn causes off."""
    for stage in (_stage(None), _stage(is_on=False)):
        assert () == stage(pair(), mismatch(), AT_MS)


async def test_parameters_count_per_change_and_are_made_safe() -> None:
    """A parameter that all pairs of a change share has the same count as the change."""
    one = difference(relations=16, parameters=((16, "1.00"),))
    tables = await _tables(mismatch(one), mismatch(one, one))
    change = Change(ROUTE, "$['price']", "value", 16)
    assert {f"{change.id}05safe 1.00": 2} == tables["params"]


async def test_several_parameters_in_one_pair_count_as_another_parameter() -> None:
    """Two elements of an array with different offsets do not share one."""
    found = [difference(relations=16, parameters=((16, text),)) for text in ("1", "2")]
    tables = await _tables(mismatch(*found))
    assert [OTHER_PARAMETER] == [parameter_of(field)[2] for field in tables["params"]]


async def test_a_process_counts_the_first_eight_parameters() -> None:
    """The rest counts together, so the table stays small."""
    found = [mismatch(difference(relations=16, parameters=((16, str(n)),))) for n in range(20)]
    counts = {parameter_of(field)[2]: n for field, n in (await _tables(*found))["params"].items()}
    assert (PARAMETERS + 1, 12) == (len(counts), counts[OTHER_PARAMETER])


async def test_covered_differences_have_no_parameters() -> None:
    """A rule's differences do not count."""
    assert {} == (await _tables(mismatch(difference("$['a']"), difference(parameters=((1, "x"),), rule="r"))))["params"]


async def test_the_first_sight_keeps_its_time_and_revision() -> None:
    """A cause is new since the revision in which its changes were first seen."""
    store, change = MemoryStore(), Change(ROUTE, "$['price']", "value")
    for run in (RUN, CountedRun(8, "r2")):
        store.commit(_stage(run)(pair(), mismatch(), AT_MS + run.id * 1000))
    first, revision = store.scores(history_key("shop", "first")), store.fields(history_key("shop", "revision"))
    assert ({change.id: AT_MS // 1000 * 1000 + 7000}, {change.id: b"r1"}) == (first, revision)


def test_all_tables_are_limited_and_expire() -> None:
    """Every write has a cap, and every hash of counts has a time to live."""
    writes = _stage()(pair(), mismatch(difference(relations=1, parameters=((1, "x"),))), AT_MS)
    counted = {write.key: write.cap for write in writes if isinstance(write, Incr)}
    assert all(counted.values())
    assert MOST_SETS == counted["causes:7:sets:shop"]
    assert set(counted) <= {write.key for write in writes if isinstance(write, Expire)}
    assert all(getattr(write, "cap", 1) for write in writes)


def test_equal_sets_in_one_second_use_the_same_writes() -> None:
    """The commit script then applies each write once per batch."""
    stage = _stage()
    one, two = (stage(pair(number=n), mismatch(), AT_MS) for n in (1, 2))
    assert all(a is b for a, b in zip(one, two, strict=True))
