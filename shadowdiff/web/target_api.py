"""API operations on targets: verdict, ledger, history, samples, runs, noise, doctor and audit log.

A verdict is always sent with status 200, because rollout controllers treat other statuses as errors of the call.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from shadowdiff.doctor.finding import Diagnosis
from shadowdiff.model import UNKNOWN_TARGET, Kind, Result
from shadowdiff.queries import runs, samples
from shadowdiff.queries.shown_differences import ShownSample, ShownSamples, shown_sample, shown_summary
from shadowdiff.queries.targets import TargetReport, Targets, TargetSummary
from shadowdiff.queries.visible import is_visible
from shadowdiff.queries.window_totals import LatencyReport, WindowHistory, history, latency, losses
from shadowdiff.store import STORE_ERRORS
from shadowdiff.verdict import Funnel, Verdict, store_unavailable, unknown_target
from shadowdiff.web.audit import MAX_ENTRIES, SHOWN, AuditEntries
from shadowdiff.web.operation import NO_TARGET, TARGET, WRONG, Arguments, Operation, Parameter, limit_parameter
from shadowdiff.web.request_context import audit, author_of, read_json

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.layout import WebParts


async def _get_targets(web: WebParts, _given: Arguments, request: Request) -> Targets:
    reports = [await web.queries.report(view, str(request.base_url)) for view in web.queries.targets()]
    return Targets([TargetSummary(name=one.name, settings=one.settings, verdict=one.verdict) for one in reports])


async def _get_target(web: WebParts, given: Arguments, request: Request) -> TargetReport:
    return await web.queries.report_with_proposals(web.queries.target(given["target"]), str(request.base_url))


async def _get_ledger(web: WebParts, given: Arguments, _request: Request) -> dict[str, Any]:
    name, of_unknown = given["target"], given["target"] == UNKNOWN_TARGET and is_visible(UNKNOWN_TARGET)
    return await web.queries.ledger(name if of_unknown else web.queries.target(name).target.name)


async def _get_verdict(web: WebParts, given: Arguments, request: Request) -> Verdict:
    name = given["target"]
    view = web.queries.find(name)
    if view is None:
        return unknown_target(name, web.queries.names)
    limits = {key: given[key] for key in ("max_mismatch_ratio", "min_coverage", "revision")}
    try:
        return await web.queries.verdict(view, str(request.base_url), **limits)
    except STORE_ERRORS as error:
        return store_unavailable(name, f"the store is unavailable ({type(error).__name__})")


async def _get_samples(web: WebParts, given: Arguments, _request: Request) -> ShownSamples:
    queries, route, path = web.queries, given["route"], given["path"]
    name = queries.target(given["target"]).target.name
    filters = {key: given[key] for key in ("route", "path", "kind", "fingerprint")}
    found = await samples.find_samples(queries, name, given["limit"], result=Result(given["result"]), **filters)
    if found or not (route or path):
        return ShownSamples(list(map(shown_summary, found)))
    return ShownSamples([], samples.explain_no_samples(route, path, (await queries.counts(name)).routes))


async def _get_sample(web: WebParts, given: Arguments, _request: Request) -> ShownSample:
    return shown_sample(await samples.find_sample(web.queries, given["id"]))


async def _get_export(web: WebParts, given: Arguments, _request: Request) -> Response:
    found = await samples.find_sample(web.queries, given["id"])
    audit("sample exported", found.target, sample=found.id, format=given["format"])
    text = await web.queries.offload(samples.export_sample, found, given["format"])
    return Response(text, media_type="application/json")


async def _get_audit(web: WebParts, given: Arguments, _request: Request) -> AuditEntries:
    return AuditEntries(await web.audit.newest(given["limit"]) if web.audit else [])


async def _post_run(web: WebParts, given: Arguments, request: Request) -> runs.CurrentRun:
    body = await read_json(request, runs.StartRun)
    run = await runs.RunControl(web.queries, web.rules.redact).start(given["target"])
    audit("run started", given["target"], run=run.id, author=author_of(body.author), reason=body.reason)
    return runs.CurrentRun(run)


async def _post_noise(web: WebParts, given: Arguments, request: Request) -> runs.NoiseReport:
    body = await read_json(request, runs.NoiseAction)
    author = author_of(body.author)
    report = await runs.RunControl(web.queries, web.rules.redact).change_noise(given["target"], body, author)
    audit("noise changed", report.target, change=body.action, author=author, reason=body.reason.strip())
    return report


_SAMPLE_ID: Final = Parameter("id", "the sample's id", where="path", required=True)
_share = partial(Parameter, type="number", minimum=0, maximum=1)
_NO_SAMPLE: Final = {404: "There is no such sample; it may have expired"}

READ_OPERATIONS: Final = (
    Operation("/targets", "Every target with its verdict", _get_targets, Targets, refuses={}),
    Operation(
        "/targets/{target}",
        "One target with its routes, results, differing paths, latency of both sides, and proposed templates of routes",
        _get_target,
        TargetReport,
        (Parameter("target", "the name of a target", where="path", required=True),),
        name="target",
        refuses={404: "There is no such target"},
    ),
    Operation(
        "/ledger",
        "What happened to every request and observation of a target, and whether shadowdiff accounts for all of them",
        _get_ledger,
        None,
        (TARGET,),
        refuses=NO_TARGET,
    ),
    Operation(
        "/verdict",
        "Whether v2 responds as v1 does: pass, fail or insufficient. The status is 200 for each verdict",
        _get_verdict,
        Verdict,
        (
            TARGET,
            _share("max_mismatch_ratio", "a lower limit than the configured one; a higher limit has no effect"),
            _share("min_coverage", "a higher coverage than the configured one; a lower coverage has no effect"),
            Parameter(
                "revision", "v2's revision in this rollout, such as a pod template's hash; a new revision starts a run"
            ),
        ),
        refuses={400: "An argument is missing or wrong"},
        changes_by=("revision",),
    ),
    Operation(
        "/history",
        "Counts over time in any window: by minute for six hours, by hour for 35 days. No verdict uses them",
        lambda web, given, _: history(web.queries, given["target"], given["since"], given["until"]),
        WindowHistory,
        (
            TARGET,
            Parameter("since", "start of the window: a time, or an age such as 30m, 6h or 7d", default="1h"),
            Parameter("until", "end of the window: a time, or an age such as 30m, 6h or 7d", default="0m"),
        ),
        refuses=WRONG,
    ),
    Operation(
        "/latency",
        "Latency of v1 and v2 for each route, with an interval for the difference of each quantile",
        lambda web, given, _: latency(web.queries, given["target"]),
        LatencyReport,
        (TARGET,),
        refuses=NO_TARGET,
    ),
    Operation(
        "/funnel",
        "Where requests were lost between v1's responses and compared pairs, and why. The sums equal the ledger",
        lambda web, given, _: losses(web.queries, given["target"], given["since"], given["until"]),
        Funnel,
        (
            TARGET,
            Parameter(
                "since",
                "start of the window: `run` (the start of the run), a time, or an age such as 30m, 6h or 7d. Default: "
                "the first request in the store",
            ),
            Parameter("until", "end of the window: a time, or an age such as 30m, 6h or 7d", default="0m"),
        ),
        refuses={
            400: "An argument is missing or wrong",
            404: "There is no such target, or nothing is stored for this window",
        },
    ),
    Operation(
        "/samples",
        "The newest pairs of a target that differ, newest first",
        _get_samples,
        ShownSamples,
        (
            TARGET,
            limit_parameter("maximum number of samples", default=50, maximum=samples.MAX_SAMPLES),
            Parameter("route", "return only samples of this route, such as `GET /products/{id}`"),
            Parameter("path", "return only samples that differ at or below this path, such as `price.amount`"),
            Parameter("kind", "return only samples with a difference of this kind", choices=tuple(Kind)),
            Parameter("fingerprint", "return only samples of the fingerprint with this id"),
            Parameter(
                "result",
                "whether to return pairs that differ, or pairs that are not comparable",
                default=Result.MISMATCH,
                choices=(Result.MISMATCH, Result.INCOMPARABLE),
            ),
        ),
        refuses=WRONG,
    ),
    Operation(
        "/samples/{id}",
        "One pair that differs: both responses, with secrets redacted, and every difference",
        _get_sample,
        ShownSample,
        (_SAMPLE_ID,),
        name="sample",
        refuses=_NO_SAMPLE,
    ),
    Operation(
        "/samples/{id}/export",
        "The differences of one pair for other tools: an RFC 6902 patch from v1's body to v2's, or a DeepDiff report",
        _get_export,
        list[Any] | dict[str, Any],
        (_SAMPLE_ID, Parameter("format", "patch or deepdiff", default="patch", choices=samples.EXPORT_FORMATS)),
        name="export-sample",
        role="export",
        refuses={
            400: "An argument is wrong",
            **_NO_SAMPLE,
            422: "The bodies are not both JSON, or computing their difference takes too long",
            503: "Too many requests of this kind are waiting",
        },
    ),
    Operation(
        "/doctor",
        "Why responses do not pair: each cause with two examples and a fix. Empty if there is no problem",
        lambda web, given, _: web.queries.diagnose(given["target"]),
        Diagnosis,
        (Parameter("target", "check only this target; default: check all targets"),),
        refuses={404: "There is no such target", 503: "This process collects no evidence for the doctor"},
    ),
    Operation(
        "/audit",
        "The newest changes that users made, each with the user, time, action and source address",
        _get_audit,
        AuditEntries,
        (limit_parameter("maximum number of changes", default=SHOWN, maximum=MAX_ENTRIES),),
        refuses={400: "The limit is not a number in the allowed range"},
    ),
)

RUN_OPERATIONS: Final = (
    Operation(
        "/runs",
        "The run that a target's verdict is based on",
        lambda web, given, _: runs.current_run(web.queries, given["target"]),
        runs.CurrentRun,
        (TARGET,),
        name="run",
        refuses=NO_TARGET,
    ),
    Operation(
        "/runs",
        "Start a run now. Pairs that were compared earlier no longer count in the verdict",
        _post_run,
        runs.CurrentRun,
        (TARGET,),
        method="POST",
        body=runs.StartRun,
        name="start-run",
        refuses=WRONG | {415: "The content type is not JSON", 501: "This service has no runs"},
    ),
    Operation(
        "/noise",
        "The noise set, which lists the places at which two instances of v1 differ, and the evidence for each place",
        lambda web, given, _: runs.noise_report(web.queries, given["target"]),
        runs.NoiseReport,
        (TARGET,),
        refuses=NO_TARGET,
    ),
    Operation(
        "/noise",
        "Learn the noise again, start or stop a calibration, or forget the noise set",
        _post_noise,
        runs.NoiseReport,
        (TARGET,),
        method="POST",
        body=runs.NoiseAction,
        name="learn-noise",
        refuses=WRONG
        | {
            409: "The noise set is in a state in which this action is not possible",
            501: "This service has no noise set",
        },
    ),
)
