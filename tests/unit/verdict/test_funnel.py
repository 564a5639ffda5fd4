"""Test the funnel: every loss has a reason, and the sums are exact."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.verdict import Funnel, FunnelLoss, FunnelRoutes, flat, grown_since, top_loss
from shadowdiff.verdict import funnel as funnel_of
from shadowdiff.verdict.counts import RouteCounts
from shadowdiff.verdict.funnel import UNACCOUNTED, WHY

if TYPE_CHECKING:
    from collections.abc import Iterable

COUNT = st.integers(0, 1000)
PRIMARY = ("paired", "orphaned", "duplicate", "replaced", "ambiguous", "late", "waiting")
RECORDED = ("ineligible", "excluded", "sampled_out", "refused", "shed", "store_lost", "crashed", "in_flight")
MIRRORED = ("shed", "aborted", "too_large", "unidentified", "looped", "store_lost", "crashed", "blocked")
JUDGED = ("match", "ignored", "mismatch", "incomparable")


def _row(fields: tuple[str, ...]) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries(dict.fromkeys(fields, COUNT))


@st.composite
def ledgers(draw: st.DrawFn) -> dict[str, Any]:
    """Return a balanced ledger."""
    judged, pending = draw(_row(JUDGED)), draw(COUNT)
    ready = sum(judged.values()) + pending
    primary = draw(_row(PRIMARY)) | {"paired": ready}
    parked = sum(primary.values())
    recorded = draw(_row(RECORDED)) | {"accepted": parked}
    forwarded = ready + draw(COUNT)
    withheld = draw(COUNT)
    return {
        "target": "shop",
        "mirrored": draw(_row(MIRRORED)) | {"forwarded": forwarded, "withheld": withheld},
        "recorded": {"received": sum(recorded.values())} | recorded,
        "observations": {
            "primary": {"parked": parked} | primary,
            "candidate": {"parked": forwarded + withheld, "orphaned": draw(COUNT)},
        },
        "pairs": {"ready": ready, "pending": pending} | judged,
    }


def _routes(ledger: dict[str, Any], reasons: dict[str, int], lost: dict[str, int] | None = None) -> FunnelRoutes:
    results = {name: ledger["pairs"][name] for name in JUDGED}
    return FunnelRoutes.of([RouteCounts(route="GET /", results=results, reasons=reasons)], lost)


def funnel(ledger: dict[str, Any], routes: FunnelRoutes) -> Funnel:
    """Return the funnel of a ledger as the API shows it."""
    return funnel_of("shop", flat(ledger), routes)


@given(ledgers())
def test_each_step_is_the_one_before_minus_its_losses(ledger: dict[str, Any]) -> None:
    """For any balanced ledger nothing is unaccounted."""
    made = funnel(ledger, _routes(ledger, {"primary_5xx": ledger["pairs"]["incomparable"]}))
    assert made.exact
    for step, following in zip(made.steps, made.steps[1:], strict=False):
        assert step.count - sum(loss.count for loss in step.losses) == following.count, step
    assert made.steps[-1].count == sum(ledger["pairs"][name] for name in JUDGED[:3])


@given(ledgers())
def test_every_loss_is_positive_and_has_a_reason(ledger: dict[str, Any]) -> None:
    """Each reason tells readers what to do."""
    made = funnel(ledger, _routes(ledger, {}))
    assert all(loss.count > 0 and loss.why for step in made.steps for loss in step.losses)


@given(ledgers(), st.integers(1, 500))
def test_unbalanced_ledger_shows_the_step(ledger: dict[str, Any], missing: int) -> None:
    """The step shows the difference, and the funnel is marked as not exact."""
    ledger["observations"]["primary"]["parked"] += missing
    made = funnel(ledger, _routes(ledger, {}))
    found = [loss.count for step in made.steps for loss in step.losses if loss.reason == UNACCOUNTED]
    assert (False, [-missing, missing]) == (made.exact, found)


def test_mirror_losses_explain_responses_without_a_partner() -> None:
    """Of ten responses, four lost their mirrored request to shedding. Six others were never mirrored, or were late."""
    ledger = {
        "target": "shop",
        "mirrored": {"shed": 4},
        "recorded": {"received": 10, "accepted": 10},
        "observations": {"primary": {"parked": 10, "orphaned": 10}},
        "pairs": {},
    }
    losses = [(loss.reason, loss.count) for step in funnel(ledger, FunnelRoutes()).steps for loss in step.losses]
    assert [("mirror_shed", 4), ("not_mirrored", 6)] == losses
    assert "window is too short" in WHY["not_mirrored"]


def test_top_loss_is_the_reason_that_lowers_the_coverage_most() -> None:
    """Requests in progress and those outside the coverage are not the top loss."""
    ledger = {
        "recorded": {"received": 200, "ineligible": 90, "accepted": 110},
        "observations": {"primary": {"parked": 110, "paired": 40, "orphaned": 10, "late": 5, "waiting": 55}},
        "pairs": {"ready": 40, "match": 8, "incomparable": 12, "pending": 20},
    }
    found = top_loss(funnel(ledger, FunnelRoutes.of([])))
    assert found is not None
    assert ("incomparable", 12) == (found.reason, found.count)
    assert top_loss(funnel({}, FunnelRoutes.of([]))) is None


def test_routes_have_reasons_for_incomparable_pairs() -> None:
    """Each route has its own reasons from the comparison on."""
    results = {"match": 5, "ignored": 1, "mismatch": 2, "incomparable": 4}
    route = RouteCounts(route="GET /", results=results, reasons={"truncated": 3, "primary_5xx": 1})
    made = funnel({"target": "shop"}, FunnelRoutes.of([route])).routes[0]
    assert (12, [("truncated", 3), ("primary_5xx", 1)], 8) == (
        made.judged,
        [(loss.reason, loss.count) for loss in made.losses],
        made.compared,
    )


@given(ledgers(), st.data())
def test_routes_and_unrouted_losses_add_up_to_the_steps(ledger: dict[str, Any], data: st.DataObject) -> None:
    """Before the comparison every loss belongs to a route or is unrouted."""
    row, primary = ledger["recorded"], ledger["observations"]["primary"]
    most = {f"recorded.{name}": row[name] for name in ("ineligible", "excluded", "sampled_out", "shed")}
    most |= {"primary.orphaned": primary["orphaned"]}
    most |= {"candidate.orphaned": ledger["observations"]["candidate"]["orphaned"]}
    most |= {f"mirrored.{name}": ledger["mirrored"][name] for name in MIRRORED}
    lost: dict[str, int] = {}
    for what, count in most.items():
        lost[f"GET / {what}"] = data.draw(st.integers(0, count))
        lost[f"GET /b {what}"] = data.draw(st.integers(0, count - lost[f"GET / {what}"]))
    made = funnel(ledger, _routes(ledger, {"truncated": ledger["pairs"]["incomparable"]}, lost))
    assert made.exact
    under_way = {"in_flight", "waiting", "pending", "other_side", "duplicate", "replaced"}
    steps = [loss for step in made.steps[:6] for loss in step.losses if loss.reason not in under_way]
    by_route = [loss for route in made.routes for loss in route.losses if loss.reason != "truncated"]
    assert _by_reason(steps) == _by_reason([*made.unrouted, *by_route])
    assert all(loss.count > 0 for loss in made.unrouted)
    assert all(one.seen - sum(loss.count for loss in one.losses) == one.compared for one in made.routes)


def _by_reason(losses: Iterable[FunnelLoss]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for loss in losses:
        total[loss.reason] += loss.count
    return dict(total)


@given(ledgers(), ledgers())
def test_funnel_of_a_window_adds_up(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Requests in progress at the start are a negative loss, and the sums are right."""
    made = funnel_of("shop", grown_since(flat(now), flat(then)), FunnelRoutes())
    assert made.exact
    for step, following in zip(made.steps, made.steps[1:], strict=False):
        assert step.count - sum(loss.count for loss in step.losses) == following.count, step
