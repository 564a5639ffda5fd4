"""The alerts do what their pages say: played by promtool, and held against the metrics that the code exposes."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, cast

import pytest
import yaml

from shadowdiff.intake.books import MirrorRow, RecordRow
from shadowdiff.model import Result, Side
from shadowdiff.telemetry.catalogue import METRICS, VERDICTS
from tests.conftest import needs_tool

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "deploy" / "prometheus" / "shadowdiff.rules.yaml"
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
CASES: Final = Path(__file__).parent / "cases"
OF_PROMETHEUS: Final = {"instance", "job", "pod", "namespace"}
VALUES: Final[dict[str, set[str]]] = {
    "disposition": {field.name for row in (MirrorRow, RecordRow) for field in fields(row)},
    "result": set(map(str, Result)),
    "verdict": set(VERDICTS),
    "threshold": {"max_mismatch_ratio", "min_coverage"},
    "side": set(map(str, Side)),
    "durable": {"true", "false"},
}
"""What labels may hold; a misspelt value finds nothing, for ever."""


def loaded(path: Path) -> dict[str, Any]:
    """Return a YAML file's mapping."""
    return cast("dict[str, Any]", yaml.safe_load(path.read_text("utf-8")))


def alerts() -> dict[str, dict[str, Any]]:
    """Return every alert by its name."""
    return {rule["alert"]: rule for group in loaded(RULES)["groups"] for rule in group["rules"]}


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run([needs_tool("promtool"), *words], capture_output=True, text=True, check=False, timeout=60)


def queries() -> dict[str, list[str]]:
    """Return every expression: of each alert, and of each page's examples."""
    found = {name: [rule["expr"]] for name, rule in alerts().items()}
    for page in (*RUNBOOKS.glob("*.md"), ROOT / "docs" / "alerts.md"):
        found[page.name] = re.findall(r"```promql\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return found


def metric(name: str) -> str:
    """Return a metric's own name."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def test_prometheus_takes_the_rules() -> None:
    """Promtool has no complaint."""
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(alerts())} rules found" in checked.stdout


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_fires_when_it_should_and_not_else(name: str) -> None:
    """Its cases hold, and there are both kinds."""
    played = promtool("test", "rules", str(CASES / f"{name}.yaml"))
    assert played.returncode == 0, played.stdout + played.stderr
    expected = [
        bool(check["exp_alerts"])
        for test in loaded(CASES / f"{name}.yaml")["tests"]
        for check in test["alert_rule_test"]
        if check["alertname"] == name
    ]
    assert {True, False} == set(expected)


@pytest.mark.parametrize("name", sorted(alerts()))
@pytest.mark.parametrize("broken", ["vector(0) > 1", 'label_replace(vector(1), "target", "other", "", "")'])
def test_the_cases_notice_an_alert_that_is_broken(name: str, broken: str, tmp_path: Path) -> None:
    """An alert that never fires fails its cases, and so does one that always does."""
    rules, case = loaded(RULES), loaded(CASES / f"{name}.yaml")
    next(rule for rule in rules["groups"][0]["rules"] if rule["alert"] == name)["expr"] = broken
    (tmp_path / "rules.yaml").write_text(json.dumps(rules))
    (tmp_path / "case.yaml").write_text(json.dumps({**case, "rule_files": ["rules.yaml"]}))
    assert promtool("test", "rules", str(tmp_path / "case.yaml")).returncode != 0


def test_every_alert_has_its_cases_and_its_page_and_no_page_is_left_over() -> None:
    """Names agree in all four places, and the URL leads to the page."""
    names = set(alerts())
    assert {path.stem for path in CASES.glob("*.yaml")} == names
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == names
    assert set(re.findall(r"\]\(runbooks/(\w+)\.md\)", (ROOT / "docs" / "alerts.md").read_text("utf-8"))) == names
    for name, rule in alerts().items():
        assert (ROOT / rule["annotations"]["runbook_url"]) == RUNBOOKS / f"{name}.md"


def test_the_table_says_each_alerts_severity() -> None:
    """Whoever routes by severity reads the table."""
    rows = re.findall(r"^\| \[(\w+)\]\S* \| (\w+) \|", (ROOT / "docs" / "alerts.md").read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == {name: rule["labels"]["severity"] for name, rule in alerts().items()}


def test_a_page_says_where_to_look_what_to_do_and_when_it_ends() -> None:
    """Whoever is woken up reads it from the top."""
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text("utf-8")
        assert re.findall(r"^#+ .*", text, re.MULTILINE) == [f"# {page.stem}", "## Look", "## Do", "## It ends"], page
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / link).is_file(), f"{page.name}: {link}"


def test_every_metric_in_an_expression_exists() -> None:
    """A misspelt name is silent for ever."""
    for where, expressions in queries().items():
        for expression in expressions:
            named = {metric(name) for name in re.findall(r"\bshadowdiff_\w+", expression)}
            assert named <= set(METRICS), f"{where}: {expression}"


def test_every_label_in_an_expression_is_one_that_the_metric_has() -> None:
    """A label that a metric lacks matches nothing, or groups everything into one."""
    for where, expressions in queries().items():
        for expression in expressions:
            for name, body in re.findall(r"\b(shadowdiff_\w+)(?:\{([^}]*)\})?", expression):
                for label, _, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', body):
                    assert label in METRICS[metric(name)].labels, f"{where}: {name} has no {label}"
                    assert set(value.split("|")) <= VALUES.get(label, {value}), f"{where}: {label} is never {value}"
            named = {metric(name) for name in re.findall(r"\bshadowdiff_\w+", expression)}
            grouped = {g for by in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for g in re.findall(r"\w+", by)}
            assert grouped <= {"le", *(label for name in named for label in METRICS[name].labels)}, where


def test_annotations_use_labels_that_the_alert_has() -> None:
    """A label that is grouped away shows as nothing."""
    for name, rule in alerts().items():
        kept = {label for by in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in re.findall(r"\w+", by)}
        for text in rule["annotations"].values():
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= (kept or OF_PROMETHEUS), name


def test_what_all_pods_say_alike_is_never_added_up() -> None:
    """A gauge of the whole store is taken once, however many pods there are."""
    of_the_store = {spec.name for spec in METRICS.values() if "the same from every pod" in spec.help}
    for where, expressions in queries().items():
        for expression in expressions:
            for found in re.finditer(r"\bshadowdiff_\w+", expression):
                if metric(found.group()) in of_the_store:
                    before = expression[: found.start()]
                    assert re.search(r"\bmax by \([^)]*\) \((rate\()?$", before), f"{where}: {found.group()}"


def test_no_alert_calls_itself_a_gate() -> None:
    """What the product offers to rollouts is the verdict; the page says why."""
    said = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    assert "86 %" in said
    assert "## Why none of them is a gate" in said
