"""The API of fingerprints: pages of them, one with the values seen on each side, and what people say of them.

In: what is asked for; a state or a note with its author.  Out: fingerprints.
Holds: reads change nothing; a write is noted for the audit log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.model import Kind, Severity
from shadowdiff.report import Fingerprint, Order, Page, Remarks, Span, State, Wanted, newest_samples
from shadowdiff.report.fingerprints import MOST_OFFSET
from shadowdiff.verdict import compared_pairs
from shadowdiff.web import visit
from shadowdiff.web.asked import decoded, known, named_author, payload
from shadowdiff.web.history import moment
from shadowdiff.web.operation import ApiError, Arguments, Operation, Parameter
from shadowdiff.web.sample_filter import glance_of, place_filter
from shadowdiff.web.seen_values import Seen, seen_values

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.state import WebState

MOST: Final = 200
SEARCHED: Final = 100
"""Of so many samples of a fingerprint, the values are told."""


class Fingerprinted(msgspec.Struct, frozen=True, kw_only=True):
    """A fingerprint, and what each side said at its places, by its samples."""

    fingerprint: Fingerprint
    seen: tuple[Seen, ...]


class NewState(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody makes of a fingerprint."""

    state: State
    author: str = ""


class NewNote(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody writes beside a fingerprint; an empty text takes the note away."""

    text: str
    author: str = ""


async def page_of(state: WebState, target: str, wanted: Wanted) -> Page:
    """Return a page of a target's fingerprints. Raises: ApiError where no target is called so."""
    name = known(state, target).target.name
    return await state.fingerprints.page(name, wanted, await compared_pairs(state.reader, name))


async def fingerprint_of(state: WebState, fingerprint_id: str, span: Span = Span.DAY) -> Fingerprinted:
    """Return a fingerprint with the values seen. Raises: ApiError where there is none of that id."""
    target = await _target_of(state, fingerprint_id)
    compared = await compared_pairs(state.reader, target)
    found = await state.fingerprints.one(target, fingerprint_id, span, compared)
    if found is None:
        raise _unknown(fingerprint_id)
    samples = await newest_samples(state.reader, target, SEARCHED, since_ms=state.since_ms, fingerprint=fingerprint_id)
    return Fingerprinted(fingerprint=found, seen=seen_values(found.places, samples))


async def set_state(state: WebState, fingerprint_id: str, said: NewState) -> Fingerprint:
    """Set a fingerprint's state. Raises: ApiError."""
    author, remarks = named_author(said.author), _remarks(state)
    target = await _target_of(state, fingerprint_id)
    await remarks.set_state(target, fingerprint_id, said.state, author)
    told = {"fingerprint": fingerprint_id, "state": said.state.value, "author": author}
    visit.note("a fingerprint's state was set", target, **told)
    return await _again(state, target, fingerprint_id)


async def set_note(state: WebState, fingerprint_id: str, said: NewNote) -> Fingerprint:
    """Set a fingerprint's note. Raises: ApiError."""
    author, remarks = named_author(said.author), _remarks(state)
    target = await _target_of(state, fingerprint_id)
    note = await remarks.set_note(target, fingerprint_id, said.text, author)
    told = {"fingerprint": fingerprint_id, "note": note.text if note else "", "author": author}
    visit.note("a fingerprint's note was set", target, **told)
    return await _again(state, target, fingerprint_id)


def wanted_of(state: WebState, arguments: Arguments) -> Wanted:
    """Return what the arguments ask for. Raises: ApiError where a time is none."""
    path, now_ms = arguments["path"], state.now_ms()

    def at(name: str) -> int | None:
        return moment(name, arguments[name], now_ms) if arguments[name] else None

    is_at_or_below = place_filter(path) if path else None

    def is_on_path(place: str) -> bool:
        return path.lower() in place.lower() or (is_at_or_below is not None and is_at_or_below(place))

    glance = glance_of(path) if path else ""
    says_all = glance and glance == path.lower() and not arguments["kind"]
    return Wanted(
        order=Order(arguments["sort"]),
        limit=arguments["limit"],
        offset=arguments["offset"],
        route=arguments["route"],
        kind=arguments["kind"],
        severity=Severity(arguments["severity"]) if arguments["severity"] else None,
        state=State(arguments["state"]) if arguments["state"] else None,
        path=is_on_path if path and not says_all else None,
        glance=glance,
        since_ms=at("since"),
        until_ms=at("until"),
        span=Span(arguments["trend"]),
    )


async def _get_page(state: WebState, arguments: Arguments, _request: Request) -> Page:
    return await page_of(state, arguments["target"], wanted_of(state, arguments))


async def _get_one(state: WebState, arguments: Arguments, _request: Request) -> Fingerprinted:
    return await fingerprint_of(state, arguments["id"], Span(arguments["trend"]))


async def _post_state(state: WebState, arguments: Arguments, request: Request) -> Fingerprint:
    return await set_state(state, arguments["id"], decoded(await payload(request), NewState))


async def _post_note(state: WebState, arguments: Arguments, request: Request) -> Fingerprint:
    return await set_note(state, arguments["id"], decoded(await payload(request), NewNote))


async def _target_of(state: WebState, fingerprint_id: str) -> str:
    target = await state.fingerprints.target_of(state.names, fingerprint_id)
    if target is None:
        raise _unknown(fingerprint_id)
    return target


async def _again(state: WebState, target: str, fingerprint_id: str) -> Fingerprint:
    compared = await compared_pairs(state.reader, target)
    found = await state.fingerprints.one(target, fingerprint_id, compared=compared)
    if found is None:
        raise _unknown(fingerprint_id)
    return found


def _unknown(fingerprint_id: str) -> ApiError:
    return ApiError(404, f"no fingerprint is called {fingerprint_id!r}: it was not seen for long, or never")


def _remarks(state: WebState) -> Remarks:
    if state.remarks is None:
        raise ApiError(501, "this service keeps no states and notes")
    return state.remarks


_ID: Final = Parameter(name="id", description="the fingerprint's id", where="path", required=True)
_TREND: Final = Parameter(
    name="trend",
    description="what the trend covers: an hour by minutes, a day or a week by hours",
    default=Span.DAY.value,
    choices=tuple(span.value for span in Span),
)
_WRITES: Final = {
    400: "The body is not what is expected, or names no author",
    403: "Not from here",
    404: "No such fingerprint",
    501: "This service keeps no states and notes",
}


def _one_of(name: str, description: str, choices: Any) -> Parameter:
    return Parameter(name=name, description=description, choices=tuple(choice.value for choice in choices))


FINGERPRINTS: Final[tuple[Operation, ...]] = (
    Operation(
        path="/fingerprints",
        name="fingerprints",
        summary="A target's mismatches, grouped by where they differ: a page, in any order",
        handler=_get_page,
        answer=Page,
        parameters=(
            Parameter(name="target", description="the name of a configured target", required=True),
            Parameter(
                name="sort",
                description="what the greatest of comes first",
                default=Order.LAST_SEEN.value,
                choices=tuple(order.value for order in Order),
            ),
            Parameter(name="limit", description="how many", type="integer", default=50, minimum=1, maximum=MOST),
            Parameter(
                name="offset", description="after how many", type="integer", default=0, minimum=0, maximum=MOST_OFFSET
            ),
            Parameter(name="route", description="only this route, such as `GET /products/{id}`"),
            _one_of("kind", "only with a difference of this kind", Kind),
            _one_of("severity", "only of this severity", Severity),
            _one_of("state", "only in this state", State),
            Parameter(name="path", description="only with a place at or below this path, or that holds this text"),
            Parameter(name="since", description="only last seen since: a time, or `30m`, `6h`, `7d` ago"),
            Parameter(name="until", description="only last seen until, likewise"),
            _TREND,
        ),
        refuses={400: "An argument is missing or wrong", 404: "No such target"},
    ),
    Operation(
        path="/fingerprints/{id}",
        name="fingerprint",
        summary="One fingerprint, with the values that each side gave at its places",
        handler=_get_one,
        answer=Fingerprinted,
        parameters=(_ID, _TREND),
        refuses={400: "An argument is wrong", 404: "No such fingerprint"},
    ),
    Operation(
        path="/fingerprints/{id}/state",
        name="set-fingerprint-state",
        summary="Say what you make of a fingerprint: open, acknowledged, expected or fixed",
        method="POST",
        handler=_post_state,
        body=NewState,
        answer=Fingerprint,
        parameters=(_ID,),
        refuses=_WRITES,
    ),
    Operation(
        path="/fingerprints/{id}/note",
        name="set-fingerprint-note",
        summary="Write a note beside a fingerprint; an empty text takes it away",
        method="POST",
        handler=_post_note,
        body=NewNote,
        answer=Fingerprint,
        parameters=(_ID,),
        refuses=_WRITES,
    ),
)
