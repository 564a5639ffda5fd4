"""Targets for pages, API, gauges and webhooks: settings, counts, verdict, and a hint if there are no pairs.

`Queries` contains the inputs of every query. In a request, it lists and finds only the targets that the caller may use.
Queries only read, except that a rollout's first request starts its run.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from shadowdiff.model import Result
from shadowdiff.queries.common_attributes import AttributeTables
from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.offload import in_a_thread
from shadowdiff.queries.route_templates import propose_templates
from shadowdiff.queries.trend import Trends
from shadowdiff.queries.visible import VISIBLE, is_visible
from shadowdiff.report import CauseReader, Fingerprints
from shadowdiff.verdict.counts import RouteCounts, TargetCounts, known_routes, read_counts
from shadowdiff.verdict.evidence import Evidence, read_evidence
from shadowdiff.verdict.ledger_growth import coverage_since
from shadowdiff.verdict.verdict import Thresholds, Verdict, judge, of_rollout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shadowdiff.doctor.finding import Diagnosis
    from shadowdiff.model import Target
    from shadowdiff.model.store_reader import StoreReader
    from shadowdiff.queries.offload import Offload
    from shadowdiff.queries.visible import Targets as VisibleTargets
    from shadowdiff.rules import Rule
    from shadowdiff.verdict import Runs


@dataclass(frozen=True, slots=True)
class TargetView:
    """A target as configured.  rules: all rules in force, one line each.  declared: the rules in the configuration."""

    target: Target
    rules: tuple[str, ...] = ()
    declared: tuple[Rule, ...] = ()


class TargetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A target's settings, without credentials."""

    hosts: tuple[str, ...]
    candidate: str
    control: str | None
    sample: float
    methods: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    routes: tuple[str, ...]
    rules: tuple[str, ...]


class TargetSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A target in the list of targets."""

    name: str
    settings: TargetSettings
    verdict: Verdict


class Targets(msgspec.Struct, frozen=True):
    """The list of all targets."""

    targets: list[TargetSummary]


class TargetReport(TargetSummary, frozen=True, kw_only=True):
    """All data of one target, except its samples.

    proposed_routes: templates for `routes:` that keep the inferred names; empty if there is nothing to add.
    """

    routes: tuple[RouteCounts, ...]
    proposed_routes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Reads targets, counts and samples.

    targets: returns the configured targets; in a request, only those that its caller may use.
    reader: reads counts and samples.  ledger: returns a target's ledger.
    now_ms: returns the current time in Unix milliseconds.  runs: None if verdicts use all counts since the store began.
    diagnosis: explains why a target, or any of the visible targets, is not compared; None if no evidence is gathered.
    lost: returns the requests lost before comparison, by `route row.disposition`; None if they are not counted.
    current_route, current_place: return the current name of a route or place that had a different name earlier.
    offload: runs long work off the event loop.
    public_url: the URL of the pages for browsers; None if it is the request's URL.
    """

    targets: Callable[[], Sequence[TargetView]]
    reader: StoreReader
    ledger: Callable[[str], Awaitable[dict[str, Any]]]
    now_ms: Callable[[], int]
    runs: Runs | None = None
    diagnosis: Callable[[str | None, VisibleTargets], Awaitable[Diagnosis]] | None = None
    lost: Callable[[str], Awaitable[dict[str, int]]] | None = None
    current_route: Callable[[str, str], str] = lambda _target, route: route
    current_place: Callable[[str, str], str] = lambda _target, place: place
    offload: Offload = in_a_thread
    public_url: str | None = None
    sample_ttl_s: int = 24 * 3600
    fingerprints: Fingerprints = field(init=False)
    causes: CauseReader = field(init=False)
    trends: Trends = field(init=False)
    attribute_tables: AttributeTables = field(init=False, default_factory=AttributeTables)

    def __post_init__(self) -> None:
        every = self.targets
        object.__setattr__(self, "targets", lambda: [view for view in every() if is_visible(view.target.name)])
        object.__setattr__(self, "fingerprints", Fingerprints(self.reader, self.now_ms))
        object.__setattr__(self, "causes", CauseReader(self.reader, self.now_ms))
        object.__setattr__(self, "trends", Trends(self.reader))

    @property
    def names(self) -> list[str]:
        """The names of the targets, in the order of the configuration."""
        return [view.target.name for view in self.targets()]

    @property
    def since_ms(self) -> int:
        """The time before which samples have expired."""
        return self.now_ms() - self.sample_ttl_s * 1000

    def find(self, name: str) -> TargetView | None:
        """Return a target by name."""
        return next((view for view in self.targets() if view.target.name == name), None)

    def target(self, name: str) -> TargetView:
        """Return a target by name. Raises: RequestError that lists the known names."""
        view = self.find(name)
        if view is None:
            raise RequestError(404, f"unknown target {name!r}; configured: {', '.join(self.names) or 'none'}")
        return view

    def route_names(self, target: str) -> Callable[[str], str]:
        """Return a cached function from an earlier to the current name of a target's route."""
        return functools.cache(functools.partial(self.current_route, target))

    async def counts(self, name: str) -> TargetCounts:
        """Return a target's counts since the store began."""
        fold_place = functools.partial(self.current_place, name)
        return await read_counts(self.reader, name, self.route_names(name), fold_place)

    async def by_route(self, name: str) -> dict[str, int]:
        """Return the counts by `route name`: lost requests, such as `GET /a primary.orphaned`, and `GET /a paired`.

        The operations of a GraphQL path are one route here, because a lost record has no operation.
        """
        found: Counter[str] = Counter()
        for one in (await self.counts(name)).routes:
            found[f"{one.route.partition('#')[0]} paired"] += sum(one.results.values())
        fold = self.route_names(name)
        for lost, count in (await self.lost(name) if self.lost else {}).items():
            route, _, what = lost.rpartition(" ")
            found[f"{fold(route).partition('#')[0]} {what}"] += count
        return dict(found)

    async def diagnose(self, name: str | None) -> Diagnosis:
        """Return why a target is not compared; None means any target. Raises: RequestError."""
        if name is not None:
            self.target(name)
        if self.diagnosis is None:
            raise RequestError(
                503, "this process collects no evidence for the doctor; send the request to `shadowdiff serve`"
            )
        return await self.diagnosis(name, VISIBLE.get())

    async def report(self, view: TargetView, base_url: str) -> TargetReport:
        """Return a target's report."""
        target = view.target
        counts = await self.counts(target.name)
        verdict = await self.verdict(view, base_url, counts=counts)
        settings = TargetSettings(
            hosts=target.hosts,
            candidate=without_credentials(target.candidate.url),
            control=without_credentials(target.control.url) if target.control else None,
            sample=target.sample,
            methods=target.methods,
            include=tuple(map(str, target.include)),
            exclude=tuple(map(str, target.exclude)),
            routes=target.routes,
            rules=view.rules,
        )
        return TargetReport(name=target.name, settings=settings, verdict=verdict, routes=counts.routes)

    async def report_with_proposals(self, view: TargetView, base_url: str) -> TargetReport:
        """Return a target's report with the proposed templates of its routes."""
        report = await self.report(view, base_url)
        proposed = propose_templates(report.routes, view.target.routes)
        return msgspec.structs.replace(report, proposed_routes=proposed)

    async def verdict(
        self,
        view: TargetView,
        base_url: str = "",
        *,
        counts: TargetCounts | None = None,
        max_mismatch_ratio: float | None = None,
        min_coverage: float | None = None,
        revision: str | None = None,
    ) -> Verdict:
        """Return a target's verdict under the target's thresholds, or under stricter thresholds.

        revision: the rollout or revision that asks; the first request of a rollout starts its run.
        """
        name, runs = view.target.name, self.runs
        current_names = self.route_names(name)
        run = None if runs is None else await (runs.for_rollout(name, revision) if revision else runs.current(name))
        if runs is None:
            evidence = Evidence.of_all(await self.counts(name) if counts is None else counts)
        else:
            evidence = await read_evidence(self.reader, name, run, current_names) if run else Evidence(target=name)
        noise = await runs.noise(name) if runs else None
        known = await known_routes(self.reader, name, current_names)
        paths = {route.partition(" ")[2] for route in known}
        verdict = judge(
            evidence,
            coverage_since(await self.ledger(name), run.ledger if run else None),
            Thresholds.of(view.target.gate, max_mismatch_ratio=max_mismatch_ratio, min_coverage=min_coverage),
            run=run,
            now_ms=self.now_ms(),
            known_routes=known.union(route for route in view.target.routes if route not in paths),
            noise=noise,
            report_url=f"{(self.public_url or base_url).rstrip('/')}/targets/{name}",
        )
        return of_rollout(verdict, run, revision) if run and revision else verdict


def without_credentials(url: str) -> str:
    """Return a URL without its user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@dataclass(frozen=True, slots=True)
class SetupHint:
    """A hint about what is wrong, how to fix it, and commands to copy."""

    problem: str
    fix: str
    commands: tuple[str, ...] = ()


_UNBALANCED: Final = SetupHint(
    "Not all requests are accounted for: some observations left the store without being counted.",
    "The numbers below are incomplete. Usual causes: the store evicts keys (set maxmemory-policy noeviction), or "
    "somebody deleted keys. The ledger shows on which side observations are missing.",
)


def setup_hint(report: TargetReport, ledger: dict[str, Any], *, mirror_port: int, record_port: int) -> SetupHint | None:
    """Return a hint about why a target is not compared; None if nothing is wrong."""
    if any(report.verdict.pairs.get(result) for result in Result):
        return None if ledger.get("balanced", True) else _UNBALANCED
    mirrored, recorded = (int(ledger.get(row, {}).get("received", 0)) for row in ("mirrored", "recorded"))
    host = (report.settings.hosts[0] if report.settings.hosts else report.name).replace("*", "www")
    if not mirrored and not recorded:
        return SetupHint(
            "No request has arrived yet.",
            f"Mirror this target's requests to port {mirror_port}, and send v1's responses to port {record_port}. "
            "To try it manually:",
            (
                f"curl -H 'Host: {host}' -H 'x-request-id: try-1' http://127.0.0.1:{mirror_port}/",
                f"curl -X POST http://127.0.0.1:{record_port}/record -d hello -H 'x-shadowdiff-id: try-1' \\",
                f"  -H 'x-shadowdiff-host: {host}' -H 'x-shadowdiff-method: GET' -H 'x-shadowdiff-path: /' \\",
                "  -H 'x-shadowdiff-id-source: x-request-id' -H 'x-shadowdiff-status: 200'",
            ),
        )
    if not recorded:
        return SetupHint(
            f"{mirrored:,} requests were mirrored, but no response of v1 was recorded.",
            f"Install the recorder in v1's proxy, or the middleware in v1; it posts to port {record_port}, /record.",
        )
    if not mirrored:
        return SetupHint(
            f"{recorded:,} responses of v1 were recorded, but no request was mirrored.",
            f"Configure the mesh to mirror requests for {host} to port {mirror_port}, with their original Host header.",
        )
    return SetupHint(
        f"{mirrored:,} requests were mirrored and {recorded:,} responses recorded, but no pair is complete yet.",
        "Pairs follow within seconds. If there are still none, run:",
        ("shadowdiff doctor",),
    )
