"""Test `noise`, `calibrate` and `rules suggest` against an API that responds as the service does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from shadowdiff.cli import main
from shadowdiff.queries.runs import NoiseAction, NoiseReport
from shadowdiff.verdict import Cells, PlaceFinding, Source
from shadowdiff.web import create_web
from tests.fakes.serving import served
from tests.fakes.shop import open_shop, web_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

REPORT = NoiseReport(
    target="shop",
    phase="in force",
    learned=0,
    learn=1000,
    version=3,
    source=Source.CONTROL,
    frozen_at="2026-03-01T10:00:00.000Z",
    learned_from=1000,
    checked=500,
    missed=1,
    excluded=40,
    triples=120,
    places=[
        PlaceFinding(
            route="GET /",
            path="$['id']",
            kind="value",
            change="uuid",
            state="constant",
            triples=120,
            cells=Cells(both=120),
        )
    ],
)
_asked: list[NoiseAction] = []


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve a noise report, and record the requests."""

    async def noise(request: Request) -> Response:
        if request.method == "POST":
            _asked.append(msgspec.json.decode(await request.body(), type=NoiseAction))
        return Response(msgspec.json.encode(REPORT), media_type="application/json")

    with served(Starlette(routes=[Route("/api/v1/noise", noise, methods=["GET", "POST"])])) as address:
        yield address


def _run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--url", url])


def test_the_noise_set_is_shown_with_its_evidence(url: str) -> None:
    """The output has the source of the noise set, its exclusions, and the effect at each path."""
    said = _run(url, "noise", "show", "--target", "shop").output
    assert "set 3, from 1,000 (control" in said
    assert "40 pairs; this run has 120 triples" in said
    assert "constant" in said
    assert "only v2 differs in 0, only the control in 0, both in 120" in said


@pytest.mark.parametrize(
    ("command", "action"),
    [
        (("noise", "learn"), "learn"),
        (("noise", "forget"), "forget"),
        (("calibrate", "start"), "calibrate"),
        (("calibrate", "stop"), "stop"),
    ],
)
def test_a_change_is_sent_with_a_name_and_a_reason(url: str, command: tuple[str, str], action: str) -> None:
    """The author is the user of this machine."""
    done = _run(url, *command, "--target", "shop", "--reason", "before 2.0")
    assert 0 == done.exit_code, done.output
    assert (action, "before 2.0") == (_asked[-1].action, _asked[-1].reason)
    assert _asked[-1].author


def test_a_shop_whose_faults_are_no_habits_gets_no_suggestion() -> None:
    """The command prints the number of samples that it examined."""
    with served(create_web(web_parts(open_shop()))) as address:
        done = _run(address, "rules", "suggest", "--target", "shop")
    assert 0 == done.exit_code, done.output
    assert "no suggestions from" in done.output
