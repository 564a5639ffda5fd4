"""From v1's answers to compared pairs, as the API tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.verdict import Funnel, funnel, read_counts
from shadowdiff.web.operation import ApiError, Arguments, Operation, Parameter

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.state import WebState


async def get_funnel(state: WebState, arguments: Arguments, _request: Request) -> Funnel:
    """Answer what was lost where, and why."""
    name = arguments["target"]
    if state.target(name) is None:
        raise ApiError(404, f"no target is called {name!r}: configured are {', '.join(state.names) or 'none'}")
    counts = await read_counts(state.reader, name)
    return funnel(await state.ledger(name), counts.routes)


FUNNEL: Final = Operation(
    path="/funnel",
    name="funnel",
    summary="From v1's answers to compared pairs: what was lost at which step, and why; the sums are the ledger's",
    handler=get_funnel,
    answer=Funnel,
    parameters=(Parameter(name="target", description="the name of a configured target", required=True),),
    refuses={400: "An argument is missing", 404: "No such target"},
)
