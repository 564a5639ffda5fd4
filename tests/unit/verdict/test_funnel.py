"""From v1's answers to compared pairs: every loss has its reason, and the sums are exact."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.verdict import Funnel, FunnelLoss, FunnelRoutes, flat, grown_since
from shadowdiff.verdict import funnel as funnel_of
from shadowdiff.verdict.counts import RouteCounts
from shadowdiff.verdict.funnel import UNACCOUNTED, WHY

if TYPE_CHECKING:
    from collections.abc import Iterable

COUNT = st.integers(0, 1000)
PRIMARY = ("paired", "orphaned", "duplicate", "replaced", "ambiguous", "late", "waiting")
RECORDED = ("ineligible", "sampled_out", "refused", "shed", "store_lost", "crashed", "in_flight")
MIRRORED = ("shed", "aborted", "too_large", "unidentified", "looped", "store_lost", "crashed", "blocked")
JUDGED = ("match", "ignored", "mismatch", "incomparable")


def _row(fields: tuple[str, ...]) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries(dict.fromkeys(fields, COUNT))


@st.composite
def ledgers(draw: st.DrawFn) -> dict[str, Any]:
    """Return a ledger whose books balance."""
    judged, pending = draw(_row(JUDGED)), draw(COUNT)
    ready = sum(judged.values()) + pending
    primary = draw(_row(PRIMARY)) | {"paired": ready}
    parked = sum(primary.values())
    recorded = draw(_row(RECORDED)) | {"accepted": parked}
    forwarded = ready + draw(COUNT)
    return {
        "target": "shop",
        "mirrored": draw(_row(MIRRORED)) | {"forwarded": forwarded},
        "recorded": {"received": sum(recorded.values())} | recorded,
        "observations": {
            "primary": {"parked": parked} | primary,
            "candidate": {"parked": forwarded, "orphaned": draw(COUNT)},
        },
        "pairs": {"ready": ready, "pending": pending} | judged,
    }


def _routes(ledger: dict[str, Any], reasons: dict[str, int], lost: dict[str, int] | None = None) -> FunnelRoutes:
    results = {name: ledger["pairs"][name] for name in JUDGED}
    return FunnelRoutes.of([RouteCounts(route="GET /", results=results, reasons=reasons)], lost)


def funnel(ledger: dict[str, Any], routes: FunnelRoutes) -> Funnel:
    """Return the funnel of a ledger as the API gives it."""
    return funnel_of("shop", flat(ledger), routes)


@given(ledgers())
def test_each_step_is_the_one_before_less_its_losses(ledger: dict[str, Any]) -> None:
    """Whatever the books say, as long as they balance: nothing is unaccounted for."""
    made = funnel(ledger, _routes(ledger, {"primary_5xx": ledger["pairs"]["incomparable"]}))
    assert made.exact
    for step, following in zip(made.steps, made.steps[1:], strict=False):
        assert step.count - sum(loss.count for loss in step.losses) == following.count, step
    assert made.steps[-1].count == sum(ledger["pairs"][name] for name in JUDGED[:3])


@given(ledgers())
def test_every_loss_is_positive_and_says_why(ledger: dict[str, Any]) -> None:
    """In words that a reader can act on."""
    made = funnel(ledger, _routes(ledger, {}))
    assert all(loss.count > 0 and loss.why for step in made.steps for loss in step.losses)


@given(ledgers(), st.integers(1, 500))
def test_books_that_do_not_balance_say_where(ledger: dict[str, Any], missing: int) -> None:
    """The difference stands at its step, and the funnel says that it is not exact."""
    ledger["observations"]["primary"]["parked"] += missing
    made = funnel(ledger, _routes(ledger, {}))
    found = [loss.count for step in made.steps for loss in step.losses if loss.reason == UNACCOUNTED]
    assert (False, [-missing, missing]) == (made.exact, found)


def test_losses_of_the_mirror_explain_answers_without_a_partner_as_far_as_they_go() -> None:
    """Of ten, four copies were shed; the others were never mirrored, or came too late."""
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


def test_routes_say_why_their_pairs_could_not_be_compared() -> None:
    """From what was judged on, route by route."""
    results = {"match": 5, "ignored": 1, "mismatch": 2, "incomparable": 4}
    route = RouteCounts(route="GET /", results=results, reasons={"truncated": 3, "primary_5xx": 1})
    made = funnel({"target": "shop"}, FunnelRoutes.of([route])).routes[0]
    assert (12, [("truncated", 3), ("primary_5xx", 1)], 8) == (
        made.judged,
        [(loss.reason, loss.count) for loss in made.losses],
        made.compared,
    )


@given(ledgers(), st.data())
def test_the_routes_and_what_has_none_add_up_to_the_steps(ledger: dict[str, Any], data: st.DataObject) -> None:
    """Before judging every loss of a step is some route's, or stands apart as of no known route."""
    row, primary = ledger["recorded"], ledger["observations"]["primary"]
    most = {f"recorded.{name}": row[name] for name in ("ineligible", "sampled_out", "shed")}
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
def test_the_funnel_of_a_window_adds_up_too(then: dict[str, Any], now: dict[str, Any]) -> None:
    """What was under way at the start comes out as a negative loss, and the sums hold."""
    made = funnel_of("shop", grown_since(flat(now), flat(then)), FunnelRoutes())
    assert made.exact
    for step, following in zip(made.steps, made.steps[1:], strict=False):
        assert step.count - sum(loss.count for loss in step.losses) == following.count, step
