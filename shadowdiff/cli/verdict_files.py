"""The verdict as files that pipelines show: JUnit XML and Markdown.

In: a verdict.  Out: the text of a file.
Holds: pure; what routes and paths say cannot end an element or a table's cell. In JUnit a failing verdict is a
failure, an insufficient one an error (it is no result), and a route with too little traffic is skipped; the figures
are the suite's properties, whatever the verdict is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from shadowdiff.verdict import Decision
from shadowdiff.verdict.decide import differ
from shadowdiff.web.words import percent, short_path

if TYPE_CHECKING:
    from shadowdiff.verdict import RouteFinding, Verdict

SHOWN_ROUTES: Final = 20
_SIGNS: Final = {Decision.PASS: "✅", Decision.FAIL: "❌", Decision.INSUFFICIENT: "⏳"}
_STATES: Final = {
    "fails": "above the limit",
    "suspect": "looks above the limit, too few pairs to say so",
    "untested": "too few pairs to say",
    "within": "within the limit",
}
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>|#~!])")


def junit(verdict: Verdict) -> str:
    """Return the verdict as JUnit XML: one case for the target, one for each route."""
    suite = Element("testsuite", name=_xml(f"shadowdiff {verdict.target}"))
    told = SubElement(suite, "properties")
    for name, value in _properties(verdict).items():
        SubElement(told, "property", name=name, value=_xml(value))
    case = SubElement(suite, "testcase", classname=_xml(verdict.target), name="verdict")
    _outcome(case, verdict)
    for route in verdict.routes:
        _route_case(suite, verdict, route)
    for name in _unseen(verdict):
        case = SubElement(suite, "testcase", classname=_xml(verdict.target), name=_xml(name))
        SubElement(case, "skipped", message="no verdict on this route: it had too few pairs, or none, in this epoch")
    counted = {name: sum(1 for _ in suite.iter(tag)) for name, tag in _OUTCOMES.items()}
    suite.attrib |= {name: str(count) for name, count in counted.items()}
    whole = Element("testsuites", {name: suite.attrib[name] for name in ("tests", "failures", "errors")})
    whole.append(suite)
    indent(whole)
    return tostring(whole, encoding="unicode", xml_declaration=True) + "\n"


_OUTCOMES: Final = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}


def _properties(verdict: Verdict) -> dict[str, str]:
    """Return the figures, by the names that the API gives them."""
    interval, coverage, epoch, limits = verdict.interval, verdict.coverage, verdict.epoch, verdict.thresholds
    told: dict[str, object] = {
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "pairs.compared": verdict.pairs.get("compared"),
        "mismatch_ratio": verdict.mismatch_ratio,
        "interval": interval and f"{interval.lower:g} to {interval.upper:g} at {interval.level:g}",
        "thresholds.max_mismatch_ratio": limits and limits.max_mismatch_ratio,
        "thresholds.min_coverage": limits and limits.min_coverage,
        "coverage": coverage and coverage.ratio,
        "epoch.started": epoch and epoch.started,
        "epoch.by": epoch and epoch.by,
        "epoch.revision": epoch and epoch.revision,
        "pairs_needed": verdict.pairs_needed,
        "report_url": verdict.report_url,
    }
    return {
        name: f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in told.items()
        if value is not None
    }


def _unseen(verdict: Verdict) -> list[str]:
    """Return the routes that nobody can vouch for, beside those that are told of with their pairs."""
    told = {route.route for route in verdict.routes}
    return [name for name in verdict.routes_untested or () if name not in told]


def _outcome(case: Element, verdict: Verdict) -> None:
    if verdict.verdict is Decision.FAIL:
        lines = [f"{top.count} {top.route} {short_path(top.path)} {top.kind}" for top in verdict.top]
        failure = SubElement(case, "failure", message=_xml(verdict.reason), type="fail")
        failure.text = _xml("\n".join([*lines, verdict.report_url or ""]))
    elif verdict.verdict is Decision.INSUFFICIENT:
        SubElement(case, "error", message=_xml(verdict.reason), type="insufficient")


def _route_case(suite: Element, verdict: Verdict, route: RouteFinding) -> None:
    case = SubElement(suite, "testcase", classname=_xml(verdict.target), name=_xml(route.route))
    told = f"{differ(route.compared, route.mismatches)}: {_STATES[route.state]}"
    if route.state == "fails":
        SubElement(case, "failure", message=_xml(told), type="fail")
    elif route.state != "within":
        SubElement(case, "skipped", message=_xml(told))


def _xml(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def markdown(verdict: Verdict) -> str:
    """Return the verdict as Markdown: a headline, the figures, the routes, where they differ."""
    lines = [f"### {_SIGNS[verdict.verdict]} {_md(verdict.target)}: {verdict.verdict}", "", _md(verdict.reason), ""]
    lines += _figures(verdict)
    if verdict.routes:
        lines += ["", "| route | compared | differ | true ratio | |", "|---|--:|--:|--:|---|"]
        lines += [
            f"| {_md(route.route)} | {route.compared:,} | {route.mismatches:,} "
            f"| {percent(route.lower)} – {percent(route.upper)} | {_STATES[route.state]} |"
            for route in verdict.routes[:SHOWN_ROUTES]
        ]
    if unseen := _unseen(verdict):
        more = f" and {len(unseen) - SHOWN_ROUTES} more" if len(unseen) > SHOWN_ROUTES else ""
        lines += ["", f"Too little traffic to vouch for: {', '.join(map(_md, unseen[:SHOWN_ROUTES]))}{more}"]
    if verdict.top:
        lines += ["", "| where they differ | kind | pairs |", "|---|---|--:|"]
        lines += [
            f"| {_md(top.route)} {_md(short_path(top.path))} | {_md(top.kind)} | {top.count:,} |" for top in verdict.top
        ]
    if verdict.report_url:
        lines += ["", f"[The whole report](<{verdict.report_url}>)"]
    return "\n".join(lines) + "\n"


def _figures(verdict: Verdict) -> list[str]:
    told: list[str] = []
    if verdict.interval:
        low, high, level = verdict.interval.lower, verdict.interval.upper, verdict.interval.level
        told.append(f"true ratio between {percent(low)} and {percent(high)} (at {percent(level)})")
    if verdict.thresholds:
        told.append(f"allowed {percent(verdict.thresholds.max_mismatch_ratio)}")
    if verdict.coverage:
        least = f" (at least {percent(verdict.thresholds.min_coverage)})" if verdict.thresholds else ""
        told.append(f"coverage {percent(verdict.coverage.ratio)}{least}")
    if verdict.epoch:
        told.append(f"since {verdict.epoch.started} ({verdict.epoch.by}), v2 {_md(verdict.epoch.revision or '–')}")
    if verdict.verdict is Decision.INSUFFICIENT and verdict.pairs_needed:
        told.append(
            f"{verdict.pairs_needed:,} more pairs needed"
            + (f", by {verdict.expected_at}" if verdict.expected_at else "")
        )
    return [" · ".join(told)] if told else []


def _md(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
