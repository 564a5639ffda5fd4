"""The pages: every target, one target, one sample.

In: the state.  Out: HTML from templates that escape everything, without scripts.
Holds: reads only; what takes time to lay out is laid out in a thread, so that mirrored requests do not wait for it.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from shadowdiff.model import Result
from shadowdiff.report import newest_samples, sample
from shadowdiff.web import words
from shadowdiff.web.advice import Advice, advice
from shadowdiff.web.doctor import diagnosis_of
from shadowdiff.web.operation import ApiError
from shadowdiff.web.sample_filter import sample_filter
from shadowdiff.web.sample_view import SampleView, answered, view
from shadowdiff.web.views import TargetReport, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from shadowdiff.report import Summary
    from shadowdiff.web.state import TargetView, WebState

_SHOWN: Final = 4
_LISTED: Final = 30
_SEARCHED: Final = 300
"""Of so many of the newest samples, those shown whole are chosen to be of different faults."""
_STATIC: Final = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class TargetPage:
    """A target as the pages show it: its report, its ledger, what to do next, its newest samples."""

    report: TargetReport
    ledger: dict[str, Any]
    advice: Advice | None
    samples: list[Summary]
    shown: list[SampleView]


class Pages:
    """The pages of one state."""

    def __init__(self, state: WebState) -> None:
        self._state = state
        self._static = {name: files("shadowdiff.web").joinpath("static", name).read_bytes() for name in _STATIC}
        self._templates = _environment()
        digest = hashlib.blake2b(b"".join(self._static.values()), digest_size=4).hexdigest()
        shared: dict[str, Any] = {"version": state.version, "store": state.store, "static_version": digest}
        cast("dict[str, Any]", self._templates.globals).update(shared)

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        return [
            Route("/", self.index, methods=["GET"], name="index"),
            Route("/targets/{target}", self.target, methods=["GET"], name="target-page"),
            Route("/samples/{id}", self.sample, methods=["GET"], name="sample-page"),
            Route("/doctor", self.doctor, methods=["GET"], name="doctor-page"),
            Route("/static/{name}", self.static, methods=["GET"], name="static"),
        ]

    async def index(self, request: Request) -> Response:
        """Answer the first page."""
        base_url = str(request.base_url)
        pages = [await self._page(target, base_url) for target in self._state.targets()]
        return await self.html("index.html", pages=pages, live=_live(request))

    async def target(self, request: Request) -> Response:
        """Answer the page of a target; `route`, `path` and `result` choose its samples."""
        found = self._state.target(request.path_params["target"])
        if found is None:
            raise HTTPException(404, f"No target is called {request.path_params['target']!r}.")
        asked = request.query_params
        result = Result.INCOMPARABLE if asked.get("result") == Result.INCOMPARABLE else Result.MISMATCH
        route, path = asked.get("route"), asked.get("path")
        wanted = sample_filter(route, None, path)
        page = await self._page(found, str(request.base_url), result=result, wanted=wanted)
        return await self.html("target.html", page=page, asked=asked, result=result.value, live=_live(request))

    async def sample(self, request: Request) -> Response:
        """Answer the page of a sample."""
        found = await sample(self._state.reader, request.path_params["id"], since_ms=self._state.since_ms)
        if found is None:
            raise HTTPException(404, "This sample expired, or newer ones took its place.")
        return await self.html("sample.html", make=lambda: {"view": view(found)})

    async def doctor(self, request: Request) -> Response:
        """Answer what is wrong, with every target or with one."""
        target = request.query_params.get("target") or None
        try:
            found = await diagnosis_of(self._state, target)
        except ApiError as refusal:
            raise HTTPException(refusal.status, refusal.message) from refusal
        return await self.html("doctor.html", diagnosis=found, target=target, live=_live(request))

    async def static(self, request: Request) -> Response:
        """Answer a file of the pages."""
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404, f"There is no file {name!r} here.")
        kept = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(self._static[name], media_type=_STATIC[name], headers=kept)

    async def error(self, status: int, line: str) -> Response:
        """Answer an error as a page."""
        return await self.html("error.html", status=status, code=status, line=line)

    async def _page(
        self,
        target: TargetView,
        base_url: str,
        *,
        result: Result = Result.MISMATCH,
        wanted: Callable[[Summary], bool] | None = None,
    ) -> TargetPage:
        state, name = self._state, target.target.name
        listed = await newest_samples(
            state.reader, name, _SEARCHED, result=result, wanted=wanted, since_ms=state.since_ms
        )
        whole = [await sample(state.reader, line.id, since_ms=state.since_ms) for line in _various(listed)]
        shown = await asyncio.to_thread(lambda: [view(one) for one in whole if one is not None])
        known, ledger = await report(state, target, base_url), await state.ledger(name)
        return TargetPage(known, ledger, advice(known, ledger), listed[:_LISTED], shown)

    async def html(
        self, template: str, status: int = 200, make: Callable[[], dict[str, Any]] = dict, **values: Any
    ) -> Response:
        """Answer a template, laid out in a thread."""
        now_ms = self._state.now_ms()
        render = self._templates.get_template(template).render
        text = await asyncio.to_thread(lambda: render(now_ms=now_ms, **values, **make()))
        return HTMLResponse(text, status)


def _various(listed: list[Summary]) -> list[Summary]:
    """Return a few of the newest samples that show different faults."""
    by_fault = {_fault(line): line for line in reversed(listed)}
    return sorted(by_fault.values(), key=lambda line: -line.at_ms)[:_SHOWN]


def _fault(line: Summary) -> tuple[str, str, str]:
    found = words.worst(line.differences)
    return (line.route, found.pattern, found.kind) if found else (line.route, line.reason, "")


def _live(request: Request) -> int:
    """Return after how many seconds the page asks again; 0 where it does not."""
    given = request.query_params.get("live", "")
    return min(max(int(given), 2), 300) if given.isascii() and given.isdigit() and len(given) < 5 else 0  # noqa: PLR2004


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("shadowdiff.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "percent": words.percent,
        "milliseconds": words.milliseconds,
        "moment": words.moment,
        "short_path": words.short_path,
        "cut": words.cut,
        "headline": words.headline,
        "plain": words.plain,
        "reason": words.reason,
        "answered": answered,
        "count": "{:,}".format,
    }
    cast("dict[str, Any]", environment.filters).update(filters)
    cast("dict[str, Any]", environment.globals).update(age=words.age)
    return environment
