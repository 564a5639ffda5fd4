"""Erase data by request id, path value or secret: the API operation and the page.

An erasure is audited without the erased value, also if it fails half-way. A dry run only counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.erasure.erasure import KINDS, Erasure, ErasureRequest
from shadowdiff.queries.errors import RequestError
from shadowdiff.store import STORE_ERRORS
from shadowdiff.web.operation import Arguments, Operation
from shadowdiff.web.request_context import Change, author_of, current_request, read_form, read_json

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from shadowdiff.web.layout import Layout, WebParts

_REASON_CHARS: Final = 1000


async def erase(web: WebParts, request: ErasureRequest) -> Erasure:
    """Erase data, or count it in a dry run. Audit an erasure. Raises: RequestError, STORE_ERRORS."""
    if request.target:
        web.queries.target(request.target)
    if web.eraser is None or web.audit is None:
        raise RequestError(501, "this service cannot erase data")
    context, matcher = current_request(), web.eraser.matcher(request)
    author, reason = (matcher.hide(text) for text in (author_of(request.author), request.reason.strip()))
    if not request.dry_run and not (author and reason):
        raise RequestError(400, "an erasure needs an author and a reason, so that others know whom to ask")
    visible = web.queries.names
    target = request.target or (visible[0] if len(visible) == 1 else "")
    details: dict[str, Any] = {
        "by": next(kind for kind in KINDS if getattr(request, kind).strip()).replace("_", " "),
        "author": author,
        "reason": reason[:_REASON_CHARS],
    }
    context.changed_nothing = request.dry_run
    try:
        found = await web.eraser.run(request, matcher)
        entries = await web.audit.erase(matcher.hide, dry_run=request.dry_run)
    except STORE_ERRORS:
        if not request.dry_run:
            await web.audit.note(context, Change("erasure failed", target, details))
        raise
    found = msgspec.structs.replace(found, audit_entries=entries)
    counts = {name: number for name, number in msgspec.structs.asdict(found).items() if type(number) is int and number}
    context.change = None if request.dry_run else Change("data erased", target, details | counts)
    return found


async def _post_erasure(web: WebParts, _given: Arguments, request: Request) -> Erasure:
    return await erase(web, await read_json(request, ErasureRequest))


async def show_erase(layout: Layout, _request: Request) -> Response:
    """Return the form."""
    return await _page(layout, {})


async def change_erase(layout: Layout, request: Request) -> Response:
    """Preview an erasure, or erase, depending on the form."""
    given: dict[str, str] = {}
    try:
        given = await read_form(request)
        found = await erase(layout.web, _request(given))
    except RequestError as error:
        return await _page(layout, given, error.status, error=error.message)
    return await _page(layout, given if found.dry_run else {}, found=found)


def _request(given: dict[str, str]) -> ErasureRequest:
    kind, do = given.get("kind", ""), given.get("do", "")
    if kind not in KINDS or do not in {"preview", "erase"}:
        raise RequestError(400, f"kind is {kind!r} and `do` is {do!r}: use one of {', '.join(KINDS)}; preview or erase")
    fields = {name: given.get(name, "") for name in ("target", "author", "reason")}
    return ErasureRequest(**{kind: given.get("value", "")}, **fields, dry_run=do == "preview")


async def _page(
    layout: Layout, given: dict[str, str], status: int = 200, *, found: Erasure | None = None, error: str = ""
) -> Response:
    return await layout.html(
        "erase.html",
        status,
        given=dict.fromkeys(("kind", "value", "target", "author", "reason"), "") | given,
        names=layout.queries.names,
        kinds={"request_id": "request id", "path_value": "value in a path", "secret_hash": "hash of a secret"},
        found=found,
        error=error,
        writable=layout.web.eraser is not None,
    )


ERASURE_OPERATIONS: Final = (
    Operation(
        "/erasures",
        "Erase stored data that carries a request id, a value of a path, or a secret; with `dry_run`, only count it",
        _post_erasure,
        Erasure,
        method="POST",
        body=ErasureRequest,
        name="erase",
        refuses={
            400: "The body is invalid, or the author or the reason is missing",
            403: "Not from here",
            404: "There is no such target",
            501: "This service cannot erase data",
            503: "Another erasure is running",
        },
    ),
)
