"""The API of noise: what v1 differs in from itself, how that was learned, and what to learn next.

In: a target; who asks and why.  Out: the noise set with the evidence for each place.
Holds: stored results are never rewritten by it; a write names its author and reason, and leaves a line in the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from shadowdiff.verdict import Evidence, PlaceFinding, Source, judge_places, read_evidence
from shadowdiff.verdict.verdict import iso
from shadowdiff.web.asked import author_of, decoded, known, payload
from shadowdiff.web.operation import ApiError, Arguments, Operation, Parameter
from shadowdiff.web.visit import note

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.verdict import Epochs, Noise
    from shadowdiff.web.state import WebState

Phase = Literal["off", "learning", "calibrating", "in force"]


class NoiseReport(msgspec.Struct, frozen=True, kw_only=True):
    """A target's noise.

    phase: `off` where nothing shows it; `learning` from the control or `calibrating`, `learned` of `learn` so far.
    version, source, candidate, frozen, learned_from: of the set in force.  checked, missed: of the triples that the
    set was not chosen from, in how many v1 differed from itself outside of it.  left_out: pairs of the epoch that
    differ in noise alone.  overflow: counts that found no room.
    """

    target: str
    phase: Phase
    learned: int
    learn: int
    version: int | None = None
    source: Source | None = None
    candidate: str = ""
    frozen: str | None = None
    learned_from: int = 0
    checked: int = 0
    missed: int = 0
    left_out: int = 0
    triples: int = 0
    overflow: int = 0
    by: str = ""
    places: list[PlaceFinding] = []


class NoiseAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, who asks, and why.

    action: `learn` from the control anew; `calibrate` while v2's address is v1; `stop` a calibration and have what was
    learned in force; `forget` the set.
    """

    action: Literal["learn", "calibrate", "stop", "forget"]
    author: str = ""
    reason: str = ""


async def get_noise(state: WebState, arguments: Arguments, _request: Request) -> NoiseReport:
    """Answer a target's noise."""
    return await noise_report(state, known(state, arguments["target"]).target.name)


async def noise_report(state: WebState, name: str) -> NoiseReport:
    """Return a target's noise with its evidence."""
    if state.epochs is None:
        return NoiseReport(target=name, phase="off", learned=0, learn=0)
    noise = await state.epochs.noise(name)
    epoch, frozen = await state.epochs.current(name), noise.state.known
    phase = _phase(noise)
    if frozen is None:
        return NoiseReport(target=name, phase=phase, learned=noise.learned, learn=noise.learn, by=noise.state.by)
    is_of = epoch is not None and epoch.noise == noise.state.version
    evidence = await read_evidence(state.reader, name, epoch) if epoch and is_of else Evidence(target=name)
    gate = known(state, name).target.gate
    return NoiseReport(
        target=name,
        phase=phase,
        learned=noise.learned,
        learn=noise.learn,
        version=frozen.version,
        source=frozen.source,
        candidate=frozen.candidate,
        frozen=iso(frozen.frozen_ms),
        learned_from=frozen.triples,
        checked=frozen.checked,
        missed=frozen.missed,
        left_out=evidence.left_out,
        triples=sum(route.triples.all for route in evidence.routes),
        overflow=evidence.overflow,
        by=noise.state.by,
        places=judge_places(evidence, frozen, gate.max_mismatch_ratio),
    )


def _phase(noise: Noise) -> Phase:
    if noise.state.learning is not None:
        return "calibrating" if noise.state.source is Source.CALIBRATION else "learning"
    if noise.state.known is not None:
        return "in force"
    return "learning" if noise.controlled else "off"


async def post_noise(state: WebState, arguments: Arguments, request: Request) -> NoiseReport:
    """Learn, calibrate, stop or forget."""
    asked: NoiseAsked = decoded(await payload(request), NoiseAsked)
    name = known(state, arguments["target"]).target.name
    author, reason = author_of(asked.author), state.redact(asked.reason.strip())
    if not author or not reason:
        raise ApiError(400, "what is learned needs an author and a reason, so that others know whom to ask")
    if state.epochs is None:
        raise ApiError(501, "this service keeps no epochs, and no noise")
    noise = await state.epochs.noise(name)
    _check(asked, noise, name)
    if not await _do(state.epochs, asked, name, f"{author}: {reason[:1000]}"):
        raise ApiError(409, "somebody else changed it at the same moment: look, and ask again")
    note("noise", name, action=asked.action, author=author, why=reason)
    return await noise_report(state, name)


def _check(asked: NoiseAsked, noise: Noise, name: str) -> None:
    """Refuse what cannot be. Raises: ApiError, saying why."""
    calibrating = noise.state.learning is not None and noise.state.source is Source.CALIBRATION
    if asked.action == "learn" and not noise.controlled:
        raise ApiError(409, f"{name} has no control to learn from: configure one, or calibrate")
    if asked.action == "stop" and not calibrating:
        raise ApiError(409, f"{name} is not calibrating")
    if asked.action == "stop" and noise.learned < noise.learn:
        raise ApiError(
            409,
            f"{noise.learned:,} of {noise.learn:,} pairs are learned from: wait, lower noise.learn, or forget",
        )


async def _do(epochs: Epochs, asked: NoiseAsked, name: str, by: str) -> bool:
    match asked.action:
        case "learn":
            return await epochs.learn(name, Source.CONTROL, by)
        case "calibrate":
            return await epochs.learn(name, Source.CALIBRATION, by)
        case "stop":
            return await epochs.freeze(name)
        case "forget":
            return await epochs.forget(name)


_TARGET: Final = Parameter(name="target", description="the name of a configured target", required=True)

NOISE: Final[tuple[Operation, ...]] = (
    Operation(
        path="/noise",
        name="noise",
        summary="What v1 differs in from itself: the noise set, and the evidence for each place",
        handler=get_noise,
        answer=NoiseReport,
        parameters=(_TARGET,),
        refuses={400: "An argument is missing", 404: "No such target"},
    ),
    Operation(
        path="/noise",
        name="learn-noise",
        summary="Learn the noise anew, calibrate, stop calibrating, or forget it",
        method="POST",
        handler=post_noise,
        body=NoiseAsked,
        answer=NoiseReport,
        parameters=(_TARGET,),
        refuses={
            400: "An argument is missing or wrong",
            404: "No such target",
            409: "Not now",
            501: "This service keeps no noise",
        },
    ),
)
