"""What the demo says when it is stopped."""

from __future__ import annotations

import asyncio
from io import StringIO
from typing import TYPE_CHECKING, Any, cast

import pytest
from rich.console import Console

from shadowdiff.demo.api import Ledger, PathCount, Route, Target, Verdict
from shadowdiff.demo.leave import READ_ON, farewell, lines
from shadowdiff.demo.process import DemoError
from shadowdiff.demo.traffic import Tally

if TYPE_CHECKING:
    from shadowdiff.demo.scene import Scene

PRICE = PathCount("$['price']['amount']", "value", 25)
STOCK = PathCount("$['stock']['count']", "type", 40)


def _ledger(**pairs: int) -> Ledger:
    counted = {"ready": 0, "match": 0, "ignored": 0, "mismatch": 0, "incomparable": 0, "pending": 0} | pairs
    return Ledger(balanced=True, mirrored={}, recorded={}, observations={}, pairs=counted, coverage={"ratio": 0.998})


FOUND = Target(
    [Route("GET /products/{id}", {"match": 5, "ignored": 1200, "mismatch": 95}, [PRICE, STOCK])],
    Verdict("fail", "too many differ", 0.073),
)
NOTHING = Target([], Verdict("insufficient", "no pair was compared yet"))


def test_the_verdict_the_figures_and_the_places_are_said() -> None:
    """What most pairs differ in comes first."""
    assert [
        "FAIL: too many differ",
        "95 of 1,300 pairs differ, coverage 99.8%, books balanced; most often:",
        "  40 pairs of GET /products/{id}: stock.count, type",
        "  25 pairs of GET /products/{id}: price.amount, value",
        READ_ON,
    ] == lines(_ledger(ready=1303, pending=3, match=5, ignored=1200, mismatch=95), FOUND)


def test_what_the_reason_says_is_not_said_twice() -> None:
    """A failing verdict names the pairs itself."""
    told = Target([], Verdict("fail", "95 of 1,300 pairs differ (7.31%), 0.1% is allowed", 0.073))
    assert "coverage 99.8%, books balanced" == lines(_ledger(ready=1300, match=1205, mismatch=95), told)[1]


def test_nothing_compared_is_said() -> None:
    """Whoever stops at once learns that, and not a verdict on nothing."""
    assert ["nothing was compared yet", READ_ON] == lines(_ledger(), NOTHING)


class _Api:
    """Plays the service's API; `gone`: it gives no answer."""

    def __init__(self, *, gone: bool) -> None:
        self._gone = gone

    async def ledger(self) -> Ledger:
        if self._gone:
            raise DemoError("http://127.0.0.1:8082 gave no answer")
        return _ledger(ready=1300, match=1205, mismatch=95)

    async def target(self) -> Target:
        return FOUND


class _Child:
    alive = True


class _Scene:
    """Plays the scene."""

    def __init__(self, *, gone: bool = False, alive: bool = True) -> None:
        self.api, child = _Api(gone=gone), _Child()
        child.alive = alive
        self.children = [child]


async def _stopped(scene: _Scene) -> str:
    """Return what is said where the block is cancelled."""
    out = StringIO()

    async def play() -> None:
        async with farewell(cast("Scene", cast("Any", scene)), Tally(sent=1300, answered=1300), Console(file=out)):
            _ = await asyncio.Event().wait()

    task = asyncio.ensure_future(play())
    await asyncio.sleep(0)
    _ = task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return out.getvalue()


async def test_who_is_stopped_says_what_was_seen() -> None:
    """While everything still runs, and the cancellation goes on up."""
    said = await _stopped(_Scene())
    assert "stopped: 1,300 requests sent" in said
    assert "FAIL: too many differ" in said


async def test_a_service_that_is_gone_holds_nothing_up() -> None:
    """One line says so."""
    assert "says nothing any more: http://127.0.0.1:8082 gave no answer" in (await _stopped(_Scene(gone=True))).replace(
        "\n", " "
    )


async def test_a_demo_that_failed_says_only_why() -> None:
    """A part that ended by itself is told by the error."""
    assert "" == await _stopped(_Scene(alive=False))
