"""A scrape combines the metrics of several processes: no count is doubled, lost or decreased."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client.openmetrics import exposition

from shadowdiff.telemetry.exposition import Exposition, encode
from shadowdiff.telemetry.histogram import Histogram
from shadowdiff.telemetry.metrics import PodSources, ReloadState, WorkersState
from shadowdiff.telemetry.multiprocess import REMEMBERED_S, PodMetrics, ProcessMetrics, process_metrics
from tests.unit.telemetry.stages import ROUTE, Stages
from tests.unit.telemetry.test_metrics import parse_openmetrics, samples

POD = PodSources(
    config_reload=lambda: ReloadState(successful=False, at_s=5.0), workers=lambda: WorkersState(ready=2, crashes=1)
)


def of(stages: Stages) -> ProcessMetrics:
    """Return the metrics of a process, as the supervisor receives them."""
    sent = msgspec.msgpack.encode(process_metrics(Exposition(stages.sources()).snapshot()))
    return msgspec.msgpack.decode(sent, type=ProcessMetrics)


async def scraped(pod: PodMetrics, *living: Stages, now_s: float = 0.0) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every sample of one scrape."""
    text, _ = await encode(pod.take([of(one) for one in living], POD, now_s), "")
    return samples(text)


async def test_counts_are_added_up_and_store_values_are_not() -> None:
    """Requests are added up, store values count once, and the store is up only if all processes reach it."""
    found = await scraped(PodMetrics(), Stages(), Stages(store_up=False))
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
    """The counts of an exited process stay. Its store values stay until another process reads new ones."""
    pod = PodMetrics()
    ahead = Stages()
    ahead.gauges["shop"] = msgspec.structs.replace(ahead.gauges["shop"], orphans={"candidate": 9, "primary": 0})
    before = await scraped(pod, ahead, Stages())
    pod.process_ended(of(ahead), 0.0)
    after = await scraped(pod, Stages())
    counters = {name for name in before if name[0].endswith(("_total", "_count", "_bucket", "_sum"))}
    counters = {name for name in counters if not name[0].startswith("process_")}
    assert {name: before[name] for name in counters} == {name: after[name] for name in counters}
    assert (
        3
        == (await scraped(pod, Stages(), now_s=REMEMBERED_S + 1))["shadowdiff_buffer_observations", ("shop", "primary")]
    )


async def test_exemplars_and_odd_labels_are_kept() -> None:
    """The scrape has a trace id of either process, and a lone surrogate in a route does not end it."""
    stages = Stages(comparisons={("shop", "GET /\ud800", "match"): 1})
    timed = Histogram()
    timed.observe(0.002, lambda: "0af7651916cd43dd8448eb211c80319c")
    stages.response_seconds["shop", ROUTE, "primary"] = timed
    text, _ = await encode(PodMetrics().take([of(stages), of(Stages())], POD, 0.0), exposition.CONTENT_TYPE_LATEST)
    families = parse_openmetrics(text.decode())
    traces = [one.exemplar.labels for family in families for one in family.samples if one.exemplar]
    assert [{"trace_id": "0af7651916cd43dd8448eb211c80319c"}] == traces


@pytest.mark.parametrize("living", [0, 1, 3])
async def test_process_metrics_cover_all_processes(living: int) -> None:
    """CPU and memory add up; the limit on open files is the supervisor's."""
    alone = await scraped(PodMetrics())
    found = await scraped(PodMetrics(), *(Stages() for _ in range(living)))
    assert found["process_resident_memory_bytes", ()] > alone["process_resident_memory_bytes", ()] * (0.5 + living / 2)
    assert alone["process_max_fds", ()] == found["process_max_fds", ()]
