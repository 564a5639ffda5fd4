"""Write what is derived from the metrics' declarations: the table and the queries of docs/metrics.md, and panels.

A metric that no hand-made query on the page or panel of the dashboard shows gets one with its default query.
With --check it writes nothing, and exits with 1 if a file is stale.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from derived_files import ROOT, write_or_check

from shadowdiff.telemetry.metrics import METRICS, Metric

PAGE = ROOT / "docs" / "metrics.md"
DASHBOARD = ROOT / "deploy" / "grafana" / "shadowdiff.json"
BEGIN = "<!-- Written by scripts/draw_metrics.py from shadowdiff/telemetry/metrics.py: -->\n"
END = "<!-- End of the generated part. -->\n"
FIRST_ID = 1000
"""Panels from this id on are generated."""
PANEL_WIDTH, PANEL_HEIGHT, COLUMNS = 12, 8, 2


def default_query(metric: Metric, window: str) -> str:
    """Return a query that shows every series of a metric once."""
    labels = [*metric.labels, "le"] if metric.kind == "histogram" else [*metric.labels]
    by = f" by ({', '.join(labels)})" if labels else ""
    if metric.kind == "histogram":
        return f"histogram_quantile(0.99, sum{by} (rate({metric.name}_bucket[{window}])))"
    choose = "sum" if metric.kind == "counter" and not metric.in_store else "max"
    series = f"rate({metric.name}[{window}])" if metric.kind == "counter" else metric.name
    return f"{choose}{by} ({series})" if by else f"{choose}({series})"


def page() -> str:
    """Return the page with a current table, and a query of each metric that has none."""
    table = "| metric | kind | labels | from | meaning |\n|---|---|---|---|---|\n" + "".join(
        f"| `{metric.name}` | {metric.kind} | {' '.join(f'`{label}`' for label in metric.labels) or '–'} "
        f"| {'store' if metric.in_store else 'pod'} | {metric.text} |\n"
        for metric in METRICS.values()
    )
    intro, _, questions, _, rest = re.split(f"(?s){BEGIN}(.*?){END}", PAGE.read_text("utf-8"))
    shown = " ".join(re.findall(r"(?s)```promql\n(.*?)```", questions + rest))
    queries = "".join(
        f"\n`{name}`:\n```promql\n{default_query(metric, '5m')}\n```\n"
        for name, metric in METRICS.items()
        if name not in shown
    )
    return f"{intro}{BEGIN}{table}{END}{questions}{BEGIN}{queries}{END}{rest}"


def dashboard() -> str:
    """Return the dashboard with a panel of each metric that has none."""
    board: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    panels = [panel for panel in board["panels"] if panel["id"] < FIRST_ID]
    template = next(panel for panel in panels if panel["type"] == "timeseries")
    shown = " ".join(target["expr"] for panel in panels for target in panel.get("targets", ()))
    below = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    missing = [metric for name, metric in METRICS.items() if name not in shown]
    board["panels"] = panels + [_panel(template, metric, at, below) for at, metric in enumerate(missing)]
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


def _panel(template: dict[str, Any], metric: Metric, at: int, below: int) -> dict[str, Any]:
    panel = copy.deepcopy(template)
    position = {"x": at % COLUMNS * PANEL_WIDTH, "y": below + at // COLUMNS * PANEL_HEIGHT}
    panel |= {"id": FIRST_ID + at, "title": metric.name, "description": metric.text}
    panel["gridPos"] = {"h": PANEL_HEIGHT, "w": PANEL_WIDTH, **position}
    panel["fieldConfig"]["defaults"]["unit"] = "s" if metric.kind == "histogram" else "short"
    legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels)
    query = {"expr": default_query(metric, "$__rate_interval"), "legendFormat": legend or metric.name}
    panel["targets"] = [panel["targets"][0] | {"refId": "A"} | query]
    return panel


if __name__ == "__main__":
    write_or_check({PAGE: page(), DASHBOARD: dashboard()}, "draw_metrics.py")
