"""Test the dispatcher with a fake v2: limits, failures, shedding, and one disposition for each request."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.intake import dispatch
from shadowdiff.intake.client_tls import TlsFileError
from shadowdiff.intake.connect import LocalResourceError
from shadowdiff.intake.counters import ControlCounts, IntakeCounters, MirrorCounts
from shadowdiff.intake.dispatch import Dispatcher, TargetQueue
from shadowdiff.intake.upstream import Destination, MirroredRequest, Upstream
from shadowdiff.model import Candidate, Control, Failure, Observation, Side, Target
from shadowdiff.model.sent import SendLimits
from tests.fakes.counts import is_balanced

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


class V2(Upstream):
    """A v2 that responds when the test allows it."""

    def __init__(self) -> None:
        super().__init__(lambda: 0)
        self.sent: list[tuple[Side, str]] = []
        self.failure: Failure | None = None
        self.error: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def send(self, destination: Destination, request: MirroredRequest) -> Observation:
        """Respond with 200, or as the test requires."""
        self.sent.append((destination.side, request.id))
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return self.observation(destination, request, self.failure)

    def observation(self, destination: Destination, request: MirroredRequest, failure: Failure | None) -> Observation:
        """Return the observation for the sink."""
        return Observation(
            side=destination.side, target=destination.target, id=request.id, id_source="x-diff-id", method="GET",
            path="/", host="svc", status=0 if failure else 200, failure=failure,
        )  # fmt: skip


class Dispatching:
    """A dispatcher, its v2, and the observations in the sink."""

    def __init__(self, group: asyncio.TaskGroup, target: Target, bounds: dict[str, Any] | None) -> None:
        self.v2 = V2()
        self.counters = IntakeCounters()
        self.seen: list[Observation] = []
        self.waits_s: list[float] = []
        self.sink_has_room = self.is_stored = True
        self.is_busy = False
        self.dispatcher = Dispatcher(
            group=group, upstream=self.v2, counters=self.counters, sink=self.sink,
            in_sample=lambda identity, _share: identity.startswith("control:c"),
            was_busy=lambda _within_s: self.is_busy, **(bounds or {}),
        )  # fmt: skip
        self.queue: TargetQueue = self.dispatcher.queue(target)

    def sink(self, observation: Observation, settle: Callable[[bool], None], control_wait_s: float) -> bool:
        """Accept an observation if there is room."""
        if self.sink_has_room:
            self.seen.append(observation)
            self.waits_s.append(control_wait_s)
            settle(self.is_stored)
        return self.sink_has_room

    def submit(self, *ids: str, held_bytes: int = 10) -> None:
        """Submit requests as the mirror port does."""
        for each in ids:
            self.queue.counts.receive()
            self.dispatcher.submit(
                self.queue, MirroredRequest(each, "x-diff-id", "GET", "/", "svc", [], b"", held_bytes)
            )

    async def drained(self) -> MirrorCounts:
        """Wait until no request is held, and return the counts of the target."""
        self.v2.may_answer.set()
        async with asyncio.timeout(60):
            await self.dispatcher.drained()
        counts = self.counters.mirrored["svc"]
        assert is_balanced(counts)
        assert (0, 0) == (self.dispatcher.held_items, self.dispatcher.held_bytes)
        return counts

    @property
    def failures(self) -> list[Failure | None]:
        """Return the failure of each observation in the sink."""
        return [one.failure for one in self.seen]


def target(**candidate: Any) -> Target:
    """Return a target whose candidate has these settings."""
    return Target(name="svc", hosts=("svc",), candidate=Candidate(url="http://v2", **candidate))


@contextlib.asynccontextmanager
async def dispatching(made: Target | None = None, bounds: dict[str, Any] | None = None) -> AsyncGenerator[Dispatching]:
    """Run a dispatcher."""
    async with asyncio.TaskGroup() as group:
        yield Dispatching(group, made or target(), bounds)


async def test_requests_beyond_the_concurrency_wait_their_turn() -> None:
    """One task serves the queue, in order."""
    async with dispatching(target(concurrency=2)) as running:
        running.v2.may_answer.clear()
        running.submit("1", "2", "3", "4")
        await asyncio.sleep(0)
        assert ([(Side.CANDIDATE, "1"), (Side.CANDIDATE, "2")], 2) == (running.v2.sent, len(running.queue.waiting))
        assert MirrorCounts(received=4, forwarded=4) == await running.drained()
        assert ["1", "2", "3", "4"] == [one for _, one in running.v2.sent]


@pytest.mark.parametrize(
    ("is_busy", "has_answered", "expected"),
    [
        (False, True, MirrorCounts(received=3, forwarded=3)),
        (True, True, MirrorCounts(received=3, forwarded=2, shed=1)),
        (True, False, MirrorCounts(received=3, forwarded=3)),
    ],
)
async def test_a_full_queue_is_a_failure_of_v2_unless_this_service_is_overloaded(
    is_busy: bool, has_answered: bool, expected: MirrorCounts
) -> None:
    """v2 is not at fault if this service is overloaded and v2 responds. An unavailable v2 counts as saturated."""
    async with dispatching(target(concurrency=1, queue=1)) as running:
        running.is_busy = is_busy
        if has_answered:
            running.queue.answered_s = asyncio.get_running_loop().time()
        running.v2.may_answer.clear()
        running.submit("1", "2", "3")
        assert ([] if is_busy and has_answered else [Failure.SATURATED]) == running.failures
        assert (0.0 if not is_busy else 1.0) == running.dispatcher.fill_of("svc")
        assert expected == await running.drained()


async def test_a_request_that_waits_too_long_fails() -> None:
    """Each request has its own deadline while v2 occupies the only connection."""
    async with dispatching(target(concurrency=1, queue_timeout_s=0.02)) as running:
        running.v2.may_answer.clear()
        running.submit("1", "2", "3")
        async with asyncio.timeout(60):
            while len(running.seen) < 2:  # noqa: ASYNC110 - the sink of a real store signals nothing either
                await asyncio.sleep(0.005)
        assert [Failure.SATURATED] * 2 == running.failures
        assert MirrorCounts(received=3, forwarded=3) == await running.drained()


@pytest.mark.parametrize("bounds", [{"most_items": 1}, {"most_bytes": 15}])
async def test_memory_is_bounded_over_all_targets(bounds: dict[str, Any]) -> None:
    """A request that does not fit is shed, because v2 is not at fault."""
    async with dispatching(bounds=bounds) as running:
        running.submit("1", "2")
        assert MirrorCounts(received=2, forwarded=1, shed=1) == await running.drained()
        assert {("svc", "memory"): 1} == running.counters.shed_reasons


async def test_a_withheld_request_is_observed_but_not_sent() -> None:
    """v1's response finds its partner, which says that v2 did not receive the request."""
    async with dispatching() as running:
        running.queue.counts.receive(2)
        request = MirroredRequest("1", "x-diff-id", "POST", "/graphql", "svc", [], b"{}", 10)
        running.dispatcher.withhold(running.queue, request)
        running.is_stored = False
        running.dispatcher.withhold(running.queue, request)
        assert MirrorCounts(received=2, withheld=1, store_lost=1) == await running.drained()
    assert ([], [Failure.WITHHELD] * 2) == (running.v2.sent, running.failures)
    assert b"{}" == running.seen[0].request_body


async def test_the_breaker_opens_after_refused_connections() -> None:
    """Later requests fail without a connection. A response closes the breaker again."""
    async with dispatching(target(concurrency=1)) as running:
        running.v2.failure = Failure.REFUSED
        running.submit(*"12345")
        await running.drained()
        running.submit("6")
        assert [*[Failure.REFUSED] * 5, Failure.BREAKER_OPEN] == running.failures
        assert 5 == len(running.v2.sent)
        assert MirrorCounts(received=6, forwarded=6) == await running.drained()


@pytest.mark.parametrize(
    ("error", "reason"), [(LocalResourceError("none left"), "descriptors"), (RuntimeError("a bug"), "error")]
)
async def test_a_failure_of_this_service_sheds_the_request(
    error: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged, and never stops the service."""
    async with dispatching() as running:
        running.v2.error = error
        running.submit("1")
        assert MirrorCounts(received=1, shed=1) == await running.drained()
        assert {("svc", reason): 1} == running.counters.shed_reasons
        assert 1 == len(caplog.records)


@pytest.mark.parametrize(("sink_has_room", "is_stored"), [(False, True), (True, False)])
async def test_an_observation_without_room_in_the_store_is_lost(sink_has_room: bool, is_stored: bool) -> None:
    """The observation is lost immediately, or when the store fails later."""
    async with dispatching() as running:
        running.sink_has_room, running.is_stored = sink_has_room, is_stored
        running.submit("1")
        assert MirrorCounts(received=1, store_lost=1) == await running.drained()


async def test_a_sampled_request_is_also_sent_to_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of parallel requests to the control is limited. A pair waits only if its request was sent."""
    monkeypatch.setattr(dispatch, "CONTROL_CONCURRENCY", 1)
    made = Target(
        name="svc", hosts=("svc",), candidate=Candidate(url="http://v2"), control=Control(url="http://c", timeout_s=7)
    )
    async with dispatching(made) as running:
        running.v2.may_answer.clear()
        running.submit("c1", "c2", "3")
        await asyncio.sleep(0)
        await running.drained()
        assert ["c1"] == [one for side, one in running.v2.sent if side is Side.CONTROL]
        waits_s = {
            one.id: wait_s
            for one, wait_s in zip(running.seen, running.waits_s, strict=True)
            if one.side is Side.CANDIDATE
        }
        assert {"c1": 7, "c2": 0, "3": 0} == waits_s
        assert ControlCounts(received=2, observed=1, shed=1) == running.counters.controls["svc"]


@pytest.mark.parametrize(
    ("limits", "reason"), [({"concurrency": 1}, "candidate_concurrency"), ({"rate": 1.0}, "candidate_rate")]
)
async def test_a_request_over_a_limit_is_shed_and_never_a_failure(limits: dict[str, Any], reason: str) -> None:
    """The user set the limit, so v2 is not at fault, even if it does not respond."""
    async with dispatching(target(concurrency=1, limits=SendLimits(**limits))) as running:
        running.v2.may_answer.clear()
        running.submit("1", "2", "3")
        assert MirrorCounts(received=3, forwarded=1, shed=2) == await running.drained()
        assert ([None], {("svc", reason): 2}) == (running.failures, running.counters.shed_reasons)
        assert {"_other mirrored.shed": 2} == running.counters.losses.counts["svc"]


async def test_processes_share_the_rate_of_a_target() -> None:
    """With four processes, each one sends a quarter."""
    async with dispatching(target(limits=SendLimits(rate=8.0)), {"processes": lambda: 4}) as running:
        running.submit(*map(str, range(8)))
        assert MirrorCounts(received=8, forwarded=2, shed=6) == await running.drained()


@pytest.mark.parametrize("limits", [{"concurrency": 1}, {"rate": 1.0}])
async def test_the_control_has_its_own_limits(limits: dict[str, Any]) -> None:
    """A pair does not wait for a request that was not sent to the control."""
    control = Control(url="http://c", timeout_s=7, limits=SendLimits(**limits))
    made = Target(name="svc", hosts=("svc",), candidate=Candidate(url="http://v2"), control=control)
    async with dispatching(made) as running:
        running.v2.may_answer.clear()
        running.submit("c1", "c2")
        await asyncio.sleep(0)
        assert MirrorCounts(received=2, forwarded=2) == await running.drained()
        assert ControlCounts(received=2, observed=1, shed=1) == running.counters.controls["svc"]
        assert {("svc", f"control_{next(iter(limits))}"): 1} == running.counters.shed_reasons


async def test_unusable_tls_files_shed_the_request() -> None:
    """The files may have changed after they were checked. v2 is not at fault."""
    async with dispatching() as running:
        running.v2.error = TlsFileError("ca", "names a file that cannot be read")
        running.submit("1")
        assert MirrorCounts(received=1, shed=1) == await running.drained()
        assert {("svc", "tls_files"): 1} == running.counters.shed_reasons


async def test_another_address_closes_the_breaker() -> None:
    """Failures of the old address say nothing about the new one. Other settings keep the breaker."""
    async with dispatching() as running:
        before = running.queue.breaker
        running.queue.configure(target(timeout_s=1))
        assert before is running.queue.breaker
        running.queue.configure(target(server_name="v2.internal"))
        assert before is not running.queue.breaker


async def test_a_stopped_dispatcher_sends_no_request() -> None:
    """The requests that it holds stay in flight, as in a killed process."""
    async with dispatching(target(concurrency=1, queue_timeout_s=0.01)) as running:
        running.v2.may_answer.clear()
        running.submit("1", "2")
        running.dispatcher.stop()
        assert running.queue.timer is None
        assert 2 == (await running.drained()).in_flight
        assert [] == running.seen
