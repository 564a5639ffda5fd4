"""Counts over time, for any window that the store still knows.

In: two ends, as times or as so long ago.  Out: `History`, described and never judged: a window that somebody chooses
after having looked has no start that was fixed beforehand, so that no level of confidence holds for it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.verdict import History, read_history
from shadowdiff.web.asked import known
from shadowdiff.web.operation import ApiError, Arguments, Operation, Parameter

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.state import WebState

_AGO: Final = re.compile(r"(\d{1,6})(m|h|d)")
_UNIT_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
MOST_MS: Final = 35 * 86_400_000


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted in a window. `descriptive` is always true: no verdict rests on it."""

    descriptive: bool
    history: History


async def get_history(state: WebState, arguments: Arguments, _request: Request) -> Described:
    """Answer what was counted in a window."""
    view = known(state, arguments["target"])
    now_ms = state.now_ms()
    start_ms, end_ms = moment("since", arguments["since"], now_ms), moment("until", arguments["until"], now_ms)
    check_window(start_ms, end_ms, now_ms)
    history = await read_history(
        state.reader, view.target.name, start_ms, end_ms, now_ms, fold=state.fold(view.target.name)
    )
    return Described(descriptive=True, history=history)


def check_window(start_ms: int, end_ms: int, now_ms: int) -> None:
    """Let a window through that the store may still know. Raises: ApiError, saying what would be right."""
    if not now_ms - MOST_MS <= start_ms < end_ms <= now_ms + _UNIT_MS["m"]:
        raise ApiError(400, "give a `since` within the last 35 days, and an `until` after it and not in the future")


def moment(name: str, text: str, now_ms: int) -> int:
    """Return a moment in Unix milliseconds. Raises: ApiError, naming the parameter."""
    ago = _AGO.fullmatch(text)
    if ago:
        return now_ms - int(ago[1]) * _UNIT_MS[ago[2]]
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))  # a + in a query arrives as a blank
    except ValueError:
        raise ApiError(
            400, f"parameter {name!r} is {text!r}: give a time such as 2026-03-01T10:00:00Z, or 30m, 6h, 7d ago"
        ) from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


HISTORY: Final = Operation(
    path="/history",
    name="history",
    summary="Counts over time in any window: by minute for six hours, by hour for 35 days; described, never judged",
    handler=get_history,
    answer=Described,
    parameters=(
        Parameter(name="target", description="the name of a configured target", required=True),
        Parameter(name="since", description="where the window begins: a time, or `30m`, `6h`, `7d` ago", default="1h"),
        Parameter(name="until", description="where it ends, likewise", default="0m"),
    ),
    refuses={400: "An argument is missing or wrong", 404: "No such target"},
)
