"""What the API and the pages say of a target: its configuration, counts, coverage and verdict in one value.

In: the state.  Out: `TargetSummary` for lists, `TargetReport` for one.
Holds: reads only; a candidate's address is shown without the credentials it may hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import msgspec

from shadowdiff.verdict import (
    Evidence,
    RouteCounts,
    TargetCounts,
    Thresholds,
    Verdict,
    coverage_since,
    judge,
    known_routes,
    of_rollout,
    read_counts,
    read_evidence,
)

if TYPE_CHECKING:
    from shadowdiff.web.state import TargetView, WebState


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """A target as configured."""

    hosts: tuple[str, ...]
    candidate: str
    control: str | None
    sample: float
    methods: tuple[str, ...]
    routes: tuple[str, ...]
    rules: tuple[str, ...]


class TargetSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A target as a line of a list."""

    name: str
    configured: Configured
    verdict: Verdict


class TargetReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one target but its samples."""

    name: str
    configured: Configured
    verdict: Verdict
    routes: tuple[RouteCounts, ...]


async def summary(state: WebState, view: TargetView, base_url: str) -> TargetSummary:
    """Return a target's line."""
    whole = await report(state, view, base_url)
    return TargetSummary(name=whole.name, configured=whole.configured, verdict=whole.verdict)


async def report(state: WebState, view: TargetView, base_url: str) -> TargetReport:
    """Return a target's report."""
    counts = await read_counts(state.reader, view.target.name, state.fold(view.target.name))
    verdict = await verdict_of(state, view, base_url, counts=counts)
    return TargetReport(name=view.target.name, configured=_configured(view), verdict=verdict, routes=counts.routes)


async def verdict_of(
    state: WebState,
    view: TargetView,
    base_url: str,
    *,
    counts: TargetCounts | None = None,
    max_mismatch_ratio: float | None = None,
    min_coverage: float | None = None,
    asked: str | None = None,
) -> Verdict:
    """Return a target's verdict, under its gate's thresholds or stricter ones.

    asked: the rollout or revision that asks; its first question opens its epoch.
    """
    name, epochs = view.target.name, state.epochs
    fold = state.fold(name)
    epoch = None if epochs is None else await (epochs.ask(name, asked) if asked else epochs.current(name))
    if epochs is None:
        known = await read_counts(state.reader, name, fold) if counts is None else counts
        evidence = Evidence.of_all(known)
    else:
        evidence = await read_evidence(state.reader, name, epoch, fold) if epoch else Evidence(target=name)
    noise = await epochs.noise(name) if epochs else None
    verdict = judge(
        evidence,
        coverage_since(await state.ledger(name), epoch.ledger if epoch else None),
        Thresholds.of(view.target.gate, max_mismatch_ratio=max_mismatch_ratio, min_coverage=min_coverage),
        epoch=epoch,
        now_ms=state.now_ms(),
        known_routes=_with_declared(await known_routes(state.reader, name, fold), view.target.routes),
        noise=noise,
        report_url=f"{(state.public_url or base_url).rstrip('/')}/targets/{name}",
    )
    return of_rollout(verdict, epoch, asked) if epoch and asked else verdict


def _with_declared(known: set[str], declared: tuple[str, ...]) -> set[str]:
    """Return the routes that were seen, and of the declared ones those that never were, as they are written."""
    bare = {route.partition(" ")[2] for route in known}
    return known | {route for route in declared if route not in known and route not in bare}


def _configured(view: TargetView) -> Configured:
    target = view.target
    return Configured(
        hosts=target.hosts,
        candidate=without_credentials(target.candidate.url),
        control=without_credentials(target.control.url) if target.control else None,
        sample=target.sample,
        methods=target.methods,
        routes=target.routes,
        rules=view.rules,
    )


def without_credentials(url: str) -> str:
    """Return an address without the user and password that it may hold."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
