"""The gauges of causes have a limited number of series, without parameters."""

from __future__ import annotations

from shadowdiff.queries.causes import WITHOUT_RUNS, current_causes
from shadowdiff.report import CauseWrites, CountedRun
from shadowdiff.service.metric_sources import TOP, cause_gauges
from tests.fakes.shop import NOW_MS, shop_target, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import difference, mismatch, pair


async def test_causes_count_by_severity_and_state_and_the_top_ten_by_place() -> None:
    """Every combination has a series from the start, so an alert sees the first cause."""
    store = MemoryStore()
    run = CountedRun(WITHOUT_RUNS, "r1")
    stage = CauseWrites(lambda _: run, lambda _: True, lambda _pair, _difference, _bit, text: text)
    for number in range(30):
        for _ in range(number + 1):
            store.commit(stage(pair(number=number), mismatch(difference(f"$['f{number}']")), NOW_MS))
    queries = web_parts(store, targets=(shop_target("shop"),)).queries
    gauges = cause_gauges(await current_causes(queries, "shop"))
    assert (12, 30, 0) == (len(gauges.causes), gauges.causes["value", "open"], gauges.causes["breaking", "fixed"])
    assert {"breaking": 0, "value": 0, "additive": 0} == gauges.new_causes
    assert {(f"$['f{number}']", "other"): number + 1 for number in range(30 - TOP, 30)} == gauges.cause_pairs
