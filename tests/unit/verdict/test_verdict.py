"""The verdict's rules: what passes, what fails, what cannot be said, and what a reader is told."""

from __future__ import annotations

import json

import msgspec
import pytest

from shadowdiff.model import Gate
from shadowdiff.verdict import (
    Coverage,
    Decision,
    Epoch,
    OpenedBy,
    Thresholds,
    Verdict,
    judge,
    of_rollout,
    unknown_target,
)
from shadowdiff.verdict.counts import PathCount, RouteCounts, TargetCounts
from shadowdiff.verdict.decide import ALPHA_ROUTES, Lack, alpha_of_route
from shadowdiff.verdict.evidence import Evidence, RouteEvidence

GATE = Gate(max_mismatch_ratio=0.001, min_coverage=0.95)
DESIGNED = (
    "verdict", "reason", "target", "window", "pairs", "mismatch_ratio", "interval", "coverage", "epoch",
    "pairs_needed", "routes_untested", "thresholds", "top", "report_url",
)  # fmt: skip
STARTED_MS = 1_772_000_000_000
EPOCH = Epoch(id=3, started_ms=STARTED_MS, by=OpenedBy.REVISION, revision="2.1.0", rules="ab12", session="shop/cart/7")


def route(match: int, mismatch: int = 0, *, name: str = "GET /", incomparable: int = 0) -> RouteEvidence:
    """Return a route with so many pairs of each result."""
    results = {"match": match, "ignored": 0, "mismatch": mismatch, "incomparable": incomparable}
    return RouteEvidence(route=name, results=results)


def covered(ratio: float, eligible: int = 10_000) -> Coverage:
    """Return a coverage of this ratio."""
    return Coverage(eligible=eligible, compared=int(eligible * ratio), ratio=ratio, mirrored=eligible)


def judged(
    *routes: RouteEvidence, ratio: float = 1.0, allowed: float = 0.001, aside: dict[str, int] | None = None
) -> Verdict:
    """Return the verdict on these routes, a hundred seconds into the epoch."""
    gate = Gate(max_mismatch_ratio=allowed, min_coverage=0.95)
    return judge(
        Evidence(target="shop", routes=routes, aside=aside or {}),
        covered(ratio) if routes else Coverage(eligible=0, compared=0, ratio=0.0),
        Thresholds.of(gate),
        epoch=EPOCH,
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
    """A pass takes the upper end below the limit and enough coverage; a failure takes the lower end above it."""
    assert expected is judged(route(match, mismatch), ratio=ratio).verdict


def test_one_odd_answer_is_never_a_failure() -> None:
    """Three mismatches are the least."""
    assert Decision.INSUFFICIENT is judged(route(0, 2)).verdict
    assert Decision.FAIL is judged(route(0, 3)).verdict


def test_a_small_route_that_is_wholly_broken_fails_the_target() -> None:
    """Five broken answers in twenty thousand sound ones are no 0.025 %: they are all of their route."""
    verdict = judged(route(20_000), route(0, 5, name="GET /cart"))
    assert Decision.FAIL is verdict.verdict
    assert "of GET /cart 5 of 5 pairs differ (100%), 0.1% is allowed" == verdict.reason
    assert ("GET /cart", "fails") == (verdict.routes[0].route, verdict.routes[0].state)


def test_a_route_that_looks_broken_holds_a_pass_back() -> None:
    """One broken answer of one is too little to fail on, and too much to pass over."""
    verdict = judged(route(20_000), route(0, 1, name="GET /cart"))
    assert (Decision.INSUFFICIENT, Lack.ROUTE) == (verdict.verdict, verdict.lack)
    assert "of GET /cart 1 of 1 pair differs (100%): more than 0.1% explains, too few pairs to say so" == verdict.reason


def test_a_pass_names_the_routes_that_nobody_can_vouch_for() -> None:
    """Those with too few pairs, and those that are known and had none."""
    verdict = judged(route(20_000), route(40, name="GET /cart"))
    assert (Decision.PASS, ["GET /cart", "GET /rare"]) == (verdict.verdict, verdict.routes_untested)


def test_the_routes_share_one_level_however_many_appear() -> None:
    """A half, a sixth, a twelfth … of it: never more than all."""
    assert 0.9 * ALPHA_ROUTES < sum(alpha_of_route(place) for place in range(1, 1000)) < ALPHA_ROUTES


def test_incomparable_pairs_are_no_evidence() -> None:
    """A thousand pairs that could not be compared neither pass nor fail, and lower the coverage."""
    verdict = judged(route(0, incomparable=1000), ratio=0.0)
    assert (Decision.INSUFFICIENT, "coverage is 0%, 95% is needed: 10,000 of v1's answers were not compared") == (
        verdict.verdict,
        verdict.reason,
    )


def test_a_reader_of_too_little_learns_how_many_more_and_when() -> None:
    """A thousand clean pairs in a hundred seconds: the rest takes six minutes more."""
    verdict = judged(route(1000))
    assert verdict.pairs_needed == pytest.approx(3743, abs=5)
    assert (
        "0 of 1,000 pairs differ (0%); the true ratio may be up to 0.368%, 0.1% is allowed; "
        f"{verdict.pairs_needed:,} more pairs decide if they go on like this, in about 6 min"
    ) == verdict.reason
    assert "2026-02-25T06:21:14" == (verdict.expected_at or "")[:19]


def test_a_ratio_above_the_limit_is_told_when_it_will_fail() -> None:
    """Two of a thousand at 0.1 %: what is still needed is what it takes to be sure of the worse."""
    verdict = judged(route(998, 2))
    assert (Decision.INSUFFICIENT, True) == (verdict.verdict, (verdict.pairs_needed or 0) > 1000)


def test_without_any_pair_nothing_is_made_up() -> None:
    """No ratio, the widest interval, and the pairs that a clean run takes."""
    verdict = judged()
    assert (Decision.INSUFFICIENT, None, 0.0, 1.0) == (
        verdict.verdict,
        verdict.mismatch_ratio,
        verdict.interval and verdict.interval.lower,
        verdict.interval and verdict.interval.upper,
    )
    assert verdict.reason.startswith("no pair was compared yet; ")
    assert verdict.pairs_needed in range(4700, 4801)


def test_pairs_that_were_set_aside_are_mentioned() -> None:
    """Where v2 went back to an old revision, the reader learns why the count stands still."""
    assert (
        "; 300 pairs are set aside, since v2 answered as another revision"
        in judged(route(10), aside={"revision": 300}).reason
    )


def test_a_limit_of_nothing_fails_on_the_first_mismatch_and_never_passes() -> None:
    """And it says what to do about that."""
    assert Decision.FAIL is judged(route(100, 1), allowed=0.0).verdict
    clean = judged(route(1_000_000), allowed=0.0)
    assert (Decision.INSUFFICIENT, Lack.NEVER, None) == (clean.verdict, clean.lack, clean.pairs_needed)
    assert "set gate.max_mismatch_ratio to the least ratio that matters" in clean.reason


@pytest.mark.parametrize(
    ("asked", "expected"),
    [((0.0001, 0.99), (0.0001, 0.99)), ((0.5, 0.1), (0.001, 0.95)), ((None, None), (0.001, 0.95))],
)
def test_callers_make_thresholds_stricter_never_looser(
    asked: tuple[float | None, float | None], expected: tuple[float, float]
) -> None:
    """What is asked for counts only where it asks for more."""
    thresholds = Thresholds.of(GATE, max_mismatch_ratio=asked[0], min_coverage=asked[1])
    assert expected == (thresholds.max_mismatch_ratio, thresholds.min_coverage)


def test_the_verdict_has_the_names_that_others_depend_on() -> None:
    """Each name of the contract is there, and nothing of it is null once an epoch has pairs."""
    shown = json.loads(msgspec.json.encode(judged(route(5000))))
    assert DESIGNED == tuple(shown)[: len(DESIGNED)]
    assert {"report_url"} == {name for name in DESIGNED if shown[name] is None}
    assert {"level": 0.95, "lower": 0.0} == {name: shown["interval"][name] for name in ("level", "lower")}


def test_window_and_epoch_say_when_the_evidence_began() -> None:
    """RFC 3339, in UTC."""
    verdict = judged(route(1))
    assert ("2026-02-25T06:13:20.000Z", "2026-02-25T06:15:00.000Z") == (verdict.window.start, verdict.window.end)
    assert verdict.epoch is not None
    assert ("2.1.0", "ab12", 3, "revision") == (
        verdict.epoch.revision,
        verdict.epoch.rules,
        verdict.epoch.id,
        verdict.epoch.by,
    )


def test_the_top_paths_are_the_most_frequent_of_all_routes() -> None:
    """Ten at most, most first."""
    paths = tuple(PathCount(path=f"$['{n}']", kind="value", count=n) for n in range(1, 16))
    differing = msgspec.structs.replace(route(0, 15), paths=paths)
    assert [15, 14, 13, 12, 11, 10, 9, 8, 7, 6] == [path.count for path in judged(differing).top]


def test_a_rollout_that_another_took_the_place_of_gets_no_answer() -> None:
    """The evidence is not about it, however clear it is."""
    clear = judged(route(0, 100))
    assert Decision.FAIL is of_rollout(clear, EPOCH, "shop/cart/7").verdict
    assert Decision.FAIL is of_rollout(clear, EPOCH, "2.1.0").verdict
    late = of_rollout(clear, EPOCH, "shop/cart/6")
    assert (Decision.INSUFFICIENT, Lack.ROLLOUT) == (late.verdict, late.lack)
    assert "shop/cart/6 is not what v2 runs now" in late.reason


def test_an_unknown_target_is_insufficient_and_names_the_known() -> None:
    """A rollout controller that asks for the wrong name learns the right ones."""
    verdict = unknown_target("shpo", ["shop"])
    assert (Decision.INSUFFICIENT, "unknown target 'shpo'; configured: shop") == (verdict.verdict, verdict.reason)


def test_everything_ever_counted_can_stand_for_an_epoch() -> None:
    """Where no epochs are kept, all counts are the evidence."""
    results = {"match": 5000, "ignored": 0, "mismatch": 0, "incomparable": 0}
    counts = TargetCounts(target="shop", results=results, routes=(RouteCounts(route="GET /", results=results),))
    verdict = judge(Evidence.of_all(counts), covered(1.0), Thresholds.of(GATE))
    assert (Decision.PASS, None, None) == (verdict.verdict, verdict.epoch, verdict.window.start)
