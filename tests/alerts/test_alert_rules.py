"""Check with promtool that the alerts fire as documented, and that their metrics and labels exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final, cast

import pytest
import yaml

from shadowdiff.intake.counters import MirrorCounts, RecordCounts
from shadowdiff.model import Result, Side
from shadowdiff.telemetry.metrics import METRICS, VERDICTS
from tests.conftest import needs_tool

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "deploy" / "prometheus" / "shadowdiff.rules.yaml"
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
CASES: Final = Path(__file__).parent / "cases"
OF_PROMETHEUS: Final = {"instance", "job", "pod", "namespace"}
VALUES: Final[dict[str, set[str]]] = {
    "disposition": {name for counts in (MirrorCounts(), RecordCounts()) for name in counts.as_dict()},
    "result": set(map(str, Result)),
    "verdict": set(VERDICTS),
    "threshold": {"max_mismatch_ratio", "min_coverage"},
    "side": set(map(str, Side)),
    "durable": {"true", "false"},
}
"""Possible values of labels; a misspelled value never matches."""


def loaded(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file."""
    return cast("dict[str, Any]", yaml.safe_load(path.read_text("utf-8")))


def alerts() -> dict[str, dict[str, Any]]:
    """Return every alert, keyed by name."""
    return {rule["alert"]: rule for group in loaded(RULES)["groups"] for rule in group["rules"]}


def promtool(*words: str) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run([needs_tool("promtool"), *words], capture_output=True, text=True, check=False, timeout=60)


def queries() -> dict[str, list[str]]:
    """Return every expression in the alerts and in the runbooks' examples."""
    found = {name: [rule["expr"]] for name, rule in alerts().items()}
    for page in (*RUNBOOKS.glob("*.md"), ROOT / "docs" / "alerts.md"):
        found[page.name] = re.findall(r"```promql\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return found


def metric(name: str) -> str:
    """Return a metric name without a suffix such as `_total`."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def test_prometheus_accepts_the_rules() -> None:
    """Promtool accepts the rules."""
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(alerts())} rules found" in checked.stdout


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_fires_exactly_when_it_should(name: str) -> None:
    """Each alert passes its promtool test cases. Each alert fires in some cases, and does not fire in others."""
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
def test_the_cases_detect_a_broken_alert(name: str, broken: str, tmp_path: Path) -> None:
    """The promtool cases fail for an alert that never fires, and for an alert that always fires."""
    rules, case = loaded(RULES), loaded(CASES / f"{name}.yaml")
    next(rule for rule in rules["groups"][0]["rules"] if rule["alert"] == name)["expr"] = broken
    (tmp_path / "rules.yaml").write_text(json.dumps(rules))
    (tmp_path / "case.yaml").write_text(json.dumps({**case, "rule_files": ["rules.yaml"]}))
    assert promtool("test", "rules", str(tmp_path / "case.yaml")).returncode != 0


def test_every_alert_has_cases_and_a_runbook_and_no_runbook_is_unused() -> None:
    """Alerts, cases, runbooks and table rows have the same names, and each alert links to its runbook."""
    names = set(alerts())
    assert {path.stem for path in CASES.glob("*.yaml")} == names
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == names
    assert set(re.findall(r"\]\(runbooks/(\w+)\.md\)", (ROOT / "docs" / "alerts.md").read_text("utf-8"))) == names
    for name, rule in alerts().items():
        assert (ROOT / rule["annotations"]["runbook_url"]) == RUNBOOKS / f"{name}.md"


def test_the_table_has_the_severity_of_each_alert() -> None:
    """The table in the docs lists the severity of each alert, for people who route alerts by severity."""
    rows = re.findall(r"^\| \[(\w+)\]\S* \| (\w+) \|", (ROOT / "docs" / "alerts.md").read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == {name: rule["labels"]["severity"] for name, rule in alerts().items()}


def test_a_runbook_has_the_three_sections() -> None:
    """Each runbook describes what to check, what to do, and when the alert is resolved."""
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text("utf-8")
        assert re.findall(r"^#+ .*", text, re.MULTILINE) == [f"# {page.stem}", "## Look", "## Do", "## Resolved"], page
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / link).is_file(), f"{page.name}: {link}"


def test_every_metric_in_an_expression_exists() -> None:
    """Every metric name exists, because a misspelled name never matches."""
    for where, expressions in queries().items():
        for expression in expressions:
            named = {metric(name) for name in re.findall(r"\bshadowdiff_\w+", expression)}
            assert named <= set(METRICS), f"{where}: {expression}"


def test_every_label_in_an_expression_exists() -> None:
    """Every label exists, because an unknown label matches nothing or groups everything into one."""
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
    """Annotations use only labels that the result of the alert's expression has.

    In an annotation, other labels would be empty.
    """
    for name, rule in alerts().items():
        kept = {label for by in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in re.findall(r"\w+", by)}
        for text in rule["annotations"].values():
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= (kept or OF_PROMETHEUS), name


def test_metrics_of_the_store_are_never_added_up() -> None:
    """Every pod exports the same store metrics, so a sum over pods would be too large."""
    of_the_store = {spec.name for spec in METRICS.values() if spec.in_store}
    for where, expressions in queries().items():
        for expression in expressions:
            for found in re.finditer(r"\bshadowdiff_\w+", expression):
                if metric(found.group()) in of_the_store:
                    before = expression[: found.start()]
                    assert re.search(r"\bmax by \([^)]*\) \((rate\()?$", before), f"{where}: {found.group()}"


def test_no_alert_calls_itself_a_gate() -> None:
    """The page explains why rollouts read the verdict and not the alerts."""
    page = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    assert "86 %" in page
    assert "## Why alerts must not decide rollouts" in page
