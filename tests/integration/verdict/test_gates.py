"""Replay requests of the Flagger and Argo controllers, and check the responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisGoneError

from shadowdiff.config import AccessConfig
from shadowdiff.model import Result
from shadowdiff.verdict import Runs
from shadowdiff.web.access import Access
from shadowdiff.web.flagger import LINE_BYTES
from tests.fakes.asgi import get
from tests.integration.verdict.conftest import TARGET, Process, post

if TYPE_CHECKING:
    from starlette.applications import Starlette

TABLE = {
    "check": {"pass": 200, "insufficient": 200, "fail": 412},
    "promote": {"pass": 200, "insufficient": 409, "fail": 412},
    "rollback": {"pass": 404, "insufficient": 404, "fail": 200},
    "open": {"pass": 200, "insufficient": 200, "fail": 200},
    "event": {"pass": 200, "insufficient": 200, "fail": 200},
}


def hook(checksum: str = "6f9bb5c7b4", phase: str = "Progressing", **metadata: str) -> dict[str, Any]:
    """Return a payload as Flagger sends it (its CanaryWebhookPayload)."""
    return {
        "name": "orders",
        "namespace": "shop",
        "phase": phase,
        "checksum": checksum,
        "metadata": {"target": TARGET} | metadata,
    }


NO_TARGET: dict[str, Any] = {"name": "orders", "namespace": "shop", "checksum": "1", "metadata": {}}


async def _seen(process: Process, verdict: str) -> None:
    """Fill a run with evidence for this verdict. The rollout has already sent a request."""
    await process.runs.for_rollout(TARGET, "shop/orders/6f9bb5c7b4")
    n, result = {"pass": (200, Result.MATCH), "insufficient": (10, Result.MATCH), "fail": (50, Result.MISMATCH)}[
        verdict
    ]
    process.covered(n)
    await process.judge(n, result)


@pytest.mark.parametrize("verdict", ["pass", "insufficient", "fail"])
@pytest.mark.parametrize("name", TABLE)
async def test_each_hook_returns_the_documented_status(process: Process, name: str, verdict: str) -> None:
    """With this status, Flagger acts on the verdict. One short line has the reason."""
    await _seen(process, verdict)
    answer = await post(process.app(), f"gates/flagger/{name}", hook())
    assert (TABLE[name][verdict], "text/plain; charset=utf-8") == (answer.status, answer.headers["content-type"])
    assert answer.text.startswith(f"{verdict}: ")
    assert "\n" not in answer.text
    assert len(answer.body) <= LINE_BYTES


async def _walk(app: Starlette, payload: dict[str, Any], *names: str) -> list[int]:
    return [(await post(app, f"gates/flagger/{name}", payload)).status for name in names]


async def test_sound_rollout_reaches_its_promotion(process: Process) -> None:
    """Flagger calls event and pre-rollout, then rollback and rollout in each interval, then confirm-promotion."""
    app = process.app()
    assert [200, 200] == await _walk(app, hook(), "event", "open")
    assert [404, 200] == await _walk(app, hook(), "rollback", "check")
    assert [409] == await _walk(app, hook(phase="WaitingPromotion"), "promote")
    process.covered(200)
    await process.judge(200)
    assert [404, 200] == await _walk(app, hook(), "rollback", "check")
    assert [200] == await _walk(app, hook(phase="WaitingPromotion"), "promote")
    assert [200] == await _walk(app, hook(phase="Succeeded"), "event")


async def test_each_rollout_has_one_run(process: Process) -> None:
    """The first hook of a rollout starts its run. No verdict uses another revision's responses."""
    app = process.app()
    await process.judge(100, Result.MISMATCH)
    assert [200, 200, 404] == await _walk(app, hook("rev-1"), "open", "check", "rollback")
    first = await process.runs.current(TARGET)
    await process.judge(100, Result.MISMATCH)
    assert [412, 200] == await _walk(app, hook("rev-1"), "check", "rollback")
    assert [200, 404] == await _walk(app, hook("rev-2"), "check", "rollback")
    second = await process.runs.current(TARGET)
    assert (2, 3) == (first and first.id, second and second.id)


async def test_end_of_a_rollout_starts_no_run(process: Process) -> None:
    """An event of a finished, unknown rollout is only acknowledged."""
    await _walk(process.app(), hook(phase="Failed"), "event")
    run = await process.runs.current(TARGET)
    assert 1 == (run and run.id)


@pytest.mark.parametrize(
    ("status", "payload", "message"),
    [
        (400, {"name": "orders"}, "missing required field"),
        (400, b"{", "invalid body"),
        (400, NO_TARGET, "metadata has no target: add `target: NAME`; configured: shop"),
        (404, hook(target="nowhere"), "unknown target 'nowhere'; configured: shop"),
        (413, b" " * 2_000_000, "the body is larger than"),
    ],
)
async def test_refusal_is_a_4xx_with_a_fix(process: Process, status: int, payload: Any, message: str) -> None:
    """Flagger drops the text of any 5xx and 429."""
    answer = await post(process.app(), "gates/flagger/check", payload)
    assert (status, True) == (answer.status, message in answer.text)


async def test_cross_site_form_is_refused(process: Process) -> None:
    """A browser sends text/plain and forms without a preflight request, but not JSON."""
    for path in (f"runs?target={TARGET}", "gates/flagger/open"):
        assert (
            415 == (await get(process.app(), f"/api/v1/{path}", "POST", b"{}", "text/plain", host="localhost")).status
        )


async def test_configured_token_is_required(process: Process) -> None:
    """The token is in the metadata, because Flagger's hooks cannot send headers."""
    app = process.app(access=lambda: HOOKS)
    assert [403] == await _walk(app, hook(), "check")
    assert [403] == await _walk(app, hook(token="wrong"), "rollback")
    assert [200] == await _walk(app, hook(token="s3cret"), "check")


async def test_request_without_token_learns_no_target_names(process: Process) -> None:
    """The response does not reveal whether a target exists, or the names of others."""
    app = process.app(access=lambda: HOOKS)
    answers = {
        name: await post(app, "gates/flagger/check", payload)
        for name, payload in {"known": hook(), "unknown": hook(target="nowhere"), "none": NO_TARGET}.items()
    }
    assert {403} == {answer.status for answer in answers.values()}
    assert 1 == len({answer.body for answer in answers.values()})


HOOKS = Access(AccessConfig(), is_loopback=True, hook_token=b"s3cret")


class UnavailableRuns(Runs):
    """Runs whose store is unavailable."""

    async def for_rollout(self, target: str, rollout: str) -> Any:
        """Fail as redis-py does."""
        raise RedisGoneError(f"{target} {rollout}")

    async def current(self, target: str) -> Any:
        """Fail as redis-py does."""
        raise RedisGoneError(target)


async def test_an_unavailable_store_rolls_nothing_back_and_promotes_nothing(process: Process) -> None:
    """The service cannot decide, but this is not a failure of v2."""
    gone = UnavailableRuns(process.store, list, process.runs._ledger)  # pyright: ignore[reportPrivateUsage]
    app = process.app(runs=gone)
    for name, statuses in TABLE.items():
        assert [statuses["insufficient"]] == await _walk(app, hook(), name)
    answer = await get(app, f"/api/v1/verdict?target={TARGET}&revision=7d4f")
    assert (200, "insufficient", "store") == (answer.status, answer.json["verdict"], answer.json["insufficient_reason"])


def argo(result: Any) -> str:
    """Return the phase that Argo's web provider derives from a result, by the conditions of the analysis template."""
    if result["verdict"] == "pass":
        return "Successful"
    return "Failed" if result["verdict"] == "fail" else "Inconclusive"


@pytest.mark.parametrize(
    ("verdict", "phase"), [("pass", "Successful"), ("insufficient", "Inconclusive"), ("fail", "Failed")]
)
async def test_argo_web_provider_receives_200_and_reads_the_verdict(process: Process, verdict: str, phase: str) -> None:
    """`insufficient` meets neither condition, so the rollout pauses."""
    app, asked = process.app(), f"/api/v1/verdict?target={TARGET}&revision=7d4f9c"
    first = await get(app, asked)
    assert (200, "Inconclusive") == (first.status, argo(first.json))
    n, result = {"pass": (200, Result.MATCH), "insufficient": (10, Result.MATCH), "fail": (50, Result.MISMATCH)}[
        verdict
    ]
    process.covered(n)
    await process.judge(n, result)
    answer = await get(app, asked)
    assert (200, phase) == (answer.status, argo(answer.json))
    assert ("rollout", "7d4f9c") == (answer.json["run"]["by"], answer.json["run"]["revision"])


async def test_declared_route_without_pairs_is_untested(process: Process) -> None:
    """A pass does not cover this route."""
    app = process.app(routes=("/cart", "GET /"))
    process.covered(200)
    await process.judge(200)
    verdict = (await get(app, f"/api/v1/verdict?target={TARGET}")).json
    assert ("pass", ["/cart"]) == (verdict["verdict"], [r for r in verdict["routes_untested"] if r != "GET /"])


async def test_manually_started_run_is_returned_and_shown(process: Process) -> None:
    """The verdict counts from the start of this run."""
    app = process.app()
    await process.judge(100, Result.MISMATCH)
    asked = {"author": "ada", "reason": "new data"}
    opened = (await post(app, f"runs?target={TARGET}", asked)).json["run"]
    assert (2, "manual") == (opened["id"], opened["by"])
    assert opened == (await get(app, f"/api/v1/runs?target={TARGET}")).json["run"]
    verdict = (await get(app, f"/api/v1/verdict?target={TARGET}")).json
    assert (0, opened["started"]) == (verdict["pairs"]["compared"], verdict["window"]["start"])


@pytest.mark.parametrize(
    "headers",
    [{"host": "shadowdiff.example"}, {"origin": "http://elsewhere.example"}, {"sec_fetch_site": "cross-site"}],
)
async def test_caller_without_write_role_starts_no_run(process: Process, headers: dict[str, str]) -> None:
    """The check is the same as for rules, and the evidence stays."""
    refused = await post(process.app(), f"runs?target={TARGET}", {"author": "eve"}, **headers)
    run = await process.runs.current(TARGET)
    assert (403, 1) == (refused.status, run and run.id)
