"""Check that the dashboard queries only exported metrics, in valid PromQL."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
from promql_parser import Expr, VectorSelector

from shadowdiff.telemetry.exposition import Exposition
from shadowdiff.telemetry.histogram import Histogram
from shadowdiff.telemetry.metrics import METRICS
from tests.unit.telemetry.stages import ROUTE, Stages

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "shadowdiff.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
OF_THE_SCRAPE = {"job", "instance"}
"""Labels that Prometheus adds."""


def parsed(query: str) -> Expr:
    """Return the syntax tree of a query in which values replace Grafana's variables."""
    filled = query.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$target", "shop")
    assert "$" not in filled
    return promql_parser.parse(filled)


def selectors(query: str) -> Iterator[VectorSelector]:
    """Return the selectors in a PromQL query."""
    found: list[VectorSelector] = []

    def note(node: Expr) -> None:
        if isinstance(node, VectorSelector):
            found.append(node)

    promql_parser.walk(parsed(query), note)
    return iter(found)


@pytest.fixture(name="exported", scope="module")
def _exported() -> dict[str, set[str]]:
    """Return the labels of every sample of a busy service, by metric name."""
    stages = Stages()
    stages.response_seconds["shop", ROUTE, "primary"] = Histogram()
    exposition = Exposition(stages.sources())
    found: dict[str, set[str]] = {}
    for family in exposition.take().collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize(("panel", "query"), QUERIES)
def test_a_query_selects_exported_metrics(panel: str, query: str, exported: dict[str, set[str]]) -> None:
    """Each query selects existing metrics and labels, because a misspelled name makes an empty panel."""
    selected = list(selectors(query))
    assert selected, panel
    for one in selected:
        assert one.name in exported, panel
        assert {matcher.name for matcher in one.matchers.matchers} <= exported[one.name] | OF_THE_SCRAPE, panel


@pytest.mark.parametrize(("panel", "query"), QUERIES)
def test_a_query_groups_by_labels_that_its_metrics_have(panel: str, query: str, exported: dict[str, set[str]]) -> None:
    """Each grouping label exists, because an unknown label groups everything into one."""
    labels = set[str]().union(*(exported[one.name or ""] for one in selectors(query)))
    named = {label for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query) for label in re.findall(r"\w+", group)}
    assert named <= labels | OF_THE_SCRAPE, panel


@pytest.mark.parametrize(("panel", "query"), QUERIES)
def test_metrics_of_the_store_are_never_added_up(panel: str, query: str) -> None:
    """Every pod exports the same store metrics, so a sum over pods would be too large."""
    of_the_store = [one.name for one in selectors(query) if "every pod reports the same value" in _help(one.name or "")]
    assert not (of_the_store and re.search(r"\b(?:sum|avg|count)\b", query)), panel


def _help(name: str) -> str:
    return METRICS[name].help if name in METRICS else ""


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_legend_names_labels_of_its_query(panel: dict[str, Any]) -> None:
    """Grafana would show an unknown label literally, as `{{reason}}`."""
    for target in panel["targets"]:
        left = {word for group in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for word in group.split(", ")}
        used = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert used <= left | OF_THE_SCRAPE, panel["title"]


def test_every_metric_has_a_panel() -> None:
    """Every metric is in a handwritten panel or in a generated panel."""
    shown = {re.sub(r"_bucket$", "", one.name or "") for _, query in QUERIES for one in selectors(query)}
    assert [name for name in METRICS if name not in shown] == []


def test_panels_have_unique_ids_and_do_not_overlap() -> None:
    """Panels have unique ids and do not overlap, because Grafana drops or moves such panels."""
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


def test_the_viewer_chooses_the_data_source() -> None:
    """The dashboard contains no data source id that only one Grafana server has."""
    sources = [each["datasource"] for panel in PANELS for each in (panel, *panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    assert ["datasource", "target"] == [variable["name"] for variable in DASHBOARD["templating"]["list"]]
