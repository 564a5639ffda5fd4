"""Test the verdict as JUnit XML and as Markdown."""

from __future__ import annotations

import msgspec
import pytest
from defusedxml.ElementTree import fromstring

from shadowdiff.cli.verdict_files import junit, markdown
from shadowdiff.verdict import Decision, RouteFinding, Verdict
from shadowdiff.verdict.decide import Interval
from shadowdiff.verdict.verdict import RunInfo, Thresholds, TopPath

ROUTES = [
    RouteFinding(route="GET /cart", compared=40, mismatches=40, lower=0.8, upper=1.0, state="fails"),
    RouteFinding(route="GET /new", compared=2, mismatches=1, lower=0.0, upper=1.0, state="suspect"),
    RouteFinding(route="GET /rare", compared=3, mismatches=0, lower=0.0, upper=0.9, state="untested"),
    RouteFinding(route="GET /", compared=9000, mismatches=0, lower=0.0, upper=0.0007, state="within"),
]
FAILED = Verdict(
    verdict=Decision.FAIL,
    reason="GET /cart: 40 of 40 pairs differ: at least 82.9 %, limit 0.1 %.",
    target="shop",
    interval=Interval(level=0.95, lower=0.002, upper=0.007),
    routes=ROUTES,
    top=[TopPath(route="GET /cart", path="$['total']", kind="value", count=40)],
    report_url="http://shadowdiff/targets/shop",
)
HOSTILE = 'GET /<b>|`x`\x00\x1b[31m"&\n# oh'


def test_junit_has_a_case_for_the_target_and_one_a_route() -> None:
    """A failing route is a failure, and a route with too little traffic is skipped."""
    whole = fromstring(junit(FAILED))
    suite = whole[0]
    assert {"tests": "5", "failures": "2", "errors": "0"} == whole.attrib
    assert [
        ("verdict", "failure"),
        ("GET /cart", "failure"),
        ("GET /new", "skipped"),
        ("GET /rare", "skipped"),
        ("GET /", None),
    ] == [(case.get("name"), case[0].tag if len(case) else None) for case in suite.iter("testcase")]
    failure = next(suite.iter("failure"))
    assert FAILED.reason == failure.get("message")
    assert "40 pairs of GET /cart: total differs" in (failure.text or "")


def test_junit_has_the_figures_for_every_verdict() -> None:
    """Even a pass includes its figures, so a reader can check it."""
    passed = msgspec.structs.replace(
        FAILED,
        verdict=Decision.PASS,
        pairs={"compared": 9045},
        mismatch_ratio=0.0045,
        thresholds=Thresholds(max_mismatch_ratio=0.01, min_coverage=0.95),
        run=RunInfo(started="2026-03-01T10:00:00.000Z", revision="v2", rules=None, id=3, by="manual"),
    )
    properties = {found.get("name"): found.get("value") for found in fromstring(junit(passed)).iter("property")}
    assert {
        "verdict": "pass",
        "reason": FAILED.reason,
        "pairs.compared": "9045",
        "mismatch_ratio": "0.0045",
        "interval": "0.002 to 0.007 at 0.95",
        "thresholds.max_mismatch_ratio": "0.01",
        "thresholds.min_coverage": "0.95",
        "run.started": "2026-03-01T10:00:00.000Z",
        "run.by": "manual",
        "run.revision": "v2",
        "report_url": "http://shadowdiff/targets/shop",
    } == properties


def test_a_route_without_a_pair_is_named_in_both() -> None:
    """Both reports name untested routes, so readers do not believe that these were tested."""
    silent = msgspec.structs.replace(FAILED, routes_untested=["GET /rare", "/orders"])
    cases = {case.get("name"): [part.tag for part in case] for case in fromstring(junit(silent)).iter("testcase")}
    assert ["skipped"] == cases["/orders"]
    assert "Not enough traffic yet: /orders" in markdown(silent).splitlines()


def test_one_pair_is_one_pair() -> None:
    """The text uses the singular for one pair."""
    one = [msgspec.structs.replace(ROUTES[1], compared=1, mismatches=0)]
    skipped = next(fromstring(junit(msgspec.structs.replace(FAILED, routes=one))).iter("skipped"))
    assert "0 of 1 pairs differ: too few pairs to rule out a fault" == skipped.get("message")


@pytest.mark.parametrize(
    ("verdict", "counted"),
    [(Decision.PASS, ("0", "0")), (Decision.INSUFFICIENT, ("0", "1")), (Decision.FAIL, ("1", "0"))],
)
def test_an_insufficient_verdict_is_an_error_and_no_failure(verdict: Decision, counted: tuple[str, str]) -> None:
    """JUnit reports an insufficient verdict as an error, so no pipeline treats it as a pass."""
    whole = fromstring(junit(msgspec.structs.replace(FAILED, verdict=verdict, routes=[])))
    assert counted == (whole.get("failures"), whole.get("errors"))


def test_markdown_shows_headline_figures_routes_and_places() -> None:
    """The sections come in the order of a reader's questions."""
    lines = markdown(FAILED).splitlines()
    assert "### ❌ shop: fail" == lines[0]
    assert "true ratio between 0.2\u202f% and 0.7\u202f% (at 95\u202f%)" in lines
    assert "| GET /cart | 40 | 40 | 80\u202f% – 100\u202f% | above the limit |" in lines
    assert "| GET /cart | total differs | 40 |" in lines
    assert "[Full report](<http://shadowdiff/targets/shop>)" == lines[-1]


def test_text_from_traffic_is_escaped() -> None:
    """Any client can invent route names, so they are escaped."""
    hostile = msgspec.structs.replace(
        FAILED, routes=[msgspec.structs.replace(ROUTES[0], route=HOSTILE)], reason=HOSTILE
    )
    case = list(fromstring(junit(hostile)).iter("testcase"))[1]
    assert 'GET /<b>|`x`\ufffd\ufffd[31m"& # oh' == " ".join((case.get("name") or "").split())
    row = next(line for line in markdown(hostile).splitlines() if line.startswith("| GET /\\<b\\>"))
    assert 6 == row.replace("\\|", "").count("|")
