"""The first page, which lists all targets, and the page of one target. The length of every list is limited."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from shadowdiff.display import wording
from shadowdiff.display.sample_view import view
from shadowdiff.model import Kind, Result, Severity
from shadowdiff.queries.causes import CauseOrder, cause_page
from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.fingerprints import fingerprint_page
from shadowdiff.queries.samples import find_samples
from shadowdiff.queries.targets import setup_hint
from shadowdiff.queries.trend import WINDOWS, since_first, steps
from shadowdiff.queries.window_totals import all_losses
from shadowdiff.report import FingerprintQuery, Order, Span, State, newest_samples, whole_samples
from shadowdiff.verdict import FunnelRoutes, flat, funnel, read_run_starts
from shadowdiff.web.cause_api import CAUSE_PARAMETERS, cause_query
from shadowdiff.web.chart import ratio_chart, sparkline
from shadowdiff.web.fingerprint_api import PAGE_PARAMETERS, fingerprint_query
from shadowdiff.web.layout import refresh_s
from shadowdiff.web.operation import TARGET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from shadowdiff.display.sample_view import SampleView
    from shadowdiff.queries.targets import Queries, TargetView
    from shadowdiff.queries.trend import Step, Window
    from shadowdiff.report import Summary
    from shadowdiff.web.chart import RatioChart
    from shadowdiff.web.layout import Layout

CHART_STEPS: Final = 90
SPARK_STEPS: Final = 30
_MIN_POINTS: Final = 10
_FEW: Final = 5
_SPANS: Final = {"1h": Span.HOUR, "6h": Span.DAY, "24h": Span.DAY, "7d": Span.WEEK, "30d": Span.WEEK}
_WHOLE_SAMPLES: Final = 2
_SEARCHED_SAMPLES: Final = 300
"""Number of newest samples searched for samples to show in full, one for each difference."""
_LISTED_SAMPLES: Final = 15
_PAGE_SIZE: Final = 25
_LISTED_CAUSES: Final = 25
_FILTERS: Final = ("route", "kind", "severity", "state", "path", "since")


async def show_overview(layout: Layout, request: Request) -> Response:
    """Return the page of all targets with verdicts, trends and differences. A single target also has samples."""
    queries, base_url = layout.queries, str(request.base_url)
    targets = queries.targets()
    shown = await asyncio.gather(*(_overview(layout, target, base_url) for target in targets))
    samples = await _whole_samples(queries, targets[0].target.name) if len(targets) == 1 else []
    return await layout.html("index.html", targets=shown, samples=samples, live=refresh_s(request), stream="/live")


async def _overview(layout: Layout, target: TargetView, base_url: str) -> dict[str, Any]:
    """Return the values that the first page shows for a target."""
    queries, name = layout.queries, target.target.name
    window = await queries.trends.shortest_window(name, queries.now_ms())
    report, ledger, shown, page = await asyncio.gather(
        queries.report(target, base_url),
        queries.ledger(name),
        _steps(queries, name, window, SPARK_STEPS),
        fingerprint_page(queries, name, FingerprintQuery(order=Order.COUNT, limit=_FEW, span=_SPANS[window.name])),
    )
    return {
        "report": report,
        "lost": funnel(name, flat(ledger), FunnelRoutes.of(report.routes)),
        "hint": setup_hint(report, ledger, mirror_port=layout.web.mirror_port, record_port=layout.web.record_port),
        "window": window,
        "spark": sparkline(shown, target.target.gate.max_mismatch_ratio),
        "page": page,
    }


async def _steps(queries: Queries, name: str, window: Window, most: int) -> list[Step]:
    points = since_first(await queries.trends.points(name, window, queries.now_ms()), _MIN_POINTS)
    return steps(points, window.unit, most)


async def _chart(queries: Queries, target: TargetView, window: Window) -> RatioChart | None:
    shown = await _steps(queries, target.target.name, window, CHART_STEPS)
    started = await read_run_starts(queries.reader, target.target.name)
    return ratio_chart(shown, started, target.target.gate.max_mismatch_ratio)


async def _whole_samples(queries: Queries, target: str) -> list[SampleView]:
    """Return a few of the newest samples with distinct differences, most severe first."""
    listed = await newest_samples(queries.reader, target, _SEARCHED_SAMPLES, since_ms=queries.since_ms)
    by_difference = {_difference_key(line): line for line in reversed(listed)}
    ranked = sorted(by_difference.values(), key=lambda line: (wording.severity_rank(line.differences), -line.at_ms))
    ids = [line.id for line in ranked[:_WHOLE_SAMPLES]]
    whole = await whole_samples(queries.reader, ids, since_ms=queries.since_ms)
    return await asyncio.to_thread(lambda: [view(one) for one in whole])


def _difference_key(line: Summary) -> tuple[str, str, str]:
    found = wording.worst(line.differences)
    return (line.route, found.pattern, found.kind) if found else (line.route, line.reason, "")


async def show_target(layout: Layout, request: Request) -> Response:
    """Return the page. `route`, `kind`, `severity`, `state`, `path` and `since` filter the page's lists."""
    queries, name = layout.queries, request.path_params["target"]
    target = queries.find(name)
    if target is None:
        raise RequestError(404, f"Unknown target {name!r}.")
    asked = dict(request.query_params)
    result = Result.INCOMPARABLE if asked.get("result") == Result.INCOMPARABLE else Result.MISMATCH
    chosen = next((window for window in WINDOWS if window.name == asked.get("window")), None)
    window = chosen or await queries.trends.shortest_window(name, queries.now_ms())
    arguments = {one.name: one.read(request) for one in PAGE_PARAMETERS if one is not TARGET}
    arguments |= {"limit": _PAGE_SIZE, "trend": _SPANS[window.name], "sort": asked.get("sort") or Order.COUNT}
    query = fingerprint_query(arguments, queries.now_ms())
    filters = {key: asked.get(key) for key in ("route", "kind", "path")}
    report, ledger, chart, page, samples, lost = await asyncio.gather(
        queries.report_with_proposals(target, str(request.base_url)),
        queries.ledger(name),
        _chart(queries, target, window),
        fingerprint_page(queries, name, query),
        find_samples(queries, name, _LISTED_SAMPLES, result=result, **filters),
        all_losses(queries, name),
    )
    of_causes = {one.name: arguments.get(one.name, one.default) for one in CAUSE_PARAMETERS}
    of_causes |= {"sort": CauseOrder.PAIRS, "offset": 0, "limit": _LISTED_CAUSES}
    causes = await cause_page(queries, name, cause_query(of_causes, queries.now_ms()))
    return await layout.html(
        "target.html",
        causes=causes,
        report=report,
        ledger=ledger,
        hint=setup_hint(report, ledger, mirror_port=layout.web.mirror_port, record_port=layout.web.record_port),
        trend={"window": window, "chart": chart},
        windows=WINDOWS,
        page=page,
        samples=samples,
        lost=lost,
        asked={key: asked.get(key, "") for key in (*_FILTERS, "window")} | {"sort": arguments["sort"]},
        offset=arguments["offset"],
        limit=_PAGE_SIZE,
        choices={"kind": list(Kind), "severity": list(Severity), "state": list(State), "sort": list(Order)},
        filters=[key for key in _FILTERS if asked.get(key)],
        with_query=partial(_query_string, asked),
        result=result.value,
        live=refresh_s(request),
        stream=f"/live?{urlencode({'target': name})}",
    )


def _query_string(asked: Mapping[str, str], **changed: str | int) -> str:
    """Return a page's query string with changes. Omit empty values, and select the first page of the list."""
    kept = {key: value for key, value in asked.items() if key not in {"live", "offset"}}
    whole = kept | {key: str(value) for key, value in changed.items()}
    return "?" + urlencode({key: value for key, value in whole.items() if value})
