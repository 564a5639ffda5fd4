"""Test the verdict's rules: what passes, fails or is insufficient, and the reasons."""

from __future__ import annotations

import json

import msgspec
import pytest

from shadowdiff.model import Gate
from shadowdiff.verdict import (
    Coverage,
    Decision,
    Run,
    StartedBy,
    Thresholds,
    Verdict,
    judge,
    of_rollout,
    unknown_target,
)
from shadowdiff.verdict.counts import PathCount, RouteCounts, TargetCounts
from shadowdiff.verdict.decide import ALPHA_ROUTES, InsufficientReason, alpha_of_route
from shadowdiff.verdict.evidence import Evidence, RouteEvidence

GATE = Gate(max_mismatch_ratio=0.001, min_coverage=0.95)
DESIGNED = (
    "verdict", "reason", "target", "window", "pairs", "mismatch_ratio", "interval", "coverage", "run",
    "pairs_needed", "routes_untested", "thresholds", "top", "report_url",
)  # fmt: skip
STARTED_MS = 1_772_000_000_000
RUN = Run(id=3, started_ms=STARTED_MS, by=StartedBy.REVISION, revision="2.1.0", rules="ab12", rollout="shop/cart/7")


def route(match: int, mismatch: int = 0, *, name: str = "GET /", incomparable: int = 0) -> RouteEvidence:
    """Return a route with these numbers of results."""
    results = {"match": match, "ignored": 0, "mismatch": mismatch, "incomparable": incomparable}
    return RouteEvidence(route=name, results=results)


def covered(ratio: float, eligible: int = 10_000) -> Coverage:
    """Return a coverage with this ratio."""
    return Coverage(eligible=eligible, compared=int(eligible * ratio), ratio=ratio, mirrored=eligible)


def judged(
    *routes: RouteEvidence, ratio: float = 1.0, allowed: float = 0.001, excluded: dict[str, int] | None = None
) -> Verdict:
    """Return the verdict on these routes, a hundred seconds after the start of the run."""
    gate = Gate(max_mismatch_ratio=allowed, min_coverage=0.95)
    return judge(
        Evidence(target="shop", routes=routes, excluded=excluded or {}),
        covered(ratio) if routes else Coverage(eligible=0, compared=0, ratio=0.0),
        Thresholds.of(gate),
        run=RUN,
        now_ms=STARTED_MS + 100_000,
        known_routes=("GET /", "GET /rare"),
    )


@pytest.mark.parametrize(
    ("expected", "match", "mismatch", "ratio"),
    [
        (Decision.INSUFFICIENT, 99, 0, 1.0),
        (Decision.INSUFFICIENT, 4_000, 0, 1.0),
        (Decision.PASS, 4_800, 0, 1.0),
        (Decision.INSUFFICIENT, 4_800, 2, 1.0),
        (Decision.PASS, 20_000, 5, 1.0),
        (Decision.INSUFFICIENT, 998, 2, 1.0),
        (Decision.FAIL, 980, 20, 1.0),
        (Decision.FAIL, 0, 100, 0.1),
        (Decision.PASS, 6_000, 0, 0.95),
        (Decision.INSUFFICIENT, 6_000, 0, 0.949),
    ],
)
def test_interval_and_coverage_decide(expected: Decision, match: int, mismatch: int, ratio: float) -> None:
    """A pass needs an upper end below the limit and enough coverage. A failure needs a lower end above it."""
    assert expected is judged(route(match, mismatch), ratio=ratio).verdict


def test_fewer_than_three_mismatches_never_fail() -> None:
    """Users should check the sample of a single different response."""
    assert Decision.INSUFFICIENT is judged(route(0, 2)).verdict
    assert Decision.FAIL is judged(route(0, 3)).verdict


def test_completely_broken_small_route_fails_the_target() -> None:
    """Five broken responses among twenty thousand are all responses of their route."""
    verdict = judged(route(20_000), route(0, 5, name="GET /cart"))
    assert Decision.FAIL is verdict.verdict
    assert "GET /cart: 5 of 5 pairs differ: at least 20.3 %, limit 0.1 %." == verdict.reason
    assert ("GET /cart", "fails") == (verdict.routes[0].route, verdict.routes[0].state)


def test_suspect_route_prevents_a_pass() -> None:
    """One broken response of one is too little evidence for a failure, but too much for a pass."""
    verdict = judged(route(20_000), route(0, 1, name="GET /cart"))
    assert (Decision.INSUFFICIENT, InsufficientReason.ROUTE) == (verdict.verdict, verdict.insufficient_reason)
    assert "GET /cart: 1 of 1 pairs differs. Too few pairs to rule out a fault, limit 0.1 %." == verdict.reason


def test_pass_lists_untested_routes() -> None:
    """The list has routes with too few pairs, and known ones without any."""
    verdict = judged(route(20_000), route(40, name="GET /cart"))
    assert (Decision.PASS, ["GET /cart", "GET /rare"]) == (verdict.verdict, verdict.routes_untested)


def test_routes_share_one_error_however_many_appear() -> None:
    """The routes get a half, a sixth, a twelfth and so on of the error, never more than all of it."""
    assert 0.9 * ALPHA_ROUTES < sum(alpha_of_route(place) for place in range(1, 1000)) < ALPHA_ROUTES


def test_incomparable_pairs_are_no_evidence() -> None:
    """Incomparable pairs neither pass nor fail, and lower the coverage."""
    verdict = judged(route(0, incomparable=1000), ratio=0.0)
    assert (Decision.INSUFFICIENT, "Coverage is 0 %, minimum 95 %: 10,000 of v1's responses were not compared.") == (
        verdict.verdict,
        verdict.reason,
    )


def test_reason_has_the_number_of_missing_pairs_and_the_time() -> None:
    """After a thousand pairs in a hundred seconds, the rest takes six more minutes."""
    verdict = judged(route(1000))
    assert verdict.pairs_needed == pytest.approx(3754, abs=5)
    assert (
        "0 of 1,000 pairs differ. Too few pairs for a verdict: up to 0.369 % may differ, limit 0.1 %. "
        f"About {verdict.pairs_needed:,} more pairs are needed, which takes about 6 min."
    ) == verdict.reason
    assert "2026-02-25T06:21:15" == (verdict.expected_at or "")[:19]


def test_pairs_needed_above_the_limit_are_those_until_a_failure() -> None:
    """Two of a thousand pairs differ at a limit of 0.1 %, so the number is that of pairs until a failure."""
    verdict = judged(route(998, 2))
    assert (Decision.INSUFFICIENT, True) == (verdict.verdict, (verdict.pairs_needed or 0) > 1000)


def test_no_pairs_have_no_ratio() -> None:
    """The verdict has no ratio, the widest interval, and the pairs that a release without differences needs."""
    verdict = judged()
    assert (Decision.INSUFFICIENT, None, 0.0, 1.0) == (
        verdict.verdict,
        verdict.mismatch_ratio,
        verdict.interval and verdict.interval.lower,
        verdict.interval and verdict.interval.upper,
    )
    assert verdict.reason.startswith("No pairs compared yet. Without differences, v2 passes after ")
    assert verdict.pairs_needed in range(4700, 4801)


def test_excluded_pairs_are_mentioned() -> None:
    """If v2 returned to an old revision, readers learn why the count does not grow."""
    assert (
        " 300 pairs do not count, because another revision of v2 responded."
        in judged(route(10), excluded={"revision": 300}).reason
    )


def test_limit_of_zero_fails_on_the_first_mismatch_and_never_passes() -> None:
    """The reason has the fix."""
    assert Decision.FAIL is judged(route(100, 1), allowed=0.0).verdict
    clean = judged(route(1_000_000), allowed=0.0)
    assert (Decision.INSUFFICIENT, InsufficientReason.NEVER, None) == (
        clean.verdict,
        clean.insufficient_reason,
        clean.pairs_needed,
    )
    assert "set gate.max_mismatch_ratio to the smallest ratio that matters" in clean.reason


@pytest.mark.parametrize(
    ("asked", "expected"),
    [((0.0001, 0.99), (0.0001, 0.99)), ((0.5, 0.1), (0.001, 0.95)), ((None, None), (0.001, 0.95))],
)
def test_callers_make_thresholds_stricter_never_looser(
    asked: tuple[float | None, float | None], expected: tuple[float, float]
) -> None:
    """A looser threshold in a request has no effect."""
    thresholds = Thresholds.of(GATE, max_mismatch_ratio=asked[0], min_coverage=asked[1])
    assert expected == (thresholds.max_mismatch_ratio, thresholds.min_coverage)


def test_verdict_has_the_fixed_field_names() -> None:
    """Each field exists, and no field is null once a run has pairs."""
    shown = json.loads(msgspec.json.encode(judged(route(5000))))
    assert DESIGNED == tuple(shown)[: len(DESIGNED)]
    assert {"report_url"} == {name for name in DESIGNED if shown[name] is None}
    assert {"level": 0.95, "lower": 0.0} == {name: shown["interval"][name] for name in ("level", "lower")}


def test_window_and_run_have_the_start_of_the_evidence() -> None:
    """The start is an RFC 3339 time in UTC."""
    verdict = judged(route(1))
    assert ("2026-02-25T06:13:20.000Z", "2026-02-25T06:15:00.000Z") == (verdict.window.start, verdict.window.end)
    assert verdict.run is not None
    assert ("2.1.0", "ab12", 3, "revision") == (
        verdict.run.revision,
        verdict.run.rules,
        verdict.run.id,
        verdict.run.by,
    )


def test_top_paths_are_the_most_frequent_of_all_routes() -> None:
    """At most ten paths are listed, most frequent first."""
    paths = tuple(PathCount(path=f"$['{n}']", kind="value", count=n) for n in range(1, 16))
    differing = msgspec.structs.replace(route(0, 15), paths=paths)
    assert [15, 14, 13, 12, 11, 10, 9, 8, 7, 6] == [path.count for path in judged(differing).top]


def test_superseded_rollout_is_insufficient() -> None:
    """The evidence is about another rollout, so it does not count."""
    clear = judged(route(0, 100))
    assert Decision.FAIL is of_rollout(clear, RUN, "shop/cart/7").verdict
    assert Decision.FAIL is of_rollout(clear, RUN, "2.1.0").verdict
    late = of_rollout(clear, RUN, "shop/cart/6")
    assert (Decision.INSUFFICIENT, InsufficientReason.ROLLOUT) == (late.verdict, late.insufficient_reason)
    assert late.reason.endswith(" is about shop/cart/7, not shop/cart/6.")


def test_unknown_target_is_insufficient_and_lists_the_known() -> None:
    """A rollout controller with a wrong name learns the right ones."""
    verdict = unknown_target("shpo", ["shop"])
    assert (Decision.INSUFFICIENT, "Unknown target 'shpo'; configured: shop.") == (verdict.verdict, verdict.reason)


def test_all_counts_can_replace_a_run() -> None:
    """If a service has no runs, all counts are the evidence."""
    results = {"match": 5000, "ignored": 0, "mismatch": 0, "incomparable": 0}
    counts = TargetCounts(target="shop", results=results, routes=(RouteCounts(route="GET /", results=results),))
    verdict = judge(Evidence.of_all(counts), covered(1.0), Thresholds.of(GATE))
    assert (Decision.PASS, None, None) == (verdict.verdict, verdict.run, verdict.window.start)
