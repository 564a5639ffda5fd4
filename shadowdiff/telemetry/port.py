"""The port for machines: `/metrics`, `/healthz`, `/readyz`.

In: what to expose, and why the service is not ready.  Out: a Starlette application.
Holds: live means that the event loop turns; ready means able to accept, count and shed. A lost store is
a metric and not a reason: a pod taken out of its service could count nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from shadowdiff.telemetry.metrics import Rendering


def monitor_app(exposition: Rendering, not_ready: Callable[[], str | None]) -> Starlette:
    """Return the application for the metrics port.

    not_ready: says why the service is not ready (`starting`, `draining`); None when it is.
    """

    async def metrics(request: Request) -> Response:
        text, content_type = await exposition.render(request.headers.get("accept", ""))
        return Response(text, media_type=None, headers={"content-type": content_type})

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        reason = not_ready()
        return PlainTextResponse("ready\n") if reason is None else PlainTextResponse(f"{reason}\n", 503)

    async def unknown(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse("this port has /metrics, /healthz and /readyz\n", 404)

    routes = [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]
    return Starlette(routes=routes, exception_handlers={404: unknown})
