"""API operations on causes: list them, read one with its values, and set its state or note."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Kind, Severity
from shadowdiff.model.relation import relation_names
from shadowdiff.queries import causes
from shadowdiff.queries.cause_detail import CauseDetail, CauseTriage, cause_detail
from shadowdiff.queries.causes import Cause, CauseOrder, CausePage, CauseQuery, RunScope
from shadowdiff.queries.samples import path_filter
from shadowdiff.queries.window_totals import parse_time
from shadowdiff.report import Span, State
from shadowdiff.web.operation import TARGET, WRONG, Arguments, Operation, Parameter, limit_parameter
from shadowdiff.web.request_context import audit, read_json, required_author

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.layout import WebParts


class NewCauseState(msgspec.Struct, frozen=True, kw_only=True):
    """A new state for a cause."""

    state: State
    author: str = ""


class NewCauseNote(msgspec.Struct, frozen=True, kw_only=True):
    """A new note for a cause; an empty text removes the note."""

    text: str
    author: str = ""


async def set_cause_state(web: WebParts, cause_id: str, new: NewCauseState) -> Cause:
    """Set a cause's state, and audit it. Raises: RequestError."""
    author = required_author(new.author)
    found = await CauseTriage(web.queries, web.triage).set_state(cause_id, new.state, author)
    audit("cause state set", found.target, cause=found.id, state=new.state.value, author=author)
    return found


async def set_cause_note(web: WebParts, cause_id: str, new: NewCauseNote) -> Cause:
    """Set a cause's note, and audit it. Raises: RequestError."""
    author = required_author(new.author)
    found = await CauseTriage(web.queries, web.triage).set_note(cause_id, new.text, author)
    note = found.note.text if found.note else ""
    audit("cause note set", found.target, cause=found.id, note=note, author=author)
    return found


def cause_query(arguments: Arguments, now_ms: int) -> CauseQuery:
    """Return the query that the arguments describe. Raises: RequestError if a time is invalid."""
    path: str = arguments["path"] or ""
    is_at_or_below = path_filter(path)

    def at(name: str) -> int | None:
        return parse_time(name, arguments[name], now_ms) if arguments[name] else None

    return CauseQuery(
        order=CauseOrder(arguments["sort"]),
        limit=arguments["limit"],
        offset=arguments["offset"],
        route=arguments["route"],
        kind=arguments["kind"],
        relation=arguments["relation"],
        severity=Severity(arguments["severity"]) if arguments["severity"] else None,
        state=State(arguments["state"]) if arguments["state"] else None,
        path=(lambda one: path.lower() in one.lower() or is_at_or_below(one)) if path else None,
        since_ms=at("since"),
        until_ms=at("until"),
        only_new=arguments["new"] == "yes",
        span=Span(arguments["trend"]) if arguments["trend"] else None,
        scope=RunScope(arguments["run"]),
    )


async def _post_state(web: WebParts, given: Arguments, request: Request) -> Cause:
    return await set_cause_state(web, given["id"], await read_json(request, NewCauseState))


async def _post_note(web: WebParts, given: Arguments, request: Request) -> Cause:
    return await set_cause_note(web, given["id"], await read_json(request, NewCauseNote))


_ID: Final = Parameter("id", "the cause's id, or an id that it had before", where="path", required=True)
_RUN: Final = Parameter(
    "run",
    "the pairs that count: those of the current run, or of all runs that are still stored",
    choices=tuple(RunScope),
    default=RunScope.CURRENT,
)
_TREND: Final = Parameter(
    "trend",
    "the time that the trend covers: an hour (one count per minute), a day or a week (one count per hour)",
    choices=tuple(Span),
)
CAUSE_PARAMETERS: Final = (
    TARGET,
    Parameter("sort", "what to sort by; the greatest value is first", choices=tuple(CauseOrder), default="pairs"),
    limit_parameter("maximum number of causes", default=50, maximum=causes.MAX_PAGE),
    Parameter("offset", "how many causes to skip", type="integer", default=0, minimum=0, maximum=causes.MOST_OFFSET),
    Parameter("route", "return only causes on this route, such as `GET /products/{id}`"),
    Parameter("kind", "return only causes of this kind of difference", choices=tuple(Kind)),
    Parameter("relation", "return only causes with this relation", choices=("other", *relation_names(-1))),
    Parameter("severity", "return only causes of this severity", choices=tuple(Severity)),
    Parameter("state", "return only causes in this state", choices=tuple(State)),
    Parameter("path", "return only causes with a path at or below this one, or that contains this text"),
    Parameter("since", "return only causes last seen after this time, or within an age such as 30m, 6h or 7d"),
    Parameter("until", "return only causes last seen before this time, or before an age such as 30m, 6h or 7d"),
    Parameter("new", "return only causes that are new since v2's current revision", choices=("yes",)),
    _RUN,
    _TREND,
)
_WRITE_ERRORS: Final = {
    400: "The body is invalid, or has no author",
    403: "The caller's role, address or origin does not allow this",
    404: "There is no such cause",
    501: "This service does not store states and notes",
}

CAUSE_OPERATIONS: Final = (
    Operation(
        "/causes",
        "One page of a target's causes: the same change at the same place, over all routes",
        lambda web, given, _: causes.cause_page(web.queries, given["target"], cause_query(given, web.queries.now_ms())),
        CausePage,
        CAUSE_PARAMETERS,
        refuses=WRONG,
    ),
    Operation(
        "/causes/{id}",
        "One cause, with the values of v1 and v2 at its places",
        lambda web, given, _: cause_detail(
            web.queries, given["id"], Span(given["trend"] or Span.DAY), RunScope(given["run"])
        ),
        CauseDetail,
        (_ID, _RUN, _TREND),
        name="cause",
        refuses={400: "An argument is wrong", 404: "There is no such cause"},
    ),
    Operation(
        "/causes/{id}/state",
        "Set a cause's state: open, acknowledged, expected or fixed",
        _post_state,
        Cause,
        (_ID,),
        method="POST",
        body=NewCauseState,
        name="set-cause-state",
        refuses=_WRITE_ERRORS,
    ),
    Operation(
        "/causes/{id}/note",
        "Set a cause's note; an empty text removes the note",
        _post_note,
        Cause,
        (_ID,),
        method="POST",
        body=NewCauseNote,
        name="set-cause-note",
        refuses=_WRITE_ERRORS,
    ),
)
