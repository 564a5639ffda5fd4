"""What Flagger's and Argo's controllers ask, replayed, against the table of what they must be answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisGoneError

from shadowdiff.model import Result
from shadowdiff.verdict import Epochs
from shadowdiff.web.gates import LINE_BYTES
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
    """Return the payload as Flagger sends it (its CanaryWebhookPayload)."""
    return {
        "name": "orders",
        "namespace": "shop",
        "phase": phase,
        "checksum": checksum,
        "metadata": {"target": TARGET} | metadata,
    }


NO_TARGET: dict[str, Any] = {"name": "orders", "namespace": "shop", "checksum": "1", "metadata": {}}


async def _seen(process: Process, verdict: str) -> None:
    """Let an epoch hold what supports this verdict; the rollout has asked already."""
    await process.epochs.ask(TARGET, "shop/orders/6f9bb5c7b4")
    n, result = {"pass": (200, Result.MATCH), "insufficient": (10, Result.MATCH), "fail": (50, Result.MISMATCH)}[
        verdict
    ]
    process.covered(n)
    await process.judge(n, result)


@pytest.mark.parametrize("verdict", ["pass", "insufficient", "fail"])
@pytest.mark.parametrize("name", TABLE)
async def test_each_hook_answers_as_the_table_says(process: Process, name: str, verdict: str) -> None:
    """A status that makes Flagger do what the verdict means, and one short line that says why."""
    await _seen(process, verdict)
    answer = await post(process.app(), f"gates/flagger/{name}", hook())
    assert (TABLE[name][verdict], "text/plain; charset=utf-8") == (answer.status, answer.headers["content-type"])
    assert answer.text.startswith(f"{verdict}: ")
    assert "\n" not in answer.text
    assert len(answer.body) <= LINE_BYTES


async def _walk(app: Starlette, payload: dict[str, Any], *names: str) -> list[int]:
    return [(await post(app, f"gates/flagger/{name}", payload)).status for name in names]


async def test_a_sound_rollout_walks_through_the_hooks_to_its_promotion(process: Process) -> None:
    """As Flagger calls them: event, pre-rollout, then each interval rollback and rollout, then confirm-promotion."""
    app = process.app()
    assert [200, 200] == await _walk(app, hook(), "event", "open")
    assert [404, 200] == await _walk(app, hook(), "rollback", "check")
    assert [409] == await _walk(app, hook(phase="WaitingPromotion"), "promote")
    process.covered(200)
    await process.judge(200)
    assert [404, 200] == await _walk(app, hook(), "rollback", "check")
    assert [200] == await _walk(app, hook(phase="WaitingPromotion"), "promote")
    assert [200] == await _walk(app, hook(phase="Succeeded"), "event")


async def test_one_rollout_has_one_epoch_and_the_next_one_another(process: Process) -> None:
    """Its first hook opens it; the verdict on a revision never rests on another's answers."""
    app = process.app()
    await process.judge(100, Result.MISMATCH)
    assert [200, 200, 404] == await _walk(app, hook("rev-1"), "open", "check", "rollback")
    first = await process.epochs.current(TARGET)
    await process.judge(100, Result.MISMATCH)
    assert [412, 200] == await _walk(app, hook("rev-1"), "check", "rollback")
    assert [200, 404] == await _walk(app, hook("rev-2"), "check", "rollback")
    second = await process.epochs.current(TARGET)
    assert (2, 3) == (first and first.id, second and second.id)


async def test_the_end_of_a_rollout_opens_nothing(process: Process) -> None:
    """An event of a rollout that nobody asked for yet, and that is over, is noted and no more."""
    await _walk(process.app(), hook(phase="Failed"), "event")
    epoch = await process.epochs.current(TARGET)
    assert 1 == (epoch and epoch.id)


@pytest.mark.parametrize(
    ("status", "payload", "told"),
    [
        (400, {"name": "orders"}, "missing required field"),
        (400, b"{", "the body is not what is expected"),
        (400, NO_TARGET, "metadata names no target: add `target: NAME`, of shop"),
        (404, hook(target="nowhere"), "no target is called 'nowhere': configured are shop"),
        (413, b" " * 2_000_000, "the body is larger than"),
    ],
)
async def test_a_refusal_is_a_4xx_that_says_what_to_do(process: Process, status: int, payload: Any, told: str) -> None:
    """Flagger swallows the text of any 5xx and 429."""
    answer = await post(process.app(), "gates/flagger/check", payload)
    assert (status, True) == (answer.status, told in answer.text)


async def test_a_form_that_a_page_of_another_site_sends_is_refused(process: Process) -> None:
    """A browser sends text/plain and forms without asking; JSON it does not."""
    for path in (f"epochs?target={TARGET}", "gates/flagger/open"):
        assert (
            415 == (await get(process.app(), f"/api/v1/{path}", "POST", b"{}", "text/plain", host="localhost")).status
        )


async def test_a_configured_token_is_asked_for(process: Process) -> None:
    """In the metadata, since Flagger's hooks cannot send headers."""
    app = process.app(gate_token=lambda: b"s3cret")
    assert [403] == await _walk(app, hook(), "check")
    assert [403] == await _walk(app, hook(token="wrong"), "rollback")
    assert [200] == await _walk(app, hook(token="s3cret"), "check")


async def test_who_has_no_token_learns_of_no_target(process: Process) -> None:
    """Neither that one exists nor what the others are called."""
    app = process.app(gate_token=lambda: b"s3cret")
    told = {
        name: await post(app, "gates/flagger/check", payload)
        for name, payload in {"known": hook(), "unknown": hook(target="nowhere"), "none": NO_TARGET}.items()
    }
    assert {403} == {answer.status for answer in told.values()}
    assert 1 == len({answer.body for answer in told.values()})


class Gone(Epochs):
    """Epochs whose store is away."""

    async def ask(self, target: str, session: str) -> Any:
        """Fail as redis-py does."""
        raise RedisGoneError(f"{target} {session}")

    async def current(self, target: str) -> Any:
        """Fail as redis-py does."""
        raise RedisGoneError(target)


async def test_a_store_that_is_away_rolls_nothing_back_and_promotes_nothing(process: Process) -> None:
    """It is this service that cannot say, not v2 that fails."""
    gone = Gone(process.store, list, process.epochs._ledger)  # pyright: ignore[reportPrivateUsage]
    app = process.app(epochs=gone)
    for name, statuses in TABLE.items():
        assert [statuses["insufficient"]] == await _walk(app, hook(), name)
    answer = await get(app, f"/api/v1/verdict?target={TARGET}&revision=7d4f")
    assert (200, "insufficient", "store") == (answer.status, answer.json["verdict"], answer.json["lack"])


def argo(result: Any) -> str:
    """Return the phase that Argo's web provider makes of a result, by the conditions of the analysis template."""
    if result["verdict"] == "pass":
        return "Successful"
    return "Failed" if result["verdict"] == "fail" else "Inconclusive"


@pytest.mark.parametrize(
    ("verdict", "phase"), [("pass", "Successful"), ("insufficient", "Inconclusive"), ("fail", "Failed")]
)
async def test_argos_web_provider_is_answered_200_and_reads_the_verdict(
    process: Process, verdict: str, phase: str
) -> None:
    """`insufficient` meets neither condition, so that the rollout pauses."""
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
    assert ("rollout", "7d4f9c") == (answer.json["epoch"]["by"], answer.json["epoch"]["revision"])


async def test_a_declared_route_that_never_had_a_pair_is_named_as_untested(process: Process) -> None:
    """A pass does not speak for it."""
    app = process.app(routes=("/cart", "GET /"))
    process.covered(200)
    await process.judge(200)
    verdict = (await get(app, f"/api/v1/verdict?target={TARGET}")).json
    assert ("pass", ["/cart"]) == (verdict["verdict"], [r for r in verdict["routes_untested"] if r != "GET /"])


async def test_an_epoch_opened_by_hand_is_answered_and_shown(process: Process) -> None:
    """And the verdict counts from there."""
    app = process.app()
    await process.judge(100, Result.MISMATCH)
    asked = {"author": "ada", "reason": "new data"}
    opened = (await post(app, f"epochs?target={TARGET}", asked)).json["epoch"]
    assert (2, "hand") == (opened["id"], opened["by"])
    assert opened == (await get(app, f"/api/v1/epochs?target={TARGET}")).json["epoch"]
    verdict = (await get(app, f"/api/v1/verdict?target={TARGET}")).json
    assert (0, opened["started"]) == (verdict["pairs"]["compared"], verdict["window"]["start"])


@pytest.mark.parametrize(
    "headers",
    [{"host": "shadowdiff.example"}, {"origin": "http://elsewhere.example"}, {"sec_fetch_site": "cross-site"}],
)
async def test_who_may_not_write_opens_no_epoch(process: Process, headers: dict[str, str]) -> None:
    """The same check as for rules; the evidence stays as it was."""
    refused = await post(process.app(), f"epochs?target={TARGET}", {"author": "eve"}, **headers)
    epoch = await process.epochs.current(TARGET)
    assert (403, 1) == (refused.status, epoch and epoch.id)
