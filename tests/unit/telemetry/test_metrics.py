"""Test the metrics of a scrape. Reading them changes nothing."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, cast

import msgspec
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from shadowdiff import __version__
from shadowdiff.model import Result
from shadowdiff.telemetry.exposition import Exposition
from shadowdiff.telemetry.histogram import BOUNDS_S, Histogram
from shadowdiff.telemetry.metrics import DECLARED, METRICS, PairCounts, PodSources, ReloadState, Sources, TargetGauges
from tests.conftest import needs_tool
from tests.unit.telemetry.stages import OPENMETRICS, ROUTE, Stages, worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.core import Metric


def parse_openmetrics(text: str) -> list[Metric]:
    """Read a scrape in the OpenMetrics form, as strictly as its parser does."""
    return list(openmetrics.text_string_to_metric_families(text))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


async def scraped(stages: Stages) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every sample of one scrape, by name and label values."""
    text, _ = await Exposition(stages.sources()).render("")
    return samples(text)


def samples(text: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    """Read a scrape in the plain text form."""
    return {
        (sample.name, in_order(sample.name, sample.labels)): sample.value
        for family in parse_text(text.decode())
        for sample in family.samples
    }


def in_order(name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return label values in the metric's order of label names, with `le` last."""
    spec = next((spec for spec in METRICS.values() if name.startswith(spec.name)), None)
    names = (*spec.labels, "le") if spec else tuple(labels)
    return tuple(labels[label] for label in names if label in labels)


def test_every_source_is_read_by_a_metric() -> None:
    """A counter of a stage without a metric would never be scraped."""
    read = set[str]()

    class Recorder:
        def __init__(self, source: object) -> None:
            self._source = source

        def __getattr__(self, name: str) -> object:
            read.add(name)
            value = getattr(self._source, name)
            return Recorder(value) if name == "pairs" else value

    for metric in METRICS.values():
        list(metric.read(cast("Sources", Recorder(Stages().sources()))))
    counters = set(PairCounts.__annotations__)
    assert counters | set(Sources.__struct_fields__) == read


def test_a_metric_of_the_supervisor_reads_no_stage() -> None:
    """The supervisor has no stages."""
    pod = PodSources(config_reload=lambda: ReloadState(successful=True, at_s=0.0))
    own = [metric for metric in METRICS.values() if metric.combine == "supervisor"]
    assert [1] * len(own) == [len(list(metric.read(cast("Sources", pod)))) for metric in own]


def test_names_are_distinct_and_fit_their_kind() -> None:
    """A second metric of the same name would replace the first one."""
    assert len(DECLARED) == len(METRICS)
    suffixes = {"counter": "_total", "info": "_info", "histogram": "_seconds"}
    assert [] == [name for name, each in METRICS.items() if not name.endswith(suffixes.get(each.kind, ""))]


async def test_every_metric_is_exposed_with_its_labels_and_help() -> None:
    """Dashboards and alerts depend on names, labels and kinds."""
    stages = Stages()
    stages.response_seconds["shop", ROUTE, "primary"] = Histogram()
    text, _ = await Exposition(stages.sources()).render(OPENMETRICS)
    families = {f.name: f for f in parse_openmetrics(text.decode()) if f.name.startswith("shadowdiff")}
    seen = {
        f.samples[0].name.removesuffix("_bucket"): (
            f.type,
            set(f.samples[0].labels) - {"le"},
            f.documentation,
        )
        for f in families.values()
    }
    assert seen == {spec.name: (spec.kind, set(spec.labels), spec.help) for spec in METRICS.values()}


async def test_a_scrape_has_the_counters_of_the_stages() -> None:
    """Each counter appears under its own name and labels."""
    found = await scraped(Stages())
    expected: Mapping[tuple[str, tuple[str, ...]], float] = {
        ("shadowdiff_mirrored_requests_total", ("shop", "forwarded")): 7,
        ("shadowdiff_mirrored_requests_total", ("shop", "shed")): 0,
        ("shadowdiff_records_total", ("shop", "primary", "accepted")): 9,
        ("shadowdiff_comparisons_total", ("shop", ROUTE, "match")): 5,
        ("shadowdiff_differences_total", ("shop", ROUTE, "value")): 4,
        ("shadowdiff_orphans_total", ("shop", "candidate")): 2,
        ("shadowdiff_shed_total", ("shop", "queue")): 1,
        ("shadowdiff_pairing_delay_seconds_count", ("shop",)): 1,
        ("shadowdiff_pairing_delay_seconds_bucket", ("shop", "0.01")): 0,
        ("shadowdiff_pairing_delay_seconds_bucket", ("shop", "0.025")): 1,
        ("shadowdiff_pairing_delay_seconds_bucket", ("shop", "+Inf")): 1,
        ("shadowdiff_mismatch_ratio", ("shop", "upper")): 0.02,
        ("shadowdiff_coverage_ratio", ("shop",)): 0.97,
        ("shadowdiff_verdict", ("shop", "fail")): 1,
        ("shadowdiff_verdict", ("shop", "pass")): 0,
        ("shadowdiff_verdict", ("shop", "insufficient")): 0,
        ("shadowdiff_gate_threshold", ("shop", "max_mismatch_ratio")): 0.001,
        ("shadowdiff_candidate_failures_total", ("shop", "timeout")): 2,
        ("shadowdiff_buffer_observations", ("shop", "primary")): 3,
        ("shadowdiff_store_up", ()): 1,
        ("shadowdiff_store_info", ("redis", "7.0.15", "true")): 1,
        ("shadowdiff_config_last_reload_successful", ()): 1,
        ("shadowdiff_config_last_reload_timestamp_seconds", ()): 1_790_000_000,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert any(name == "shadowdiff_build_info" and __version__ in labels for name, labels in found)
    assert any(name.startswith("process_cpu_seconds") for name, _ in found)
    assert not any(name.startswith("python_gc") for name, _ in found)


async def test_received_and_in_flight_are_not_dispositions() -> None:
    """The sum would count everything twice, and a counter must not fall."""
    found = await scraped(Stages(mirrored={"shop": {"received": 10, "forwarded": 7, "in_flight": 3}}))
    shown = {labels[1]: n for (name, labels), n in found.items() if name == "shadowdiff_mirrored_requests_total"}
    assert shown == {"forwarded": 7}


async def test_a_route_has_all_its_results_from_zero() -> None:
    """PromQL finds the series of a mismatch before the first one happens."""
    found = await scraped(Stages(comparisons=worker().comparisons))
    results = {labels[2]: n for (name, labels), n in found.items() if name == "shadowdiff_comparisons_total"}
    assert results == {str(result): 1 if result is Result.MATCH else 0 for result in Result}


async def test_a_ratio_without_pairs_has_no_sample() -> None:
    """A quiet target shows neither 0 % nor 100 %."""
    found = await scraped(Stages())
    ratios = {"shadowdiff_mismatch_ratio", "shadowdiff_coverage_ratio", "shadowdiff_verdict"}
    assert {labels[0] for name, labels in found if name in ratios} == {"shop"}


async def test_a_scrape_builds_the_gauges_once() -> None:
    """Five metrics read them, and a service may have many targets."""
    stages = Stages()
    calls: list[None] = []

    def gauges() -> Mapping[str, TargetGauges]:
        calls.append(None)
        return stages.gauges

    Exposition(msgspec.structs.replace(stages.sources(), gauges=gauges)).snapshot()
    assert [None] == calls


async def test_reading_changes_no_number() -> None:
    """A second scrape, and one in another format, have the values of the first one."""
    stages = Stages()
    exposition = Exposition(stages.sources())
    first = {key: n for key, n in samples((await exposition.render(""))[0]).items() if not key[0].startswith("process")}
    await exposition.render(OPENMETRICS)
    list(exposition.take().collect())
    again = {key: n for key, n in samples((await exposition.render(""))[0]).items() if not key[0].startswith("process")}
    assert again == first
    assert stages == Stages()


async def test_an_unavailable_store_is_a_metric() -> None:
    """The gauge falls; no other series disappears."""
    lost = Stages(store_up=False)
    found, usual = await scraped(lost), await scraped(Stages())
    assert found["shadowdiff_store_up", ()] == 0
    assert found.keys() == usual.keys()


async def test_a_label_may_contain_any_character() -> None:
    """A path with quotes, line breaks or a lone surrogate does not end the scrape."""
    route = 'GET /"a"\\\n\ud800'
    found = await scraped(Stages(comparisons={("shop", route, "match"): 1}))
    assert found["shadowdiff_comparisons_total", ("shop", 'GET /"a"\\\n\\ud800', "match")] == 1


async def test_a_bucket_has_its_last_trace_as_exemplar() -> None:
    """Exemplars lead from a slow bucket to a request; a trace id too long for the format is left out."""
    stages = Stages()
    histogram = stages.response_seconds["shop", ROUTE, "candidate"] = Histogram()
    histogram.observe(0.2, lambda: "4bf92f3577b34da6a3ce929d0e0e4736")
    histogram.observe(20.0, lambda: "x" * 500)
    text, content_type = await Exposition(stages.sources()).render(OPENMETRICS)
    exemplars = [
        (sample.exemplar.labels, sample.exemplar.value)
        for family in parse_openmetrics(text.decode())
        for sample in family.samples
        if sample.exemplar
    ]
    assert content_type.startswith("application/openmetrics-text")
    assert exemplars == [({"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}, 0.2)]


@pytest.mark.parametrize(
    "accept", ["", "text/plain", "*/*", "application/openmetrics-text; version=x", ";;;,=", "\xff"]
)
async def test_any_accept_header_gets_a_response(accept: str) -> None:
    """A malformed header gets the plain text format."""
    text, content_type = await Exposition(Stages().sources()).render(accept)
    assert text.startswith(b"# HELP")
    assert "text" in content_type


async def test_promtool_has_no_complaint() -> None:
    """Prometheus' own linter accepts the scrape."""
    promtool = needs_tool("promtool")
    stages = Stages()
    stages.response_seconds["shop", ROUTE, "primary"] = Histogram()
    text, _ = await Exposition(stages.sources()).render("text/plain")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)  # noqa: ASYNC221  (nothing else runs)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_bucket_bounds_increase() -> None:
    """Prometheus rejects buckets out of order."""
    assert list(BOUNDS_S) == sorted(set(BOUNDS_S))
