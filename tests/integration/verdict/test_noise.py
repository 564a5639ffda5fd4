"""Test noise with a control in a real store: learning, the frozen set, its run, and the exclusions of the verdict."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from shadowdiff.model import Comparison, Difference, Side
from shadowdiff.verdict import Source, StartedBy, read_evidence, runs
from tests.fakes.asgi import Answer, get
from tests.fakes.responses import judged
from tests.fakes.traffic import MATCH, difference, mismatch, observation, pair
from tests.integration.verdict.conftest import TARGET, Process, post, wall_ms

if TYPE_CHECKING:
    from shadowdiff.model import Pair
    from shadowdiff.store import Store

LEARN = 40
_numbers = itertools.count()


@pytest.fixture
async def process(store: Store) -> Process:
    """Return a process with a control that has refreshed its runs once."""
    one = Process(
        store,
        {"coverage": {"eligible": 0, "compared": 0, "ratio": 0.0}},
        noise={"controlled": True, "learn": LEARN, "candidate": "http://v2"},
    )
    await one.runs.refresh()
    return one


def asked() -> Pair:
    """Return a pair of a new request."""
    number = next(_numbers)
    return pair(
        number=number,
        route="GET /",
        candidate=observation(Side.CANDIDATE, path=f"/{number}", at_ms=wall_ms() + 1),
        control=observation(Side.CONTROL, at_ms=wall_ms() + 1),
    )


def noisy(candidate: str | None = None) -> Difference:
    """Return a difference at a path with a new UUID per response."""
    return difference("$['id']", primary=f'"{uuid4()}"', candidate=candidate or f'"{uuid4()}"')


async def learn(process: Process) -> None:
    """Use a control to show that one path always differs, until the set is frozen."""
    for _ in range(LEARN):
        await process.judge_triple(asked(), mismatch(noisy()), mismatch(noisy()))
    await process.runs.refresh()


async def ask(process: Process, action: str) -> Answer:
    """Change the learning state through the API and return the response."""
    return await post(process.app(), f"noise?target={TARGET}", {"action": action, "author": "ada", "reason": "a test"})


async def verdict(process: Process) -> dict[str, Any]:
    """Return the verdict as the API shows it."""
    answer = await get(process.app(), f"/api/v1/verdict?target={TARGET}")
    return answer.json


async def test_learning_is_insufficient(process: Process) -> None:
    """Every difference may be noise."""
    for _ in range(LEARN // 2):
        await process.judge_triple(asked(), mismatch(noisy()), mismatch(noisy()))
    await process.runs.refresh()
    said = await verdict(process)
    assert ("insufficient", "learning") == (said["verdict"], said["insufficient_reason"])
    assert f"{LEARN // 2} of {LEARN} triples" in str(said["reason"])


async def test_learned_set_is_frozen_and_starts_a_run(process: Process) -> None:
    """The set has a version and a source."""
    await learn(process)
    run, noise = await process.runs.current(TARGET), await process.runs.noise(TARGET)
    assert run is not None
    assert noise.state.known is not None
    assert (2, StartedBy.NOISE, "1") == (run.id, run.by, run.noise)
    assert (Source.CONTROL, LEARN, 1) == (
        noise.state.known.source,
        noise.state.known.triples,
        len(noise.state.known.places),
    )
    assert ("$['id']", "value", "uuid") == noise.state.known.places[0].place[1:]


async def test_noise_is_left_out_and_other_differences_count(process: Process) -> None:
    """The stored results do not change."""
    await learn(process)
    for _ in range(30):
        await process.judge_triple(asked(), mismatch(noisy()), mismatch(noisy()))
    for _ in range(30):
        await process.judge_triple(asked(), mismatch(noisy(), difference()), mismatch(noisy()))
    run = await process.runs.current(TARGET)
    assert run is not None
    evidence = await read_evidence(process.store, TARGET, run)
    assert (60, 30, 30) == (evidence.results["mismatch"], evidence.left_out, evidence.mismatches)
    said = await verdict(process)
    assert "fail" == said["verdict"], said["reason"]
    assert "30 of 60 pairs differ" in str(said["reason"])
    assert [{"route": "GET /", "path": "$['price']", "kind": "value", "count": 30}] == said["top"]


@pytest.mark.parametrize("wrong", ['"null"', "null", '"2001-01-01T00:00:00Z"', "17"])
async def test_value_of_another_class_under_a_noisy_path_counts(process: Process, wrong: str) -> None:
    """A UUID that changes to another class of value is not noise."""
    await learn(process)
    for _ in range(30):
        await process.judge_triple(asked(), mismatch(noisy(wrong)), mismatch(noisy()))
    assert "fail" == (await verdict(process))["verdict"]


async def test_constant_of_the_same_class_under_a_noisy_path_is_found(process: Process) -> None:
    """The constant is a UUID that never changes."""
    await learn(process)
    constant = f'"{uuid4()}"'
    for _ in range(80):
        await process.judge_triple(asked(), mismatch(noisy(constant)), mismatch(noisy()))
    said = await verdict(process)
    assert "fail" == said["verdict"]
    assert "is constant in v2" in str(said["reason"])


async def test_a_regression_in_a_page_with_noisy_lines_counts(process: Process) -> None:
    """The control shows that two lines of an HTML page always differ; another line of the page still counts."""
    page = "<main id=list><p>Queries took {} ms</p><h1>Products</h1><p>Served by pod-{}</p></main>"

    def compared_pages(other: str) -> Comparison:
        one = page.format(next(_numbers), f"{next(_numbers):04x}").encode()
        return judged(one, other.encode(), headers=((b"content-type", b"text/html"),))

    def fresh() -> str:
        return page.format(next(_numbers), f"{next(_numbers):04x}")

    for _ in range(LEARN):
        await process.judge_triple(asked(), compared_pages(fresh()), compared_pages(fresh()))
    await process.runs.refresh()
    for _ in range(60):
        await process.judge_triple(asked(), compared_pages(fresh()), compared_pages(fresh()))
    assert "fail" != (await verdict(process))["verdict"]
    for _ in range(60):
        wrong = fresh().replace("<h1>Products", "<h1>Product")
        await process.judge_triple(asked(), compared_pages(wrong), compared_pages(fresh()))
    said = await verdict(process)
    assert "fail" == said["verdict"], said["reason"]
    assert ["html.main#list.h1.text[Products → Product]"] == [top["path"] for top in said["top"]]  # pyright: ignore[reportIndexIssue, reportUnknownVariableType, reportGeneralTypeIssues]


async def test_noise_that_learning_missed_does_not_fail_v2(process: Process) -> None:
    """If v1 differs from itself as often as v2 does, v2 is not blamed."""
    await learn(process)
    for number in range(120):
        other = mismatch(noisy(), difference("$['late']"))
        sides: tuple[Comparison, Comparison] = (other, MATCH) if number % 2 else (MATCH, other)
        await process.judge_triple(asked(), *sides)
    said = await verdict(process)
    assert ("insufficient", "noise") == (said["verdict"], said["insufficient_reason"]), said["reason"]


async def test_burst_of_one_request_counts_as_one_triple(process: Process) -> None:
    """Repeated requests are not independent evidence."""
    await learn(process)
    burst = asked()
    for _ in range(50):
        await process.judge_triple(burst, mismatch(noisy(), difference()), mismatch(noisy()))
    run = await process.runs.current(TARGET)
    assert run is not None
    evidence = await read_evidence(process.store, TARGET, run)
    assert (1, 50, 1) == (evidence.routes[0].triples.all, evidence.mismatches, evidence.routes[0].distinct)


async def test_calibration_learns_from_a_candidate_that_is_v1(store: Store) -> None:
    """Every difference is noise. The set has a source, and applies when calibration stops."""
    process = Process(
        store,
        {"coverage": {"eligible": 0, "compared": 0, "ratio": 0.0}},
        noise={"learn": LEARN, "candidate": "http://v1"},
    )
    await process.runs.refresh()
    began = await ask(process, "calibrate")
    assert 200 == began.status, began.text
    await process.runs.refresh()
    early = await ask(process, "stop")
    assert 409 == early.status
    assert "0 of 40" in early.text
    for _ in range(LEARN):
        for write in process.runs.writes(asked(), mismatch(noisy()), wall_ms()):
            await process.commit(write)
    assert "Calibrating" in str((await verdict(process))["reason"])
    ended = await ask(process, "stop")
    assert 200 == ended.status, ended.text
    await process.runs.refresh()
    for write in process.runs.writes(asked(), mismatch(noisy()), wall_ms()):
        await process.commit(write)
    noise = (await get(process.app(), f"/api/v1/noise?target={TARGET}")).json
    assert ("in force", "calibration", "http://v1", LEARN) == (
        noise["phase"],
        noise["source"],
        noise["candidate"],
        noise["learned_from"],
    )
    assert 1 == (await verdict(process))["noise"]["excluded"]


async def test_restarted_process_uses_the_frozen_set(process: Process) -> None:
    """The process learns nothing again, and all processes exclude the same pairs."""
    await learn(process)
    after = Process(process.store, process.ledger, noise=process.noise)
    await after.runs.refresh()
    await after.judge_triple(asked(), mismatch(noisy()), mismatch(noisy()))
    run = await after.runs.current(TARGET)
    assert run is not None
    evidence = await read_evidence(after.store, TARGET, run)
    assert (2, 1, 0) == (run.id, evidence.left_out, evidence.mismatches)


def rare(member: str = "seq") -> Difference:
    """Return a difference at a place that learning did not find."""
    return difference(f"$['{member}']", primary='"a-b"', candidate='"c-d"')


async def test_noise_that_v1_shows_later_joins_the_set_and_starts_a_run(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set grows once the run has as many triples as it was learned from; a fault of v2 alone never joins."""
    monkeypatch.setattr(runs, "EXTEND_EVERY_MS", 0)
    await learn(process)
    for number in range(LEARN):
        raw = mismatch(noisy(), rare("v2")) if number % 4 == 0 else mismatch(noisy())
        noise = mismatch(noisy(), rare()) if number % 10 == 0 else mismatch(noisy())
        await process.judge_triple(asked(), raw, noise)
        if number == LEARN // 2:
            await process.runs.refresh()
            assert "1" == (await process.runs.noise(TARGET)).state.version, "too few triples so far"
    await process.runs.refresh()
    state = (await process.runs.noise(TARGET)).state
    assert state.known is not None
    assert ["$['id']", "$['seq']"] == sorted(one.path for one in state.known.places)
    assert (2, 2 * LEARN, 0) == (state.known.version, state.known.triples, state.known.checked)
    run = await process.runs.current(TARGET)
    assert run is not None
    assert (3, StartedBy.NOISE, "2") == (run.id, run.by, run.noise)
    assert await process.runs.learn(TARGET, Source.CONTROL, "ada"), "a person can still learn from the start"


async def test_a_noisy_service_passes_by_the_excess_and_forecasts_before(process: Process) -> None:
    """Both sides differ from v1 equally often at many places; while triples are missing, the reason says how many."""
    await learn(process)
    process.covered(2000)

    async def judge(first: int, stop: int) -> dict[str, Any]:
        for number in range(first, stop):
            ours = mismatch(noisy(), rare(f"m{number}")) if number % 10 == 0 else mismatch(noisy())
            theirs = mismatch(noisy(), rare(f"m{number}")) if number % 10 == 5 else mismatch(noisy())
            await process.judge_triple(asked(), ours, theirs)
        return await verdict(process)

    early = await judge(0, 300)
    assert ("insufficient", "noise") == (early["verdict"], early["insufficient_reason"])
    assert "If v2 is equal to v1, about " in early["reason"]
    needed = early["noise"]["triples_needed"]
    assert 400 <= needed <= 1400
    assert early["noise"]["expected_at"] > early["window"]["end"]
    late = await judge(300, 300 + needed + 60)
    assert "pass" == late["verdict"], late["reason"]
    assert late["reason"].startswith("v2 differs at most 5 % more often than v1 differs from itself: only v2 in ")
