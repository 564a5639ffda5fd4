"""What is wrong, as an operation of the API and as a page.

In: the state's diagnosis.  Out: its findings as JSON; for the page, the same with names for people.
Holds: reads only.  The API answers 200 whatever was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.doctor import Diagnosis
from shadowdiff.web.asked import known
from shadowdiff.web.operation import ApiError, Arguments, Operation, Parameter

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.state import WebState


async def get_doctor(state: WebState, arguments: Arguments, _request: Request) -> Diagnosis:
    """Answer what keeps the targets, or one, from being compared."""
    return await diagnosis_of(state, arguments["target"])


async def diagnosis_of(state: WebState, name: str | None) -> Diagnosis:
    """Return the diagnosis of one target or of all. Raises: ApiError, where there is no such target."""
    if name is not None:
        known(state, name)
    if state.diagnosis is None:
        raise ApiError(503, "no evidence is gathered here: ask a shadowdiff that runs with `shadowdiff serve`")
    return await state.diagnosis(name)


OPERATION: Final = Operation(
    path="/doctor",
    name="doctor",
    summary="Why nothing pairs: each cause with two halves side by side and the way out; none when all is well",
    handler=get_doctor,
    answer=Diagnosis,
    parameters=(Parameter(name="target", description="only this target; left out: all of them"),),
    refuses={404: "No such target", 503: "Nobody gathers evidence here"},
)
