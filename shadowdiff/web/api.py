"""The API under `/api/v1`: each operation declared with its handler.

In: checked arguments.  Out: values that become JSON.
Holds: reads only, but for what opens an epoch. The verdict is always a 200: rollout controllers read anything else
as an error of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from redis.exceptions import RedisError

from shadowdiff.model import UNKNOWN_TARGET, Kind, Result
from shadowdiff.report import Sample, Summary, sample
from shadowdiff.verdict import Verdict, read_counts, unheard, unknown_target
from shadowdiff.web.asked import known
from shadowdiff.web.audit import AUDIT
from shadowdiff.web.doctor import OPERATION as DOCTOR
from shadowdiff.web.export import EXPORT
from shadowdiff.web.fingerprints import FINGERPRINTS
from shadowdiff.web.funnel import FUNNEL
from shadowdiff.web.gates import GATES
from shadowdiff.web.history import HISTORY
from shadowdiff.web.latency import LATENCY
from shadowdiff.web.noise import NOISE
from shadowdiff.web.operation import ApiError, Arguments, Operation, Parameter
from shadowdiff.web.rules import RULE_OPERATIONS
from shadowdiff.web.sample_filter import chosen_samples, nothing_found
from shadowdiff.web.suggestions import SUGGESTIONS
from shadowdiff.web.views import TargetReport, TargetSummary, report, summary, verdict_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.state import WebState

MAX_SAMPLES = 10_000


class Targets(msgspec.Struct, frozen=True):
    """Every target."""

    targets: list[TargetSummary]


class Samples(msgspec.Struct, frozen=True):
    """The newest samples, newest first; where a route or path that is not known chose none, `note` says so."""

    samples: list[Summary]
    note: str = ""


async def get_targets(state: WebState, _arguments: Arguments, request: Request) -> Targets:
    """Answer every target with its verdict."""
    return Targets([await summary(state, view, str(request.base_url)) for view in state.targets()])


async def get_target(state: WebState, arguments: Arguments, request: Request) -> TargetReport:
    """Answer one target with its routes."""
    return await report(state, known(state, arguments["target"]), str(request.base_url))


async def get_ledger(state: WebState, arguments: Arguments, _request: Request) -> dict[str, Any]:
    """Answer one target's ledger."""
    name = arguments["target"]
    return await state.ledger(name if name == UNKNOWN_TARGET else known(state, name).target.name)


async def get_verdict(state: WebState, arguments: Arguments, request: Request) -> Verdict:
    """Answer one target's verdict; of one that is not configured, or while the store is away, nothing is known."""
    view = state.target(arguments["target"])
    if view is None:
        return unknown_target(arguments["target"], state.names)
    try:
        return await verdict_of(
            state,
            view,
            str(request.base_url),
            max_mismatch_ratio=arguments["max_mismatch_ratio"],
            min_coverage=arguments["min_coverage"],
            asked=arguments["revision"],
        )
    except (RedisError, OSError) as error:
        return unheard(arguments["target"], f"the store does not answer ({type(error).__name__})")


async def get_samples(state: WebState, arguments: Arguments, _request: Request) -> Samples:
    """Answer the newest samples of one target."""
    name = known(state, arguments["target"]).target.name
    route, path = arguments["route"], arguments["path"]
    found = await chosen_samples(
        state,
        name,
        arguments["limit"],
        route=route,
        kind=arguments["kind"],
        path=path,
        result=Result(arguments["result"]),
        fingerprint=arguments["fingerprint"],
    )
    if found or not (route or path):
        return Samples(found)
    counts = await read_counts(state.reader, name, state.fold(name))
    return Samples(found, nothing_found(route, path, counts.routes))


async def get_sample(state: WebState, arguments: Arguments, _request: Request) -> Sample:
    """Answer one sample."""
    found = await sample(state.reader, arguments["id"], since_ms=state.since_ms)
    if found is None:
        raise ApiError(404, f"no sample is called {arguments['id']!r}: it expired, or newer ones took its place")
    return found


_TARGET = Parameter(name="target", description="the name of a configured target", required=True)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/targets",
        name="targets",
        summary="Every target with its verdict",
        handler=get_targets,
        answer=Targets,
        refuses={},
    ),
    Operation(
        path="/targets/{target}",
        name="target",
        summary="One target: routes, results, differing paths, latency of both sides",
        handler=get_target,
        answer=TargetReport,
        parameters=(Parameter(name="target", description="the name of a target", where="path", required=True),),
        refuses={404: "No such target"},
    ),
    Operation(
        path="/ledger",
        name="ledger",
        summary="Where every request and every observation of a target went, and whether the books balance",
        handler=get_ledger,
        parameters=(_TARGET,),
        refuses={400: "An argument is missing", 404: "No such target"},
    ),
    Operation(
        path="/verdict",
        name="verdict",
        summary="Whether v2 answers as v1 does: pass, fail or insufficient; always a 200",
        handler=get_verdict,
        answer=Verdict,
        parameters=(
            _TARGET,
            Parameter(
                name="max_mismatch_ratio",
                description="a stricter limit than the configured one; a looser one changes nothing",
                type="number",
                minimum=0,
                maximum=1,
            ),
            Parameter(
                name="min_coverage",
                description="a stricter coverage than the configured one; a looser one changes nothing",
                type="number",
                minimum=0,
                maximum=1,
            ),
            Parameter(
                name="revision",
                description="what is rolled out, such as a pod template's hash; one not seen before opens its epoch",
            ),
        ),
        refuses={400: "An argument is missing or wrong"},
        changes_by=("revision",),
    ),
    *GATES,
    *NOISE,
    *RULE_OPERATIONS,
    SUGGESTIONS,
    HISTORY,
    LATENCY,
    FUNNEL,
    *FINGERPRINTS,
    Operation(
        path="/samples",
        name="samples",
        summary="The newest pairs of a target that differ, newest first",
        handler=get_samples,
        answer=Samples,
        parameters=(
            _TARGET,
            Parameter(name="limit", description="how many", type="integer", default=50, minimum=1, maximum=MAX_SAMPLES),
            Parameter(name="route", description="only this route, such as `GET /products/{id}`"),
            Parameter(name="path", description="only pairs that differ at or below this path, such as `price.amount`"),
            Parameter(
                name="kind",
                description="only pairs with a difference of this kind",
                choices=tuple(kind.value for kind in Kind),
            ),
            Parameter(name="fingerprint", description="only of this fingerprint, by its id"),
            Parameter(
                name="result",
                description="pairs that differ, or pairs that could not be compared",
                default=Result.MISMATCH.value,
                choices=(Result.MISMATCH.value, Result.INCOMPARABLE.value),
            ),
        ),
        refuses={400: "An argument is missing or wrong", 404: "No such target"},
    ),
    Operation(
        path="/samples/{id}",
        name="sample",
        summary="One pair that differs: both responses, redacted, and every difference",
        handler=get_sample,
        answer=Sample,
        parameters=(Parameter(name="id", description="the sample's id", where="path", required=True),),
        refuses={404: "No such sample, or no longer"},
    ),
    EXPORT,
    DOCTOR,
    AUDIT,
)
