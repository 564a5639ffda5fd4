"""What rollout controllers ask: Flagger's hooks, and the epochs that a verdict rests on.

In: the hooks' JSON, as Flagger sends it.  Out: a status that Flagger understands, and one line of text.
Holds: the payload does not name its hook, so each has its own path; a refusal is a 4xx (Flagger swallows the text of
5xx and 429, of which one is said to an address of too many wrong tokens alone), under a kilobyte, since it becomes a
Kubernetes event. A store that is away makes the verdict insufficient, and rolls nothing back. A rollout is its
namespace, name and checksum; its first hook opens its epoch. Who has no token learns of no target.
"""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, Final

import msgspec
from redis.exceptions import RedisError
from starlette.responses import Response

from shadowdiff.verdict import Decision, EpochTold, Verdict, told
from shadowdiff.web.asked import author_of, decoded, known, payload
from shadowdiff.web.operation import ApiError, Arguments, Operation, Parameter
from shadowdiff.web.views import verdict_of
from shadowdiff.web.visit import note, visit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from shadowdiff.verdict import Epochs
    from shadowdiff.web.operation import Handler
    from shadowdiff.web.state import TargetView, WebState

log = logging.getLogger(__name__)

LINE_BYTES: Final = 1000
OK: Final = 200
_TOO_MANY: Final = 429
STATUSES: Final[Mapping[str, Mapping[Decision, int]]] = {
    "check": {Decision.PASS: OK, Decision.INSUFFICIENT: OK, Decision.FAIL: 412},
    "promote": {Decision.PASS: OK, Decision.INSUFFICIENT: 409, Decision.FAIL: 412},
    "rollback": {Decision.PASS: 404, Decision.INSUFFICIENT: 404, Decision.FAIL: OK},
    "open": {Decision.PASS: OK, Decision.INSUFFICIENT: OK, Decision.FAIL: OK},
    "event": {Decision.PASS: OK, Decision.INSUFFICIENT: OK, Decision.FAIL: OK},
}
"""What each hook answers: `rollback` is inverted, since there 2xx rolls back."""
UNDER_WAY: Final = frozenset({"Progressing", "Waiting", "WaitingPromotion"})
"""Phases in which an event may open an epoch; one that tells the end of a rollout does not begin its evidence."""


class FlaggerHook(msgspec.Struct, frozen=True, kw_only=True):
    """What Flagger posts to every hook; `metadata` is the hook's own, and names the `target` and perhaps a `token`."""

    name: str
    namespace: str
    phase: str = ""
    checksum: str = ""
    metadata: dict[str, str] = {}

    @property
    def session(self) -> str:
        """The rollout: one revision of one canary."""
        return f"{self.namespace}/{self.name}/{self.checksum}"


class Opened(msgspec.Struct, frozen=True):
    """The epoch that is open; null where none could be yet."""

    epoch: EpochTold | None


class OpenEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for an epoch and why, for the log."""

    author: str = ""
    reason: str = ""


async def get_epoch(state: WebState, arguments: Arguments, _request: Request) -> Opened:
    """Answer the epoch that is open."""
    name = known(state, arguments["target"]).target.name
    epoch = await state.epochs.current(name) if state.epochs else None
    return Opened(told(epoch) if epoch else None)


async def post_epoch(state: WebState, arguments: Arguments, request: Request) -> Opened:
    """Open an epoch by hand."""
    asked = decoded(await payload(request), OpenEpoch)
    epoch = await _epochs(state).open(known(state, arguments["target"]).target.name)
    author = author_of(asked.author)
    note("an epoch was opened by hand", arguments["target"], epoch=epoch.id, author=author, why=asked.reason)
    return Opened(told(epoch))


def flagger(hook: str) -> Handler:
    """Return the handler of one of Flagger's hooks."""

    async def handle(state: WebState, _arguments: Arguments, request: Request) -> Response:
        try:
            asked = decoded(await payload(request), FlaggerHook)
            _check_token(state, asked)  # first, since a refusal of the target names those that there are
            view = _target_of(state, asked)
        except ApiError as refusal:
            return _line(refusal.status, refusal.message)
        if hook == "event" and asked.phase not in UNDER_WAY:
            return _line(OK, f"{asked.phase or 'an event without a phase'}: noted")
        try:
            verdict = await verdict_of(state, view, str(request.base_url), asked=asked.session)
        except (RedisError, OSError) as error:
            log.warning("a rollout's question waits for the store", extra={"hook": hook, "error": repr(error)})
            told = "the store does not answer, so that nothing can be said"
            return _line(STATUSES[hook][Decision.INSUFFICIENT], f"{Decision.INSUFFICIENT}: {told}")
        return _line(STATUSES[hook][verdict.verdict], _said(verdict))

    return handle


def _said(verdict: Verdict) -> str:
    link = f" {verdict.report_url}" if verdict.report_url else ""
    return f"{verdict.verdict}: {verdict.reason}{link}"


def _line(status: int, text: str) -> Response:
    """Return one line, short enough for a Kubernetes event."""
    line = " ".join(text.split()).encode()[:LINE_BYTES].decode("utf-8", "ignore")
    headers = {"retry-after": "60"} if status == _TOO_MANY else None
    return Response(line, status, headers, media_type="text/plain")


def _target_of(state: WebState, hook: FlaggerHook) -> TargetView:
    name = hook.metadata.get("target")
    if not name:
        raise ApiError(400, f"metadata names no target: add `target: NAME`, of {_names(state)}")
    return known(state, name)


def _names(state: WebState) -> str:
    return ", ".join(state.names) or "none"


def _epochs(state: WebState) -> Epochs:
    if state.epochs is None:
        raise ApiError(501, "this service keeps no epochs")
    return state.epochs


def _check_token(state: WebState, hook: FlaggerHook) -> None:
    """Refuse a hook without the token, where one is configured, and an address that brought too many wrong ones."""
    wanted = state.gate_token()
    if wanted is None:
        if state.access().asks:
            raise ApiError(403, "this service asks for credentials, and hooks have no token: set `access.hooks`")
        return
    attempts, source, now_s = state.access().hooks, visit().source, state.now_ms() / 1000
    if not attempts.may_try(source, now_s):
        raise ApiError(_TOO_MANY, "too many wrong tokens came from this address: wait a minute")
    given = hook.metadata.get("token", "").encode()
    if hmac.compare_digest(wanted, given):
        attempts.was_right(source, now_s)
        return
    if given:
        attempts.was_wrong(source, now_s)
        log.warning("a hook brought a wrong token", extra={"from": source, "canary": f"{hook.namespace}/{hook.name}"})
    raise ApiError(403, "metadata.token is not the one that this service is configured with")


_TARGET: Final = Parameter(name="target", description="the name of a configured target", required=True)
_TOLD: Final = {
    "check": "Flagger's `rollout` hook: 412 while v2 fails, which counts as a failed check",
    "promote": "Flagger's `confirm-promotion` hook: waits until there is a pass",
    "rollback": "Flagger's `rollback` hook: 200 rolls back, and only a failing v2 gives it",
    "open": "Flagger's `pre-rollout` hook: opens the rollout's epoch",
    "event": "Flagger's `event` hook: opens the rollout's epoch where no other hook did",
}
_MEANINGS: Final = {
    400: "The payload is no hook's, or names no target",
    403: "The token is wrong",
    404: "No such target",
    409: "Not enough to say",
    412: "v2 fails",
    429: "Too many wrong tokens came from this address",
}


def _hook(name: str) -> Operation:
    refuses = {400, 403, 404, _TOO_MANY, *STATUSES[name].values()} - {OK}
    return Operation(
        path=f"/gates/flagger/{name}",
        name=f"flagger-{name}",
        summary=_TOLD[name],
        handler=flagger(name),
        answer=str,
        method="POST",
        role="own",
        body=FlaggerHook,
        refuses={
            status: "Nothing to roll back, or no such target" if (name, status) == ("rollback", 404) else why
            for status, why in _MEANINGS.items()
            if status in refuses
        },
    )


GATES: Final[tuple[Operation, ...]] = (
    Operation(
        path="/epochs",
        name="epoch",
        summary="The epoch that a target's verdict rests on",
        handler=get_epoch,
        answer=Opened,
        parameters=(_TARGET,),
        refuses={400: "An argument is missing", 404: "No such target"},
    ),
    Operation(
        path="/epochs",
        name="open-epoch",
        summary="Open an epoch now: what was counted before is no part of the verdict any more",
        handler=post_epoch,
        answer=Opened,
        method="POST",
        body=OpenEpoch,
        parameters=(_TARGET,),
        refuses={
            400: "An argument is missing or wrong",
            404: "No such target",
            415: "The body does not say that it is JSON",
            501: "This service keeps no epochs",
        },
    ),
    *(_hook(name) for name in STATUSES),
)
"""The epochs and Flagger's hooks, as declarations."""
