"""Flagger's webhooks. Each hook has its own path, because the payload does not name the hook.

An error is a 4xx with a text of less than a kilobyte, because the text becomes a Kubernetes event, and Flagger discards
the text of a 5xx or 429. (Only an address that sent too many wrong tokens gets 429.) If the store is unavailable, the
verdict is `insufficient`, which does not cause a rollback. Namespace, name and checksum identify a rollout; its first
hook starts its run. Errors do not show target names to a caller without a token.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.responses import Response

from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.visible import VISIBLE
from shadowdiff.store import STORE_ERRORS
from shadowdiff.verdict import Decision
from shadowdiff.web.operation import Operation
from shadowdiff.web.request_context import current_request, read_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from shadowdiff.queries.targets import TargetView
    from shadowdiff.web.layout import WebParts
    from shadowdiff.web.operation import Arguments

log = logging.getLogger(__name__)

LINE_BYTES: Final = 1000
OK: Final = 200
_FORBIDDEN, _TOO_MANY = 403, 429
STATUSES: Final[Mapping[str, Mapping[Decision, int]]] = {
    "check": {Decision.PASS: OK, Decision.INSUFFICIENT: OK, Decision.FAIL: 412},
    "promote": {Decision.PASS: OK, Decision.INSUFFICIENT: 409, Decision.FAIL: 412},
    "rollback": {Decision.PASS: 404, Decision.INSUFFICIENT: 404, Decision.FAIL: OK},
    "open": {Decision.PASS: OK, Decision.INSUFFICIENT: OK, Decision.FAIL: OK},
    "event": {Decision.PASS: OK, Decision.INSUFFICIENT: OK, Decision.FAIL: OK},
}
"""The status of each hook. `rollback` is inverted, because a 2xx makes Flagger roll back."""
IN_PROGRESS: Final = frozenset({"Progressing", "Waiting", "WaitingPromotion"})
"""Phases in which an event can start a run. An event about the end of a rollout does not start one."""


class FlaggerHook(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of every hook.  metadata: the hook author's values, such as `target` and, if needed, `token`."""

    name: str
    namespace: str
    phase: str = ""
    checksum: str = ""
    metadata: dict[str, str] = {}


def flagger(hook: str) -> Callable[[WebParts, Arguments, Request], Awaitable[Response]]:
    """Return the handler for one of Flagger's hooks."""

    async def handle(web: WebParts, _given: Arguments, request: Request) -> Response:
        try:
            body = await read_json(request, FlaggerHook)
            view = _admitted(web, body)
        except RequestError as error:
            return _line(error.status, error.message)
        if hook == "event" and body.phase not in IN_PROGRESS:
            return _line(OK, f"{body.phase or 'an event without a phase'}: received")
        rollout = f"{body.namespace}/{body.name}/{body.checksum}"
        try:
            verdict = await web.queries.verdict(view, str(request.base_url), revision=rollout)
        except STORE_ERRORS as error:
            log.warning(
                "store unavailable; answering a hook without a verdict", extra={"hook": hook, "error": repr(error)}
            )
            return _line(STATUSES[hook][Decision.INSUFFICIENT], f"{Decision.INSUFFICIENT}: the store is unavailable")
        link = f" {verdict.report_url}" if verdict.report_url else ""
        return _line(STATUSES[hook][verdict.verdict], f"{verdict.verdict}: {verdict.reason}{link}")

    return handle


def _admitted(web: WebParts, hook: FlaggerHook) -> TargetView:
    """Return the hook's target. Raises: RequestError.

    The token is checked first, because the error for an unknown target lists the targets that it may use.
    """
    source, given = current_request().source, hook.metadata.get("token", "")
    try:
        VISIBLE.set(web.access().hook_targets(given, source, web.now_s))
    except RequestError as error:
        if given and error.status == _FORBIDDEN:
            log.warning("hook rejected: wrong token", extra={"from": source, "canary": f"{hook.namespace}/{hook.name}"})
        raise
    name = hook.metadata.get("target")
    if not name:
        names = ", ".join(web.queries.names) or "none"
        raise RequestError(400, f"metadata has no target: add `target: NAME`; configured: {names}")
    return web.queries.target(name)


def _line(status: int, text: str) -> Response:
    """Return a one-line response that is short enough for a Kubernetes event."""
    line = " ".join(text.split()).encode()[:LINE_BYTES].decode("utf-8", "ignore")
    headers = {"retry-after": "60"} if status == _TOO_MANY else None
    return Response(line, status, headers, media_type="text/plain")


_SUMMARIES: Final = {
    "check": "Flagger's `rollout` hook: 412 while v2 fails, which counts as a failed check",
    "promote": "Flagger's `confirm-promotion` hook: Flagger waits until the verdict is pass",
    "rollback": "Flagger's `rollback` hook: Flagger rolls back if v2 fails (200)",
    "open": "Flagger's `pre-rollout` hook: starts the rollout's run",
    "event": "Flagger's `event` hook: starts the rollout's run if no other hook has started it",
}
_MEANINGS: Final = {
    400: "The payload is invalid, or has no target",
    403: "The token is wrong",
    404: "There is no such target",
    409: "The verdict is insufficient",
    412: "v2 fails",
    _TOO_MANY: "This address sent too many wrong tokens",
}


def _hook(name: str) -> Operation:
    refuses = {400, 403, 404, _TOO_MANY, *STATUSES[name].values()} - {OK}
    meanings = {status: meaning for status, meaning in _MEANINGS.items() if status in refuses}
    if name == "rollback":
        meanings[404] = "There is nothing to roll back, or there is no such target"
    return Operation(
        f"/gates/flagger/{name}",
        _SUMMARIES[name],
        flagger(name),
        str,
        name=f"flagger-{name}",
        method="POST",
        role="own",
        body=FlaggerHook,
        refuses=meanings,
    )


FLAGGER_OPERATIONS: Final = tuple(_hook(name) for name in STATUSES)
