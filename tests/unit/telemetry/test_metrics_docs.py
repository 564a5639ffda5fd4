"""docs/metrics.md lists the metrics that the code exposes, and no others."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shadowdiff.telemetry.metrics import METRICS, Metric
from tests.conftest import needs_tool

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")
ROW = re.compile(
    r"^\| `(?P<name>shadowdiff_\w+)` \| (?P<kind>\w+) \| (?P<labels>[^|]*) \| (?P<source>\w+) \| (?P<meaning>.*) \|$",
    re.MULTILINE,
)
ROWS = {row["name"]: row for row in ROW.finditer(PAGE)}


def queries() -> list[str]:
    """Return the page's PromQL examples."""
    return re.findall(r"```promql\n(.*?)```", PAGE, re.DOTALL)


def test_no_derived_file_is_stale() -> None:
    """`scripts/draw_metrics.py` was run after the last change of a metric."""
    command = [sys.executable, str(ROOT / "scripts" / "draw_metrics.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "") == (checked.returncode, checked.stderr)


def test_a_new_metric_gets_a_query_and_a_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page and the dashboard get them without a manual change."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
    generator = importlib.import_module("draw_metrics")
    new = Metric("counter", "shadowdiff_new_total{target}", "Something new.", lambda _: ())
    monkeypatch.setitem(METRICS, new.name, new)
    query = "sum by (target) (rate(shadowdiff_new_total[5m]))"
    assert f"```promql\n{query}\n```" in generator.page()
    panels = json.loads(generator.dashboard())["panels"]
    assert [query.replace("5m", "$__rate_interval")] == [target["expr"] for target in panels[-1]["targets"]]


def test_the_table_has_every_metric_with_its_kind_and_labels() -> None:
    """The table has every metric with its labels, and no others."""
    documented = {name: (row["kind"], tuple(re.findall(r"`(\w+)`", row["labels"]))) for name, row in ROWS.items()}
    assert documented == {spec.name: (spec.kind, spec.labels) for spec in METRICS.values()}


def test_metrics_of_the_store_are_marked_on_the_page_and_in_the_help() -> None:
    """A sum over pods would count such a metric once per pod."""
    of_the_store = {name for name, row in ROWS.items() if row["source"] == "store"}
    assert of_the_store == {spec.name for spec in METRICS.values() if "every pod reports the same value" in spec.help}


def test_every_name_on_the_page_is_a_metric() -> None:
    """A misspelled name in an example never shows anything."""
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bshadowdiff_\w+", PAGE)}
    assert named == set(METRICS)


def test_every_metric_has_an_example_query() -> None:
    """The query is either handwritten or generated."""
    text = " ".join(queries())
    assert [] == [name for name in METRICS if name not in text]


def test_examples_take_the_maximum_of_store_metrics() -> None:
    """`sum` and similar functions are for metrics that each pod counts itself."""
    for query in queries():
        names = re.findall(r"shadowdiff_\w+", query)
        if any(name in ROWS and ROWS[name]["source"] == "store" for name in names):
            assert query.startswith("max by"), query


def test_examples_use_labels_that_the_metrics_have() -> None:
    """A label that a metric does not have would group all series into one."""
    for query in queries():
        used = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in re.findall(r"\w+", group)}
        used |= {label for group in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)=", group)}
        names = {re.sub(r"_bucket$", "", name) for name in re.findall(r"shadowdiff_\w+", query)}
        assert used <= {"le", *(label for name in names for label in METRICS[name].labels)}, query


def test_prometheus_can_parse_every_example(tmp_path: Path) -> None:
    """Promtool accepts each as the expression of a rule."""
    promtool = needs_tool("promtool")
    rules = [{"record": f"example:{number}", "expr": query} for number, query in enumerate(queries())]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "examples", "rules": rules}]}))
    checked = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout
