"""Write the verdict as JUnit XML and Markdown, for CI pipelines.

In JUnit, `fail` is a failure, `insufficient` is an error, and a route with too little traffic is skipped. The figures
are in the suite's properties. Routes and paths are escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from shadowdiff.display.wording import percent, place_text
from shadowdiff.verdict import Decision, describe_run
from shadowdiff.verdict.decide import differ

if TYPE_CHECKING:
    from shadowdiff.verdict import Verdict

SHOWN_ROUTES: Final = 20
_SIGNS: Final = {Decision.PASS: "✅", Decision.FAIL: "❌", Decision.INSUFFICIENT: "⏳"}
_STATES: Final = {
    "fails": "above the limit",
    "suspect": "too few pairs to rule out a fault",
    "untested": "too few pairs for a verdict",
    "within": "within the limit",
}
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OUTCOMES: Final = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>|#~!])")


def junit(verdict: Verdict) -> str:
    """Return the verdict as JUnit XML with one test case for the target and one for each route."""
    suite = Element("testsuite", name=_xml(f"shadowdiff {verdict.target}"))
    properties = SubElement(suite, "properties")
    for name, value in _properties(verdict).items():
        SubElement(properties, "property", name=name, value=_xml(value))

    def add_case(name: str) -> Element:
        return SubElement(suite, "testcase", classname=_xml(verdict.target), name=_xml(name))

    case = add_case("verdict")
    if verdict.verdict is Decision.FAIL:
        lines = [f"{top.count} pairs of {top.route}: {place_text(top.path, top.kind)}" for top in verdict.top]
        failure = SubElement(case, "failure", message=_xml(verdict.reason), type="fail")
        failure.text = _xml("\n".join([*lines, verdict.report_url or ""]))
    elif verdict.verdict is Decision.INSUFFICIENT:
        SubElement(case, "error", message=_xml(verdict.reason), type="insufficient")
    for route in verdict.routes:
        case = add_case(route.route)
        summary = _xml(f"{differ(route.compared, route.mismatches)}: {_STATES[route.state]}")
        if route.state == "fails":
            SubElement(case, "failure", message=summary, type="fail")
        elif route.state != "within":
            SubElement(case, "skipped", message=summary)
    for name in _unlisted(verdict):
        SubElement(add_case(name), "skipped", message="this run has too few pairs on this route, or no pair")
    counted = {name: sum(1 for _ in suite.iter(tag)) for name, tag in _OUTCOMES.items()}
    suite.attrib |= {name: str(count) for name, count in counted.items()}
    whole = Element("testsuites", {name: suite.attrib[name] for name in ("tests", "failures", "errors")})
    whole.append(suite)
    indent(whole)
    return tostring(whole, encoding="unicode", xml_declaration=True) + "\n"


def _properties(verdict: Verdict) -> dict[str, str]:
    """Return the figures under their API names."""
    interval, coverage, run, limits = verdict.interval, verdict.coverage, verdict.run, verdict.thresholds
    figures: dict[str, object] = {
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "pairs.compared": verdict.pairs.get("compared"),
        "mismatch_ratio": verdict.mismatch_ratio,
        "interval": interval and f"{interval.lower:g} to {interval.upper:g} at {interval.level:g}",
        "thresholds.max_mismatch_ratio": limits and limits.max_mismatch_ratio,
        "thresholds.min_coverage": limits and limits.min_coverage,
        "coverage": coverage and coverage.ratio,
        "run.started": run and run.started,
        "run.by": run and run.by,
        "run.revision": run and run.revision,
        "pairs_needed": verdict.pairs_needed,
        "report_url": verdict.report_url,
    }
    return {
        name: f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in figures.items()
        if value is not None
    }


def _unlisted(verdict: Verdict) -> list[str]:
    """Return the routes with too little traffic that are not listed elsewhere in the file."""
    listed = {route.route for route in verdict.routes}
    return [name for name in verdict.routes_untested or () if name not in listed]


def _xml(text: str) -> str:
    """Return text without the characters that XML does not allow."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def markdown(verdict: Verdict) -> str:
    """Return the verdict as Markdown: a headline, the figures, the routes and the differences."""
    lines = [f"### {_SIGNS[verdict.verdict]} {_md(verdict.target)}: {verdict.verdict}", "", _md(verdict.reason), ""]
    lines += _figures(verdict)
    if verdict.routes:
        lines += ["", "| route | compared | differ | true ratio | |", "|---|--:|--:|--:|---|"]
        lines += [
            f"| {_md(route.route)} | {route.compared:,} | {route.mismatches:,} "
            f"| {percent(route.lower)} – {percent(route.upper)} | {_STATES[route.state]} |"
            for route in verdict.routes[:SHOWN_ROUTES]
        ]
    if unlisted := _unlisted(verdict):
        more = f" and {len(unlisted) - SHOWN_ROUTES} more" if len(unlisted) > SHOWN_ROUTES else ""
        lines += ["", f"Not enough traffic yet: {', '.join(map(_md, unlisted[:SHOWN_ROUTES]))}{more}"]
    if verdict.top:
        lines += ["", "| route | difference | pairs |", "|---|---|--:|"]
        lines += [
            f"| {_md(top.route)} | {_md(place_text(top.path, top.kind))} | {top.count:,} |" for top in verdict.top
        ]
    if verdict.report_url:
        lines += ["", f"[Full report](<{verdict.report_url}>)"]
    return "\n".join(lines) + "\n"


def _figures(verdict: Verdict) -> list[str]:
    parts: list[str] = []
    if verdict.interval:
        low, high, level = verdict.interval.lower, verdict.interval.upper, verdict.interval.level
        parts.append(f"true ratio between {percent(low)} and {percent(high)} (at {percent(level)})")
    if verdict.thresholds:
        parts.append(f"allowed {percent(verdict.thresholds.max_mismatch_ratio)}")
    if verdict.coverage:
        least = f" (at least {percent(verdict.thresholds.min_coverage)})" if verdict.thresholds else ""
        parts.append(f"coverage {percent(verdict.coverage.ratio)}{least}")
    if verdict.run:
        parts.append(_md(describe_run(verdict.run)))
    if verdict.verdict is Decision.INSUFFICIENT and verdict.pairs_needed:
        parts.append(
            f"{verdict.pairs_needed:,} more pairs needed"
            + (f", by {verdict.expected_at}" if verdict.expected_at else "")
        )
    return [" · ".join(parts)] if parts else []


def _md(text: str) -> str:
    """Escape text for one line of Markdown."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
