"""Test the output of the demo when it is stopped."""

from __future__ import annotations

import asyncio
from io import StringIO
from typing import TYPE_CHECKING, Any, cast

import pytest
from rich.console import Console

from shadowdiff.demo.api import Ledger, PathCount, Route, Target, Verdict
from shadowdiff.demo.process import DemoError
from shadowdiff.demo.terminal import NEXT_STEPS, print_result_on_stop, result_lines
from shadowdiff.demo.traffic import UserCounts

if TYPE_CHECKING:
    from shadowdiff.demo.environment import Environment

PRICE = PathCount("$['price']['amount']", "value", 25)
STOCK = PathCount("$['stock']['count']", "type", 40)


def _ledger(**pairs: int) -> Ledger:
    counted = {"ready": 0, "match": 0, "ignored": 0, "mismatch": 0, "incomparable": 0, "pending": 0} | pairs
    return Ledger(balanced=True, mirrored={}, recorded={}, observations={}, pairs=counted, coverage={"ratio": 0.998})


FOUND = Target(
    [Route("GET /products/{id}", {"match": 5, "ignored": 1200, "mismatch": 95}, [PRICE, STOCK])],
    Verdict("fail", "too many differ", 0.073),
)
NOTHING = Target([], Verdict("insufficient", "No pairs compared yet."))


def test_the_verdict_the_figures_and_the_paths_are_printed() -> None:
    """The most frequent difference comes first."""
    assert [
        "FAIL: too many differ",
        "95 of 1,300 pairs differ, coverage 99.8\u202f%, all requests accounted for; most frequent:",
        "  40 pairs of GET /products/{id}: type of stock.count differs",
        "  25 pairs of GET /products/{id}: price.amount differs",
        NEXT_STEPS,
    ] == result_lines(_ledger(ready=1303, pending=3, match=5, ignored=1200, mismatch=95), FOUND)


def test_the_reason_is_not_repeated() -> None:
    """A failing verdict already has the reason."""
    target = Target([], Verdict("fail", "95 of 1,300 pairs differ: at least 5.5 %, limit 0.1 %.", 0.073))
    assert (
        "coverage 99.8\u202f%, all requests accounted for"
        == result_lines(_ledger(ready=1300, match=1205, mismatch=95), target)[1]
    )


def test_nothing_compared_is_reported() -> None:
    """A demo that is stopped immediately prints no verdict."""
    assert ["nothing compared yet", NEXT_STEPS] == result_lines(_ledger(), NOTHING)


class _Api:
    """A fake of the service's API; with `gone` it does not respond."""

    def __init__(self, *, gone: bool) -> None:
        self._gone = gone

    async def ledger(self) -> Ledger:
        if self._gone:
            raise DemoError("http://127.0.0.1:8082 did not respond")
        return _ledger(ready=1300, match=1205, mismatch=95)

    async def target(self) -> Target:
        return FOUND


class _Child:
    alive = True


class _Environment:
    """A fake of the demo's environment."""

    def __init__(self, *, gone: bool = False, alive: bool = True) -> None:
        self.api, child = _Api(gone=gone), _Child()
        child.alive = alive
        self.children = [child]


async def _stopped(environment: _Environment) -> str:
    """Return the output when the block is cancelled."""
    out = StringIO()

    async def play() -> None:
        async with print_result_on_stop(
            cast("Environment", cast("Any", environment)), UserCounts(sent=1300, answered=1300), Console(file=out)
        ):
            _ = await asyncio.Event().wait()

    task = asyncio.ensure_future(play())
    await asyncio.sleep(0)
    _ = task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return out.getvalue()


async def test_a_stopped_demo_prints_its_result() -> None:
    """The demo prints its result while everything still runs, and raises the cancellation again."""
    printed = await _stopped(_Environment())
    assert "stopped: 1,300 requests sent" in printed
    assert "FAIL: too many differ" in printed


async def test_a_service_that_does_not_respond_delays_nothing() -> None:
    """One line reports that the service does not respond."""
    assert "does not respond: http://127.0.0.1:8082 did not respond" in (
        await _stopped(_Environment(gone=True))
    ).replace("\n", " ")


async def test_a_failed_demo_prints_only_the_error() -> None:
    """The error names the part that exited."""
    assert "" == await _stopped(_Environment(alive=False))
