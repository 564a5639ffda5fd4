"""Noise by control over a real store: learning, the frozen set, its epoch, and what the verdict leaves out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from shadowdiff.model import Comparison, Difference, Side
from shadowdiff.verdict import OpenedBy, Source, read_evidence
from tests.fakes.asgi import Answer, get
from tests.fakes.traffic import MATCH, difference, mismatch, observation, pair
from tests.integration.verdict.conftest import TARGET, Process, post, wall_ms

if TYPE_CHECKING:
    from shadowdiff.model import Pair
    from shadowdiff.store import Store

LEARN = 40
_numbers = itertools.count()


@pytest.fixture
async def process(store: Store) -> Process:
    """Return a process with a control, that has looked once."""
    one = Process(
        store,
        {"coverage": {"eligible": 0, "compared": 0, "ratio": 0.0}},
        noise={"controlled": True, "learn": LEARN, "candidate": "http://v2"},
    )
    await one.epochs.refresh()
    return one


def asked() -> Pair:
    """Return a pair of a request that was not asked before."""
    number = next(_numbers)
    return pair(
        number=number,
        route="GET /",
        candidate=observation(Side.CANDIDATE, path=f"/{number}", at_ms=wall_ms() + 1),
        control=observation(Side.CONTROL, at_ms=wall_ms() + 1),
    )


def noisy(candidate: str | None = None) -> Difference:
    """Return a difference under a path that is a new UUID with each answer."""
    return difference("$['id']", primary=f'"{uuid4()}"', candidate=candidate or f'"{uuid4()}"')


async def learn(process: Process) -> None:
    """Let the control show that one path always differs, until that is frozen."""
    for _ in range(LEARN):
        await process.judge_triple(asked(), mismatch(noisy()), mismatch(noisy()))
    await process.epochs.refresh()


async def ask(process: Process, action: str) -> Answer:
    """Return the answer to somebody who changes what is learned, from a page of the service."""
    return await post(process.app(), f"noise?target={TARGET}", {"action": action, "author": "ada", "reason": "a test"})


async def verdict(process: Process) -> dict[str, object]:
    """Return the verdict as the API has it."""
    answer = await get(process.app(), f"/api/v1/verdict?target={TARGET}")
    return answer.json


async def test_while_learning_nothing_is_decided(process: Process) -> None:
    """However much differs: it may all be noise."""
    for _ in range(LEARN // 2):
        await process.judge_triple(asked(), mismatch(noisy()), mismatch(noisy()))
    await process.epochs.refresh()
    said = await verdict(process)
    assert ("insufficient", "learning") == (said["verdict"], said["lack"])
    assert f"{LEARN // 2} of {LEARN} triples" in str(said["reason"])


async def test_what_is_learned_is_frozen_and_opens_an_epoch(process: Process) -> None:
    """With its version, and with where it is from."""
    await learn(process)
    epoch, noise = await process.epochs.current(TARGET), await process.epochs.noise(TARGET)
    assert epoch is not None
    assert noise.state.known is not None
    assert (2, OpenedBy.NOISE, "1") == (epoch.id, epoch.by, epoch.noise)
    assert (Source.CONTROL, LEARN, 1) == (
        noise.state.known.source,
        noise.state.known.triples,
        len(noise.state.known.places),
    )
    assert ("$['id']", "value", "uuid") == noise.state.known.places[0].place[1:]


async def test_noise_is_left_out_and_anything_beside_it_counts(process: Process) -> None:
    """The stored results stay what they are."""
    await learn(process)
    for _ in range(30):
        await process.judge_triple(asked(), mismatch(noisy()), mismatch(noisy()))
    for _ in range(30):
        await process.judge_triple(asked(), mismatch(noisy(), difference()), mismatch(noisy()))
    epoch = await process.epochs.current(TARGET)
    assert epoch is not None
    evidence = await read_evidence(process.store, TARGET, epoch)
    assert (60, 30, 30) == (evidence.results["mismatch"], evidence.left_out, evidence.mismatches)
    said = await verdict(process)
    assert "fail" == said["verdict"], said["reason"]
    assert "30 of 60 pairs differ" in str(said["reason"])
    assert [{"route": "GET /", "path": "$['price']", "kind": "value", "count": 30}] == said["top"]


@pytest.mark.parametrize("wrong", ['"null"', "null", '"2001-01-01T00:00:00Z"', "17"])
async def test_a_value_of_another_class_under_a_noisy_path_counts(process: Process, wrong: str) -> None:
    """A UUID that became something else is no noise."""
    await learn(process)
    for _ in range(30):
        await process.judge_triple(asked(), mismatch(noisy(wrong)), mismatch(noisy()))
    assert "fail" == (await verdict(process))["verdict"]


async def test_a_constant_of_the_same_class_under_a_noisy_path_is_found(process: Process) -> None:
    """A UUID that is always the same one."""
    await learn(process)
    constant = f'"{uuid4()}"'
    for _ in range(80):
        await process.judge_triple(asked(), mismatch(noisy(constant)), mismatch(noisy()))
    said = await verdict(process)
    assert "fail" == said["verdict"]
    assert "said the same twice" in str(said["reason"])


async def test_noise_that_learning_missed_does_not_fail_v2(process: Process) -> None:
    """Where v1 differs from itself as often as v2 does, neither is blamed."""
    await learn(process)
    for number in range(120):
        other = mismatch(noisy(), difference("$['late']"))
        sides: tuple[Comparison, Comparison] = (other, MATCH) if number % 2 else (MATCH, other)
        await process.judge_triple(asked(), *sides)
    said = await verdict(process)
    assert ("insufficient", "noise") == (said["verdict"], said["lack"]), said["reason"]


async def test_a_burst_of_one_request_counts_once_as_a_triple(process: Process) -> None:
    """One fact, however often it is told."""
    await learn(process)
    burst = asked()
    for _ in range(50):
        await process.judge_triple(burst, mismatch(noisy(), difference()), mismatch(noisy()))
    epoch = await process.epochs.current(TARGET)
    assert epoch is not None
    evidence = await read_evidence(process.store, TARGET, epoch)
    assert (1, 50, 1) == (evidence.routes[0].triples.all, evidence.mismatches, evidence.routes[0].distinct)


async def test_a_calibration_learns_from_a_candidate_that_is_v1(store: Store) -> None:
    """What differs is noise, kept with where it is from, and in force once it ends."""
    process = Process(
        store,
        {"coverage": {"eligible": 0, "compared": 0, "ratio": 0.0}},
        noise={"learn": LEARN, "candidate": "http://v1"},
    )
    await process.epochs.refresh()
    began = await ask(process, "calibrate")
    assert 200 == began.status, began.text
    await process.epochs.refresh()
    early = await ask(process, "stop")
    assert 409 == early.status
    assert "0 of 40" in early.text
    for _ in range(LEARN):
        for write in process.epochs.writes(asked(), mismatch(noisy()), wall_ms()):
            await process.commit(write)
    assert "calibrating" in str((await verdict(process))["reason"])
    ended = await ask(process, "stop")
    assert 200 == ended.status, ended.text
    await process.epochs.refresh()
    for write in process.epochs.writes(asked(), mismatch(noisy()), wall_ms()):
        await process.commit(write)
    told = (await get(process.app(), f"/api/v1/noise?target={TARGET}")).json
    assert ("in force", "calibration", "http://v1", LEARN) == (
        told["phase"],
        told["source"],
        told["candidate"],
        told["learned_from"],
    )
    assert 1 == (await verdict(process))["noise"]["left_out"]  # type: ignore[index]


async def test_a_restarted_process_goes_on_with_the_frozen_set(process: Process) -> None:
    """Nothing is learned anew, and all processes leave out the same."""
    await learn(process)
    after = Process(process.store, process.ledger, noise=process.noise)
    await after.epochs.refresh()
    await after.judge_triple(asked(), mismatch(noisy()), mismatch(noisy()))
    epoch = await after.epochs.current(TARGET)
    assert epoch is not None
    evidence = await read_evidence(after.store, TARGET, epoch)
    assert (2, 1, 0) == (epoch.id, evidence.left_out, evidence.mismatches)
