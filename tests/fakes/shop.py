"""Sample data for pages and screenshots: a shop with typical differences in v2.

Pages read the shop's counts and samples from an in-memory store.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from shadowdiff.doctor.evidence import Evidence, StoreHealth, TargetEvidence, flatten
from shadowdiff.doctor.registry import diagnose
from shadowdiff.model import (
    Candidate,
    Comparison,
    Difference,
    Failure,
    Kind,
    Pair,
    Push,
    Result,
    Severity,
    Side,
    Target,
)
from shadowdiff.queries.causes import WITHOUT_RUNS
from shadowdiff.queries.targets import Queries, TargetView
from shadowdiff.report import CauseWrites, CountedRun, Redactor, ReportStage, SampleSettings
from shadowdiff.rule_changes.changes import RuleChanges
from shadowdiff.verdict import count_writes, history_writes
from shadowdiff.web import WebParts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import PRODUCT, difference, observation, pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.doctor.finding import Diagnosis

NOW_MS = 1_772_000_600_000
RULES = ("ignore $.served_at (clock)", "mask text from '[^']+': \\d+ (pod and counter)")

_CLOCK = difference(
    "$['served_at']", primary='"2026-02-25T06:23:11Z"', candidate='"2026-02-25T06:23:12Z"', rule=RULES[0]
)


def _product(number: int) -> dict[str, Any]:
    product = copy.deepcopy(PRODUCT)
    product.update(id=number, price=round(4.99 + number * 1.7, 2), stock=number % 40, served_at="2026-02-25T06:23:11Z")
    return product


def _compared_products(
    number: int, change: Callable[[dict[str, Any]], None], *found: Difference
) -> tuple[Pair, Comparison]:
    """Return a pair of product pages with a changed second page, and the comparison of the two."""
    ours, theirs = _product(number), _product(number)
    theirs["served_at"] = "2026-02-25T06:23:12Z"
    change(theirs)
    made = pair(
        observation(Side.PRIMARY, json.dumps(ours).encode(), path=f"/products/{number}", duration_ms=3 + number % 5),
        observation(
            Side.CANDIDATE, json.dumps(theirs).encode(), path=f"/products/{number}", duration_ms=5 + number % 9
        ),
        number=number,
    )
    result = Result.MISMATCH if found else Result.IGNORED
    return made, Comparison(result=result, differences=(*found, _CLOCK))


def wrong_price(number: int) -> tuple[Pair, Comparison]:
    """Return a pair in which v2's price is lower by two."""
    price = _product(number)["price"]
    wrong = round(price - 2, 2)
    return _compared_products(
        number,
        lambda product: product.update(price=wrong),
        difference(primary=str(price), candidate=str(wrong)),
    )


def missing_field(number: int) -> tuple[Pair, Comparison]:
    """Return a pair in which v2's `stock` is missing."""
    found = difference(
        "$['stock']",
        kind=Kind.REMOVED,
        primary=str(number % 40),
        candidate=None,
        severity=Severity.BREAKING,
    )
    return _compared_products(number, lambda product: product.pop("stock"), found)


def changed_type(number: int) -> tuple[Pair, Comparison]:
    """Return a pair in which v2's id is a string, and v2's seller has a new field."""
    found = difference(
        "$['id']", kind=Kind.TYPE, primary=str(number), candidate=f'"{number}"', severity=Severity.BREAKING
    )
    added = difference(
        "$['seller']['verified']", kind=Kind.ADDED, primary=None, candidate="true", severity=Severity.ADDITIVE
    )

    def change(product: dict[str, Any]) -> None:
        product["id"] = str(number)
        product["seller"]["verified"] = True

    return _compared_products(number, change, found, added)


def server_error(number: int) -> tuple[Pair, Comparison]:
    """Return a pair in which v2's status is 500."""
    body = b'{"error": "division by zero", "trace": "a3f1"}'
    made, _ = _compared_products(number, lambda _: None)
    theirs = observation(Side.CANDIDATE, body, path=f"/products/{number}", status=500, duration_ms=31.0)
    found = difference(
        "status", kind=Kind.STATUS, primary="200", candidate="500", severity=Severity.BREAKING, pattern="status"
    )
    return pair(made.primary, theirs, number=number), Comparison(result=Result.MISMATCH, differences=(found,))


def refused(number: int) -> tuple[Pair, Comparison]:
    """Return a pair whose request v2 rejected."""
    made, _ = _compared_products(number, lambda _: None)
    theirs = observation(
        Side.CANDIDATE, path=f"/products/{number}", status=0, failure=Failure.REFUSED, headers=(), duration_ms=0.4
    )
    found = difference(
        "status", kind=Kind.STATUS, primary="200", candidate="refused", severity=Severity.BREAKING, pattern="status"
    )
    return pair(made.primary, theirs, number=number), Comparison(result=Result.MISMATCH, differences=(found,))


def greeting(number: int, *, wrong: bool = False) -> tuple[Pair, Comparison]:
    """Return a pair of greetings in plain text. A mask rule covers the pod name and the counter in the greetings."""
    ours = f"recommendation v1 from 'f97c56': {number}\n"
    theirs = f"recommendation {'v2' if wrong else 'v1'} from '5b88d4': {number + 3}\n"
    text = Difference(
        path="text",
        pattern="text",
        kind=Kind.TEXT,
        primary=ours.strip(),
        candidate=theirs.strip(),
        severity=Severity.VALUE,
        rule=None if wrong else RULES[1],
    )
    made = pair(
        observation(Side.PRIMARY, ours.encode(), content_type=b"text/plain", path="/", duration_ms=1.2),
        observation(Side.CANDIDATE, theirs.encode(), content_type=b"text/plain", path="/", duration_ms=1.1),
        number=number,
        route="GET /",
    )
    return made, Comparison(result=Result.MISMATCH if wrong else Result.IGNORED, differences=(text,))


def truncated(number: int) -> tuple[Pair, Comparison]:
    """Return a pair that is incomparable because v1's body was truncated."""
    made, _ = _compared_products(number, lambda _: None)
    cut = observation(Side.PRIMARY, made.primary.body[:80], path=f"/products/{number}", body_bytes=9_000_000)
    return pair(cut, made.candidate, number=number), Comparison(
        result=Result.INCOMPARABLE, reason="v1's body was recorded only in part: 80 of 9000000 bytes"
    )


def open_shop() -> MemoryStore:
    """Return a store with 1,000 pairs of products, a few of them mismatches, and 400 pairs of greetings."""
    store = MemoryStore(lambda: NOW_MS / 1000)
    report = ReportStage(SampleSettings(redactor=Redactor(b"key of the shop")))
    causes = CauseWrites(
        lambda _: CountedRun(WITHOUT_RUNS, "v2"), lambda _: True, lambda _pair, _difference, _bit, text: text
    )
    faults = {7: wrong_price, 13: missing_field, 29: changed_type}
    for number in range(1, 1001):
        fault = next((fault for every, fault in faults.items() if number % (every * 7) == 0), None)
        if number == 998:
            fault = server_error
        if number == 620:
            fault = truncated
        made, said = fault(number) if fault else _compared_products(number, lambda _: None)
        store.commit(count_writes(made, said))
        at_ms = NOW_MS - (1001 - number) * 500
        store.commit(report(made, said, at_ms))
        store.commit(causes(made, said, at_ms))
        store.commit(history_writes(made, said, at_ms))
    store.commit([Push("runs:shop", f"{NOW_MS - 400_000} 3 revision 2026.2".encode(), 9)])
    for number in range(2001, 2401):
        store.commit(count_writes(*greeting(number)))
    return store


def shop_ledger(compared: int = 1399, *, balanced: bool = True) -> dict[str, Any]:
    """Return a ledger in which almost all responses were compared."""
    mismatches = min(34, compared)
    side = {"parked": compared + 21, "paired": compared + 1, "orphaned": 20, "duplicate": 0, "replaced": 0}
    side |= {"ambiguous": 0, "late": 0, "waiting": 0}
    return {
        "target": "shop",
        "balanced": balanced,
        "mirrored": {"received": compared + 25, "forwarded": compared + 21, "blocked": 4, "sampled_out": 0},
        "recorded": {"received": compared + 21, "accepted": compared + 21, "refused": 0, "shed": 0},
        "observations": {"primary": side, "candidate": side | {"orphaned": 0, "late": 20}, "control": {}},
        "pairs": {"ready": compared + 1, "match": 0, "ignored": compared - mismatches, "mismatch": mismatches}
        | {"incomparable": 1, "pending": 0},
        "unclean_exits": 0,
        "coverage": {"eligible": compared + 21, "compared": compared, "ratio": compared / (compared + 21)},
    }


def empty_ledger(target: str, *, mirrored: int = 0, recorded: int = 0) -> dict[str, Any]:
    """Return a ledger of a target without comparisons."""
    return {
        "target": target,
        "balanced": True,
        "mirrored": {"received": mirrored},
        "recorded": {"received": recorded},
        "observations": {"primary": {}, "candidate": {}, "control": {}},
        "pairs": {"ready": 0, "match": 0, "ignored": 0, "mismatch": 0, "incomparable": 0, "pending": 0},
        "unclean_exits": 0,
        "coverage": {"eligible": 0, "compared": 0, "ratio": 0.0},
    }


def shop_target(name: str = "shop") -> TargetView:
    """Return the configuration of the shop's target."""
    target = Target(
        name=name,
        hosts=(name, f"{name}.example"),
        candidate=Candidate(url=f"http://user:pass@{name}-v2:8080"),
        routes=("GET /products/{id}",),
    )
    return TargetView(target, RULES)


def web_parts(
    store: MemoryStore, ledger: dict[str, Any] | None = None, targets: tuple[TargetView, ...] | None = None
) -> WebParts:
    """Return the dependencies of the web port for a store."""
    shown = (shop_target(),) if targets is None else targets

    async def read_ledger(target: str) -> dict[str, Any]:
        return (ledger or shop_ledger()) | {"target": target}

    async def diagnosis(target: str | None, visible: frozenset[str] | None = None) -> Diagnosis:
        targets = [
            TargetEvidence(config=view.target, counts=flatten(await read_ledger(view.target.name)))
            for view in shown
            if target in (None, view.target.name) and (visible is None or view.target.name in visible)
        ]
        return diagnose(
            Evidence(
                now_ms=NOW_MS,
                window_s=30,
                id_headers=("x-diff-id", "x-request-id"),
                store=StoreHealth(up=True, backend="redis"),
                targets=tuple(targets),
            )
        )

    queries = Queries(
        targets=lambda: shown, reader=store, ledger=read_ledger, diagnosis=diagnosis, now_ms=lambda: NOW_MS
    )
    return WebParts(queries=queries, rules=RuleChanges(queries), version="0.1.0", store="redis 7.0.15 at redis:6379")


def replace_parts(parts: WebParts, **changes: Any) -> WebParts:
    """Return the dependencies with some fields replaced, at any level."""
    of_queries = _taken(Queries, changes)
    queries = dataclasses.replace(parts.queries, **of_queries)
    rules = dataclasses.replace(parts.rules, queries=queries, **_taken(RuleChanges, changes))
    return dataclasses.replace(parts, queries=queries, rules=rules, **changes)


def _taken(part: type[Any], changes: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(part) if field.init} & set(changes)
    return {name: changes.pop(name) for name in names}
