"""Test that v2 receives its own ETag, and that a v2 that ignores it is found."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest

from shadowdiff.intake.connect import LocalResourceError
from shadowdiff.intake.counters import IntakeCounters
from shadowdiff.intake.dispatch import Dispatcher
from shadowdiff.intake.revalidation import revalidation
from shadowdiff.intake.upstream import Destination, MirroredRequest, Upstream
from shadowdiff.model import REVALIDATION, Candidate, Failure, Observation, Side, Target
from tests.fakes.counts import is_balanced

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.intake.exchange import RawHeaders

USERS = (b"if-none-match", b'"v1"')
OWN = (b"if-none-match", b'"v2"')


class V2(Upstream):
    """A v2 that sends these responses one after another: status, ETag and body. Status -1: it cannot be reached."""

    def __init__(self, *responses: tuple[int, bytes, bytes]) -> None:
        super().__init__(lambda: 0)
        self.responses = list(responses)
        self.sent: list[RawHeaders] = []
        self.reload: Callable[[], object] = lambda: None

    async def send(self, destination: Destination, request: MirroredRequest) -> Observation:
        """Send the next response."""
        self.sent.append(request.headers)
        self.reload()
        status, tag, body = self.responses.pop(0)
        if status < 0:
            raise LocalResourceError
        return Observation(
            side=destination.side, target="svc", id=request.id, id_source="x-diff-id", method="GET", path="/",
            host="svc", status=status, failure=None if status else Failure.TIMEOUT, headers=((b"etag", tag),),
            body=body, body_bytes=len(body), duration_ms=1.0, request_headers=tuple(request.headers),
        )  # fmt: skip


async def observed(
    v2: V2, *headers: tuple[bytes, bytes], method: str = "GET", share: float = 1.0, reloads: bool = False
) -> Observation:
    """Send one request through the dispatcher, and return its only observation.

    reloads: whether the configuration names another v2 before the response arrives.
    """
    seen: list[Observation] = []

    def sink(observation: Observation, settle: Callable[[bool], None], _control_wait_s: float) -> bool:
        seen.append(observation)
        settle(True)
        return True

    counters = IntakeCounters()
    target = Target(name="svc", hosts=("svc",), candidate=Candidate(url="http://v2", revalidate=share))
    async with asyncio.TaskGroup() as group:
        dispatcher = Dispatcher(
            group=group, upstream=v2, counters=counters, sink=sink,
            in_sample=lambda identity, share: identity == "revalidate:1" and share > 0.5,
        )  # fmt: skip
        queue = dispatcher.queue(target)
        if reloads:
            other = msgspec.structs.replace(target, candidate=Candidate(url="http://v3", revalidate=share))
            v2.reload = partial(dispatcher.queue, other)
        queue.counts.receive()
        dispatcher.submit(queue, MirroredRequest("1", "x-diff-id", method, "/", "svc", list(headers), b"", 10))
        await dispatcher.drained()
    assert is_balanced(counters.mirrored["svc"])
    assert [] == v2.responses
    [one] = seen
    return one


@pytest.mark.parametrize("again", [(200, b'"v2"', b"a"), (200, b'"other"', b"a"), (200, b'"v2"', b"b")])
async def test_a_v2_that_ignores_its_own_etag_is_observed_with_its_second_response(
    again: tuple[int, bytes, bytes],
) -> None:
    """The tag is the same, or the tag is new although the body is the same."""
    v2 = V2((200, b'"v2"', b"a"), again)
    one = await observed(v2, (b"accept", b"*/*"), USERS, (b"if-modified-since", b"x"))
    assert [(b"accept", b"*/*"), OWN, REVALIDATION] == v2.sent[1] == list(one.request_headers)
    assert again[2] == one.body


@pytest.mark.parametrize(
    "again", [(304, b'"v2"', b""), (200, b'"new"', b"b"), (503, b'"v2"', b"a"), (0, b"", b""), (-1, b"", b"")]
)
async def test_every_other_second_response_leaves_the_first_observation(again: tuple[int, bytes, bytes]) -> None:
    """v2 answers 304 as it should, its content changed, or the second request failed."""
    one = await observed(V2((200, b'"v2"', b"a"), again), USERS)
    assert (200, b"a", (USERS,)) == (one.status, one.body, one.request_headers)


@pytest.mark.parametrize(
    ("first", "headers", "method", "share"),
    [
        ((304, b'"v2"', b""), [USERS], "GET", 1.0),
        ((200, b"", b"a"), [USERS], "GET", 1.0),
        ((200, b'W/"v1"', b"a"), [USERS], "GET", 1.0),
        ((200, b'"v2"', b"a"), [], "GET", 1.0),
        ((200, b'"v2"', b"a"), [USERS], "POST", 1.0),
        ((200, b'"v2"', b"a"), [USERS], "GET", 0.0),
        ((200, b'"v2"', b"a"), [USERS], "GET", 0.1),
        ((0, b"", b""), [USERS], "GET", 1.0),
    ],
)
async def test_other_requests_are_sent_once(
    first: tuple[int, bytes, bytes], headers: list[tuple[bytes, bytes]], method: str, share: float
) -> None:
    """A second request would test nothing, or the request is not in the sample."""
    v2 = V2(first)
    await observed(v2, *headers, method=method, share=share)
    assert 1 == len(v2.sent)


def test_an_incomplete_response_is_not_requested_again() -> None:
    """Otherwise a complete second response would take the place of v2's failure."""
    request = MirroredRequest("1", "x-diff-id", "GET", "/", "svc", [USERS], b"", 10)
    whole = Observation(
        side=Side.CANDIDATE, target="svc", id="1", id_source="x-diff-id", method="GET", path="/", host="svc",
        status=200, headers=((b"etag", b'"v2"'),), body=b"a", body_bytes=1,
    )  # fmt: skip
    assert revalidation(request, whole) is not None
    assert revalidation(request, msgspec.structs.replace(whole, failure=Failure.RESET)) is None


async def test_another_v2_after_a_reload_does_not_receive_the_etag() -> None:
    """It does not know the ETag, so its full response is no fault."""
    v2 = V2((200, b'"v2"', b"a"))
    one = await observed(v2, USERS, reloads=True)
    assert (1, (USERS,)) == (len(v2.sent), one.request_headers)
