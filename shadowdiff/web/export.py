"""A sample's difference in forms that other tools read.

In: a sample's id and a form.  Out: an RFC 6902 patch, or DeepDiff's own report.
Holds: only two JSON bodies that were kept whole can be told so; of others it says why not.  Laid out in a thread.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from shadowdiff.compare import NotExportableError, NotJsonError, deep_diff, json_patch, parse_exact
from shadowdiff.report import sample
from shadowdiff.web.operation import ApiError, Arguments, Operation, Parameter

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.report import Body, Sample
    from shadowdiff.web.state import WebState

FORMS: Final = ("patch", "deepdiff")


async def get_export(state: WebState, arguments: Arguments, _request: Request) -> Response:
    """Answer one sample's difference."""
    found = await sample(state.reader, arguments["id"], since_ms=state.since_ms)
    if found is None:
        raise ApiError(404, f"no sample is called {arguments['id']!r}: it expired, or newer ones took its place")
    async with state.previews:
        text = await asyncio.to_thread(exported, found, arguments["form"])
    return Response(text, media_type="application/json")


def exported(found: Sample, form: str) -> str:
    """Return the difference as JSON text. Raises: ApiError where the bodies cannot be told so."""
    try:
        one, other = (parse_exact(_whole(side.body)) for side in (found.primary, found.candidate))
        return json_patch(one, other) if form == "patch" else deep_diff(one, other)
    except (NotJsonError, NotExportableError) as error:
        raise ApiError(422, f"{form} is for two JSON bodies: {error}") from error


def _whole(body: Body) -> bytes:
    if body.truncated or body.base64:
        raise ApiError(422, "a body was cut short, or is no text: the sample itself holds what was kept")
    return body.text.encode("utf-8", "surrogatepass")


EXPORT: Final = Operation(
    path="/samples/{id}/export",
    name="export-sample",
    summary="One pair's difference for other tools: an RFC 6902 patch from v1's body to v2's, or DeepDiff's report",
    handler=get_export,
    answer=list[Any] | dict[str, Any],
    parameters=(
        Parameter(name="id", description="the sample's id", where="path", required=True),
        Parameter(name="form", description="patch, or deepdiff", default="patch", choices=FORMS),
    ),
    refuses={400: "An argument is wrong", 404: "No such sample, or no longer", 422: "The bodies are not both JSON"},
)
