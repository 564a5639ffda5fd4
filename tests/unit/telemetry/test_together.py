"""Several processes' figures as one scrape: nothing twice, nothing lost, nothing that falls."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from prometheus_client.openmetrics import exposition

from shadowdiff.telemetry.histogram import Histogram
from shadowdiff.telemetry.metrics import ReloadState, StageCollector, WorkersState, written
from shadowdiff.telemetry.together import REMEMBERED_S, Figures, Together, figures_of
from tests.unit.telemetry.stages import ROUTE, Stages
from tests.unit.telemetry.test_metrics import parse_openmetrics, samples

LOADED = ReloadState(successful=False, at_s=5.0)
TWO = WorkersState(ready=2, crashes=1)


def of(stages: Stages) -> Figures:
    """Return the figures of a process, as another hears them."""
    sent = msgspec.msgpack.encode(figures_of(StageCollector(stages.sources()).take()))
    return msgspec.msgpack.decode(sent, type=Figures)


async def scraped(together: Together, *living: Stages, now_s: float = 0.0) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every sample of one scrape."""
    text, _ = await written(together.taken([of(one) for one in living], LOADED, TWO, now_s), "")
    return samples(text)


async def test_what_each_counts_is_added_up_and_what_all_read_is_not() -> None:
    """Requests add up, the store's figures stand once, the store is up where all reach it, the pod's are its own."""
    away = Stages(store_up=False)
    found = await scraped(Together(), Stages(), away)
    assert (
        found
        | {
            ("shadowdiff_mirrored_requests_total", ("shop", "forwarded")): 14,
            ("shadowdiff_comparisons_total", ("shop", ROUTE, "match")): 10,
            ("shadowdiff_pairing_delay_seconds_count", ("shop",)): 2,
            ("shadowdiff_orphans_total", ("shop", "candidate")): 2,
            ("shadowdiff_buffer_observations", ("shop", "primary")): 3,
            ("shadowdiff_verdict", ("shop", "fail")): 1,
            ("shadowdiff_gate_threshold", ("shop", "max_mismatch_ratio")): 0.001,
            ("shadowdiff_store_up", ()): 0,
            ("shadowdiff_workers", ()): 2,
            ("shadowdiff_worker_crashes_total", ()): 1,
            ("shadowdiff_config_last_reload_successful", ()): 0,
        }
        == found
    )


async def test_no_counter_falls_when_a_process_ends() -> None:
    """Its counts stay; a gauge of it does not; what it had read last from the store holds until others read anew."""
    together = Together()
    ahead = Stages()
    ahead.ledgers["shop"] = dataclasses.replace(ahead.ledgers["shop"], orphans={"candidate": 9, "primary": 0})
    before = await scraped(together, ahead, Stages())
    together.bury(of(ahead), 0.0)
    after = await scraped(together, Stages())
    counters = {name for name in before if name[0].endswith(("_total", "_count", "_bucket", "_sum"))}
    counters = {name for name in counters if not name[0].startswith("process_")}
    assert {name: before[name] for name in counters} == {name: after[name] for name in counters}
    assert (
        3
        == (await scraped(together, Stages(), now_s=REMEMBERED_S + 1))[
            "shadowdiff_buffer_observations", ("shop", "primary")
        ]
    )


async def test_exemplars_and_odd_labels_survive() -> None:
    """A trace id of either process is shown, and a lone surrogate in a route ends no scrape."""
    stages = Stages(comparisons={("shop", "GET /\ud800", "match"): 1})
    timed = Histogram()
    timed.observe(0.002, lambda: "0af7651916cd43dd8448eb211c80319c")
    stages.response_seconds["shop", ROUTE, "primary"] = timed
    text, _ = await written(
        Together().taken([of(stages), of(Stages())], LOADED, TWO, 0.0), exposition.CONTENT_TYPE_LATEST
    )
    families = parse_openmetrics(text.decode())
    traces = [one.exemplar.labels for family in families for one in family.samples if one.exemplar]
    assert [{"trace_id": "0af7651916cd43dd8448eb211c80319c"}] == traces


@pytest.mark.parametrize("living", [0, 1, 3])
async def test_process_metrics_are_those_of_all(living: int) -> None:
    """CPU and memory add up over the processes; the limit on open files is that of one."""
    alone = await scraped(Together())
    found = await scraped(Together(), *(Stages() for _ in range(living)))
    assert found["process_resident_memory_bytes", ()] > alone["process_resident_memory_bytes", ()] * (0.5 + living / 2)
    assert alone["process_max_fds", ()] == found["process_max_fds", ()]
