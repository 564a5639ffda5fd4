"""docs/metrics.md says what the code exposes, and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from shadowdiff.telemetry.catalogue import METRICS
from tests.conftest import needs_tool

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text("utf-8")
ROW = re.compile(
    r"^\| `(?P<name>shadowdiff_\w+)` \| (?P<kind>\w+) \| (?P<labels>[^|]*) \| (?P<source>\w+) \| (?P<meaning>.*) \|$",
    re.MULTILINE,
)
ROWS = {row["name"]: row for row in ROW.finditer(PAGE)}


def queries() -> list[str]:
    """Return the page's PromQL examples."""
    return re.findall(r"```promql\n(.*?)```", PAGE, re.DOTALL)


def test_the_table_has_every_metric_with_its_kind_and_labels() -> None:
    """No metric is missing, none is invented, none has other labels."""
    documented = {name: (row["kind"], tuple(re.findall(r"`(\w+)`", row["labels"]))) for name, row in ROWS.items()}
    assert documented == {spec.name: (spec.kind, spec.labels) for spec in METRICS.values()}


def test_what_all_pods_say_alike_is_marked_in_the_page_and_in_the_help() -> None:
    """Whoever adds up such a metric counts it once per pod."""
    of_the_store = {name for name, row in ROWS.items() if row["source"] == "store"}
    assert of_the_store == {spec.name for spec in METRICS.values() if "the same from every pod" in spec.help}


def test_every_name_on_the_page_is_a_metric() -> None:
    """An example with a misspelt name shows nothing, for ever."""
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bshadowdiff_\w+", PAGE)}
    assert named == set(METRICS)


def test_every_metric_but_the_plain_facts_has_an_example() -> None:
    """A reader sees how to ask."""
    asked = " ".join(queries())
    assert [name for name in METRICS if name not in asked] == [
        "shadowdiff_config_last_reload_timestamp_seconds",
        "shadowdiff_build_info",
    ]


def test_examples_add_up_pods_only_where_pods_differ() -> None:
    """`max` for what is read from the store, `sum` and its like for what a pod counts."""
    for query in queries():
        names = re.findall(r"shadowdiff_\w+", query)
        if any(name in ROWS and ROWS[name]["source"] == "store" for name in names):
            assert query.startswith("max by"), query


def test_examples_use_labels_that_the_metrics_have() -> None:
    """A label that a metric lacks groups everything into one."""
    for query in queries():
        used = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in re.findall(r"\w+", group)}
        used |= {label for group in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)=", group)}
        names = {re.sub(r"_bucket$", "", name) for name in re.findall(r"shadowdiff_\w+", query)}
        assert used <= {"le", *(label for name in names for label in METRICS[name].labels)}, query


def test_prometheus_can_parse_every_example(tmp_path: Path) -> None:
    """Promtool reads each as the expression of a rule."""
    promtool = needs_tool("promtool")
    rules = [{"record": f"example:{number}", "expr": query} for number, query in enumerate(queries())]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "examples", "rules": rules}]}))
    checked = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout
