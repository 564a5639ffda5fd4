"""The verdict as JUnit XML and as Markdown."""

from __future__ import annotations

import msgspec
import pytest
from defusedxml.ElementTree import fromstring

from shadowdiff.cli.verdict_files import junit, markdown
from shadowdiff.verdict import Decision, RouteFinding, Verdict
from shadowdiff.verdict.decide import Interval
from shadowdiff.verdict.verdict import EpochTold, Thresholds, TopPath

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
    ] == [(case.get("name"), case[0].tag if len(case) else None) for case in suite.iter("testcase")]
    failure = next(suite.iter("failure"))
    assert FAILED.reason == failure.get("message")
    assert "40 GET /cart total value" in (failure.text or "")


def test_junit_tells_the_figures_whatever_the_verdict_is() -> None:
    """A pass that nobody can trace back is worth little."""
    passed = msgspec.structs.replace(
        FAILED,
        verdict=Decision.PASS,
        pairs={"compared": 9045},
        mismatch_ratio=0.0045,
        thresholds=Thresholds(max_mismatch_ratio=0.01, min_coverage=0.95),
        epoch=EpochTold(started="2026-03-01T10:00:00.000Z", revision="v2", rules=None, id=3, by="hand"),
    )
    told = {found.get("name"): found.get("value") for found in fromstring(junit(passed)).iter("property")}
    assert {
        "verdict": "pass",
        "reason": FAILED.reason,
        "pairs.compared": "9045",
        "mismatch_ratio": "0.0045",
        "interval": "0.002 to 0.007 at 0.95",
        "thresholds.max_mismatch_ratio": "0.01",
        "thresholds.min_coverage": "0.95",
        "epoch.started": "2026-03-01T10:00:00.000Z",
        "epoch.by": "hand",
        "epoch.revision": "v2",
        "report_url": "http://shadowdiff/targets/shop",
    } == told


def test_a_route_without_a_pair_is_named_in_both() -> None:
    """Nobody takes it for tested because it is not there."""
    silent = msgspec.structs.replace(FAILED, routes_untested=["GET /rare", "/orders"])
    cases = {case.get("name"): [part.tag for part in case] for case in fromstring(junit(silent)).iter("testcase")}
    assert ["skipped"] == cases["/orders"]
    assert "Too little traffic to vouch for: /orders" in markdown(silent).splitlines()


def test_one_pair_is_one_pair() -> None:
    """In words that somebody reads aloud."""
    one = [msgspec.structs.replace(ROUTES[1], compared=1, mismatches=0)]
    skipped = next(fromstring(junit(msgspec.structs.replace(FAILED, routes=one))).iter("skipped"))
    assert "0 of 1 pair differs (0%): looks above the limit, too few pairs to say so" == skipped.get("message")


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
    case = list(fromstring(junit(hostile)).iter("testcase"))[1]
    assert 'GET /<b>|`x`\ufffd\ufffd[31m"& # oh' == " ".join((case.get("name") or "").split())
    row = next(line for line in markdown(hostile).splitlines() if line.startswith("| GET /\\<b\\>"))
    assert 6 == row.replace("\\|", "").count("|")
