"""The verdict as JUnit XML and as Markdown."""

from __future__ import annotations

import msgspec
import pytest
from defusedxml.ElementTree import fromstring

from shadowdiff.cli.verdict_files import junit, markdown
from shadowdiff.verdict import Decision, RouteFinding, Verdict
from shadowdiff.verdict.decide import Interval
from shadowdiff.verdict.verdict import TopPath

ROUTES = [
    RouteFinding(route="GET /cart", compared=40, mismatches=40, lower=0.8, upper=1.0, state="fails"),
    RouteFinding(route="GET /new", compared=2, mismatches=1, lower=0.0, upper=1.0, state="suspect"),
    RouteFinding(route="GET /rare", compared=3, mismatches=0, lower=0.0, upper=0.9, state="untested"),
    RouteFinding(route="GET /", compared=9000, mismatches=0, lower=0.0, upper=0.0007, state="within"),
]
FAILED = Verdict(
    verdict=Decision.FAIL,
    reason="of GET /cart 40 of 40 pairs differ (100%), 0.1% is allowed",
    target="shop",
    interval=Interval(level=0.95, lower=0.002, upper=0.007),
    routes=ROUTES,
    top=[TopPath(route="GET /cart", path="$['total']", kind="value", count=40)],
    report_url="http://shadowdiff/targets/shop",
)
HOSTILE = 'GET /<b>|`x`\x00\x1b[31m"&\n# oh'


def test_junit_has_a_case_for_the_target_and_one_a_route() -> None:
    """What fails is a failure, what has too little traffic is skipped."""
    whole = fromstring(junit(FAILED))
    suite = whole[0]
    assert {"tests": "5", "failures": "2", "errors": "0"} == whole.attrib
    assert [
        ("verdict", "failure"),
        ("GET /cart", "failure"),
        ("GET /new", "skipped"),
        ("GET /rare", "skipped"),
        ("GET /", None),
    ] == [(case.get("name"), case[0].tag if len(case) else None) for case in suite]
    assert FAILED.reason == suite[0][0].get("message")
    assert "40 GET /cart total value" in (suite[0][0].text or "")


@pytest.mark.parametrize(
    ("verdict", "counted"),
    [(Decision.PASS, ("0", "0")), (Decision.INSUFFICIENT, ("0", "1")), (Decision.FAIL, ("1", "0"))],
)
def test_an_insufficient_verdict_is_an_error_and_no_failure(verdict: Decision, counted: tuple[str, str]) -> None:
    """It is no result; a pipeline that only looks for failures must not take it for a pass."""
    whole = fromstring(junit(msgspec.structs.replace(FAILED, verdict=verdict, routes=[])))
    assert counted == (whole.get("failures"), whole.get("errors"))


def test_markdown_shows_headline_figures_routes_and_places() -> None:
    """In the order in which a reader asks."""
    lines = markdown(FAILED).splitlines()
    assert "### ❌ shop: fail" == lines[0]
    assert "true ratio between 0.2% and 0.7% (at 95%)" in lines
    assert "| GET /cart | 40 | 40 | 80% – 100% | above the limit |" in lines
    assert "| GET /cart total | value | 40 |" in lines
    assert "[The whole report](<http://shadowdiff/targets/shop>)" == lines[-1]


def test_what_traffic_says_cannot_leave_its_place() -> None:
    """Routes come from anybody who sends requests."""
    hostile = msgspec.structs.replace(
        FAILED, routes=[msgspec.structs.replace(ROUTES[0], route=HOSTILE)], reason=HOSTILE
    )
    case = fromstring(junit(hostile))[0][1]
    assert 'GET /<b>|`x`\ufffd\ufffd[31m"& # oh' == " ".join((case.get("name") or "").split())
    row = next(line for line in markdown(hostile).splitlines() if line.startswith("| GET /\\<b\\>"))
    assert 6 == row.replace("\\|", "").count("|")
