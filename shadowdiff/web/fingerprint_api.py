"""API operations on fingerprints: list them, read one with its values, and set its state or note."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Kind, Severity
from shadowdiff.queries import fingerprints
from shadowdiff.queries.samples import common_text, path_filter
from shadowdiff.queries.window_totals import parse_time
from shadowdiff.report import Fingerprint, FingerprintQuery, Order, Page, Span, State
from shadowdiff.report.fingerprints import MOST_OFFSET
from shadowdiff.web.operation import TARGET, WRONG, Arguments, Operation, Parameter, limit_parameter
from shadowdiff.web.request_context import audit, read_json, required_author

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.layout import WebParts


class NewState(msgspec.Struct, frozen=True, kw_only=True):
    """A new state for a fingerprint."""

    state: State
    author: str = ""


class NewNote(msgspec.Struct, frozen=True, kw_only=True):
    """A new note for a fingerprint; an empty text removes the note."""

    text: str
    author: str = ""


async def set_state(web: WebParts, fingerprint_id: str, new: NewState) -> Fingerprint:
    """Set a fingerprint's state, and audit it. Raises: RequestError."""
    author = required_author(new.author)
    found = await fingerprints.FingerprintTriage(web.queries, web.triage).set_state(fingerprint_id, new.state, author)
    audit("fingerprint state set", found.target, fingerprint=found.id, state=new.state.value, author=author)
    return found


async def set_note(web: WebParts, fingerprint_id: str, new: NewNote) -> Fingerprint:
    """Set a fingerprint's note, and audit it. Raises: RequestError."""
    author = required_author(new.author)
    found = await fingerprints.FingerprintTriage(web.queries, web.triage).set_note(fingerprint_id, new.text, author)
    note = found.note.text if found.note else ""
    audit("fingerprint note set", found.target, fingerprint=found.id, note=note, author=author)
    return found


def fingerprint_query(arguments: Arguments, now_ms: int) -> FingerprintQuery:
    """Return the query that the arguments describe. Raises: RequestError if a time is invalid."""
    path: str = arguments["path"] or ""
    common, is_at_or_below = common_text(path), path_filter(path)
    needs_filter = path and (common != path.lower() or arguments["kind"])

    def at(name: str) -> int | None:
        return parse_time(name, arguments[name], now_ms) if arguments[name] else None

    return FingerprintQuery(
        order=Order(arguments["sort"]),
        limit=arguments["limit"],
        offset=arguments["offset"],
        route=arguments["route"],
        kind=arguments["kind"],
        severity=Severity(arguments["severity"]) if arguments["severity"] else None,
        state=State(arguments["state"]) if arguments["state"] else None,
        path=(lambda one: path.lower() in one.lower() or is_at_or_below(one)) if needs_filter else None,
        glance=common,
        since_ms=at("since"),
        until_ms=at("until"),
        span=Span(arguments["trend"]),
    )


async def _post_state(web: WebParts, given: Arguments, request: Request) -> Fingerprint:
    return await set_state(web, given["id"], await read_json(request, NewState))


async def _post_note(web: WebParts, given: Arguments, request: Request) -> Fingerprint:
    return await set_note(web, given["id"], await read_json(request, NewNote))


_ID: Final = Parameter("id", "the fingerprint's id", where="path", required=True)
_TREND: Final = Parameter(
    "trend",
    "the time that the trend covers: an hour (one count per minute), a day or a week (one count per hour)",
    choices=tuple(Span),
    default=Span.DAY,
)
PAGE_PARAMETERS: Final = (
    TARGET,
    Parameter("sort", "what to sort by; the greatest value is first", choices=tuple(Order), default=Order.LAST_SEEN),
    limit_parameter("maximum number of fingerprints", default=50, maximum=fingerprints.MAX_PAGE),
    Parameter("offset", "how many fingerprints to skip", type="integer", default=0, minimum=0, maximum=MOST_OFFSET),
    Parameter("route", "return only fingerprints of this route, such as `GET /products/{id}`"),
    Parameter("kind", "return only fingerprints with a difference of this kind", choices=tuple(Kind)),
    Parameter("severity", "return only fingerprints of this severity", choices=tuple(Severity)),
    Parameter("state", "return only fingerprints in this state", choices=tuple(State)),
    Parameter("path", "return only fingerprints with a path at or below this one, or that contains this text"),
    Parameter("since", "return only fingerprints last seen after this time, or within an age such as 30m, 6h or 7d"),
    Parameter("until", "return only fingerprints last seen before this time, or before an age such as 30m, 6h or 7d"),
    _TREND,
)
_WRITE_ERRORS: Final = {
    400: "The body is invalid, or has no author",
    403: "The caller's role, address or origin does not allow this",
    404: "There is no such fingerprint",
    501: "This service does not store states and notes",
}

FINGERPRINT_OPERATIONS: Final = (
    Operation(
        "/fingerprints",
        "One page of a target's fingerprints: its mismatches, grouped by the places that differ",
        lambda web, given, _: fingerprints.fingerprint_page(
            web.queries, given["target"], fingerprint_query(given, web.queries.now_ms())
        ),
        Page,
        PAGE_PARAMETERS,
        refuses=WRONG,
    ),
    Operation(
        "/fingerprints/{id}",
        "One fingerprint, with the values of v1 and v2 at its places",
        lambda web, given, _: fingerprints.fingerprint_detail(web.queries, given["id"], Span(given["trend"])),
        fingerprints.FingerprintDetail,
        (_ID, _TREND),
        name="fingerprint",
        refuses={400: "An argument is wrong", 404: "There is no such fingerprint"},
    ),
    Operation(
        "/fingerprints/{id}/state",
        "Set a fingerprint's state: open, acknowledged, expected or fixed",
        _post_state,
        Fingerprint,
        (_ID,),
        method="POST",
        body=NewState,
        name="set-fingerprint-state",
        refuses=_WRITE_ERRORS,
    ),
    Operation(
        "/fingerprints/{id}/note",
        "Set a fingerprint's note; an empty text removes the note",
        _post_note,
        Fingerprint,
        (_ID,),
        method="POST",
        body=NewNote,
        name="set-fingerprint-note",
        refuses=_WRITE_ERRORS,
    ),
)
