"""The page of the books: where every request and every observation went, and whether the sums are right.

In: a target's name, or none for all of them in a list.  Out: HTML.
Holds: reads only; the numbers are the ledger's own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.routing import Route

from shadowdiff.model import UNKNOWN_TARGET
from shadowdiff.web.layout import every_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from shadowdiff.web.layout import Layout
    from shadowdiff.web.state import WebState


class Row(NamedTuple):
    """A row of the books: what came, and where it went; `short` by how much the parts miss the whole."""

    name: str
    whole_name: str
    whole: int
    parts: list[tuple[str, int]]
    short: int


class LedgerPage:
    """The page of the books."""

    def __init__(self, state: WebState, layout: Layout) -> None:
        self._state = state
        self._layout = layout

    def routes(self) -> list[Route]:
        """Return the route of the page."""
        return [Route("/ledger", self.show, methods=["GET"], name="ledger-page")]

    async def show(self, request: Request) -> Response:
        """Answer the books of one target, or whether those of each balance."""
        name = request.query_params.get("target")
        names = [*self._state.names, UNKNOWN_TARGET]
        if name and name not in names:
            raise HTTPException(404, f"No target is called {name!r}.")
        chosen = name or (names[0] if len(names) == 2 else None)  # noqa: PLR2004 - one target, and what is of none
        ledgers = await asyncio.gather(*(self._state.ledger(one) for one in ([chosen] if chosen else names)))
        return await self._layout.html(
            "ledger.html",
            names=names,
            chosen=chosen,
            unknown=UNKNOWN_TARGET,
            ledgers=ledgers,
            rows=rows(ledgers[0]) if chosen else [],
            live=every_s(request),
        )


_WHOLES = {"mirrored": "received", "recorded": "received", "pairs": "ready"}


def rows(ledger: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a ledger, each with what came and where it went."""
    made = [_row(name, whole, ledger.get(name, {})) for name, whole in _WHOLES.items()]
    sides = [_row(f"observations of {side}", "parked", parts) for side, parts in ledger.get("observations", {}).items()]
    return [row for row in [*made[:2], *sides, made[2]] if row.whole or any(number for _, number in row.parts)]


def _row(name: str, whole: str, numbers: Mapping[str, int]) -> Row:
    parts = [(part, number) for part, number in numbers.items() if part != whole]
    total = numbers.get(whole, 0)
    return Row(name, whole, total, parts, total - sum(number for _, number in parts))
