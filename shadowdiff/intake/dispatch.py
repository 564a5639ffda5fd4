"""Send mirrored requests to v2, with limits.

Per target, at most `concurrency` requests are sent at once, and at most `queue` requests wait. The items and bytes of
all targets together are limited. If a request does not fit because of v2 (its queue is full, or the request waited too
long), this is a candidate failure. If this service is the reason, is too overloaded to know, or has `limits` that
protect v2, it sheds the request.
Every task belongs to the caller's TaskGroup, and never raises an error into it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from shadowdiff.intake.client_tls import TlsFileError
from shadowdiff.intake.connect import LocalResourceError
from shadowdiff.intake.counters import Disposition
from shadowdiff.intake.revalidation import IF_NONE_MATCH, ignores_own_etag, revalidation
from shadowdiff.intake.send_limiter import SendLimiter
from shadowdiff.intake.upstream import Destination
from shadowdiff.model import Failure, Observation, Side
from shadowdiff.model.sent import SendLimits
from shadowdiff.rules import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.intake.counters import Counts, IntakeCounters
    from shadowdiff.intake.upstream import MirroredRequest, Upstream
    from shadowdiff.model import ObservationSink, Target

logger = logging.getLogger(__name__)

CONTROL_CONCURRENCY = 64
"""The maximum number of concurrent control requests per target. Other pairs are compared without a control."""
BUSY_WITHIN_S = 1.0
"""A full queue is not v2's fault if this service was overloaded this recently."""
BREAKER_FAILURES = 5
"""The number of consecutive connection failures that opens the breaker."""
BREAKER_FIRST_S = 1.0
BREAKER_LONGEST_S = 10.0
_CONNECTION_FAILURES = frozenset({
    Failure.REFUSED, Failure.UNRESOLVED, Failure.TLS_UNTRUSTED, Failure.TLS_EXPIRED, Failure.TLS_NAME_MISMATCH,
    Failure.TLS_CLIENT_CERTIFICATE_REQUIRED, Failure.TLS_FAILED,
})  # fmt: skip


class BreakerDecision(IntEnum):
    """Whether a request may connect."""

    REFUSED = 0
    NORMAL = 1
    PROBE = 2


class Breaker:
    """Stops connection attempts to a candidate that refuses connections, for a short, growing time.

    While the breaker is open, it admits one probe at a time. Callers pass the time. A refused connection costs far more
    than a successful request, so the breaker avoids the cost of a dead v2. open_for_s: how long the breaker stays open
    before the next probe; 0 if it is closed.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._until_s = 0.0
        self.open_for_s = 0.0

    def __repr__(self) -> str:
        if self.open_for_s:
            return f"<Breaker open for {self.open_for_s:g} s until {self._until_s:g}>"
        return f"<Breaker closed, {self._failures} of {BREAKER_FAILURES} failures>"

    def admit(self, now_s: float) -> BreakerDecision:
        """Return whether a request may connect. If a probe never reports its result, another probe is admitted."""
        if not self.open_for_s:
            return BreakerDecision.NORMAL
        if now_s < self._until_s:
            return BreakerDecision.REFUSED
        self._until_s = now_s + self.open_for_s
        return BreakerDecision.PROBE

    def connected(self) -> None:
        """Close the breaker, because a connection was made, even if its request failed."""
        self._failures = 0
        self.open_for_s = 0.0

    def failed(self, now_s: float, decision: BreakerDecision) -> None:
        """Count a failed connection. Late failures do not change an open breaker."""
        if self.open_for_s:
            opens = decision is BreakerDecision.PROBE
        else:
            self._failures += 1
            opens = self._failures >= BREAKER_FAILURES
        if opens:
            self.open_for_s = min(self.open_for_s * 2, BREAKER_LONGEST_S) or BREAKER_FIRST_S
            self._until_s = now_s + self.open_for_s


@dataclass(slots=True)
class TargetQueue:
    """The requests of one target that wait for v2 or were sent to it, and the objects that send them.

    answered_s: the time of v2's last response, on the loop's clock.
    """

    target: Target
    counts: Counts
    control_counts: Counts
    candidate: Destination = field(init=False)
    control: Destination | None = field(init=False)
    traffic: Traffic = field(init=False)
    limiter: SendLimiter = field(init=False)
    control_limiter: SendLimiter = field(init=False)
    breaker: Breaker = field(default_factory=Breaker)
    active: int = 0
    active_controls: int = 0
    answered_s: float = float("-inf")
    waiting: deque[MirroredRequest] = field(default_factory=deque["MirroredRequest"])
    timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self._use(self.target, Destination.of(self.target, self.target.candidate))

    def configure(self, target: Target) -> None:
        """Use new settings, also for requests that were already accepted."""
        candidate = Destination.of(target, target.candidate)
        if candidate.peer != self.candidate.peer:
            self.breaker = Breaker()
        self._use(target, candidate)

    def _use(self, target: Target, candidate: Destination) -> None:
        self.target = target
        self.candidate = candidate
        self.control = Destination.of(target, target.control) if target.control else None
        self.traffic = Traffic(target)
        self.limiter = SendLimiter(target.candidate.limits)
        self.control_limiter = SendLimiter(target.control.limits if target.control else SendLimits())


@dataclass(kw_only=True, eq=False)
class Dispatcher:
    """Owns the queue of each target. Tasks run in `group`; `drained` waits until no request is left.

    most_items, most_bytes: the limits of waiting and sent requests in memory, for all targets together.
    was_busy: returns whether this process was overloaded in the last given seconds. processes: returns how many
    processes share the rates that `limits` allow.
    """

    group: asyncio.TaskGroup
    upstream: Upstream
    counters: IntakeCounters
    sink: ObservationSink
    in_sample: Callable[[str, float], bool]
    most_items: int = 16_384
    most_bytes: int = 256 << 20
    was_busy: Callable[[float], bool] = lambda _within_s: False
    processes: Callable[[], int] = lambda: 1
    queues: dict[str, TargetQueue] = field(default_factory=dict[str, TargetQueue])
    held_items: int = 0
    held_bytes: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _is_stopped: bool = False

    def queue(self, target: Target) -> TargetQueue:
        """Return the target's queue with these settings, always the same object."""
        queue = self.queues.get(target.name)
        if queue is None:
            counts, controls = self.counters.mirrored[target.name], self.counters.controls[target.name]
            queue = self.queues[target.name] = TargetQueue(target, counts, controls)
        else:
            queue.configure(target)
        return queue

    def retire_unused(self) -> None:
        """Close the connections to servers that no target uses any longer."""
        sides = [side for queue in self.queues.values() for side in (queue.candidate, queue.control) if side]
        self.upstream.retire_others({side.peer for side in sides})

    def fill_of(self, target: str) -> float:
        """Return how full a target's queue is, from 0 to 1; 0 if v2 is the reason instead of this service."""
        queue = self.queues.get(target)
        if queue is None or not queue.waiting or not self.was_busy(BUSY_WITHIN_S):
            return 0.0
        return len(queue.waiting) / queue.target.candidate.queue

    def has_room(self, item_bytes: int) -> bool:
        """Whether one more item of this size fits into memory."""
        return self.held_items < self.most_items and self.held_bytes + item_bytes <= self.most_bytes

    async def drained(self) -> None:
        """Wait until no request waits or is being sent."""
        while self.held_items:
            self._idle.clear()
            await self._idle.wait()

    def stop(self) -> None:
        """Send no more observations to the sink, and let no request expire.

        Remaining requests stay in flight in the ledger, like the requests of a killed process.
        """
        self._is_stopped = True
        for queue in self.queues.values():
            if queue.timer is not None:
                queue.timer.cancel()
                queue.timer = None

    def submit(self, queue: TargetQueue, request: MirroredRequest) -> None:
        """Accept a request, which then gets exactly one disposition."""
        candidate = queue.target.candidate
        fits = self.has_room(request.held_bytes)
        if queue.limiter.is_set and (limit := self._exceeded(queue.limiter, queue.active)):
            self._shed(queue, request, f"candidate_{limit}")
        elif queue.active < candidate.concurrency:
            if not fits:
                self._shed(queue, request, "memory")
            elif decision := queue.breaker.admit(self._loop.time()):
                self._hold(request)
                queue.active += 1
                self.group.create_task(self._work(queue, request, decision))
            else:
                self._fail(queue, request, Failure.BREAKER_OPEN)
        elif fits and len(queue.waiting) < candidate.queue:
            self._hold(request)
            request.waits_until_s = self._loop.time() + candidate.queue_timeout_s
            queue.waiting.append(request)
            self._set_timer(queue)
        else:
            self._saturated(queue, request, BUSY_WITHIN_S)

    def _exceeded(self, limiter: SendLimiter, active: int) -> str:
        return limiter.exceeded(active, self._loop.time(), self.processes())

    def withhold(self, queue: TargetQueue, request: MirroredRequest) -> None:
        """Store that a request is not sent because it is not safe, so that v1's response does not wait for v2's."""
        observation = self.upstream.failed(queue.candidate, request, Failure.WITHHELD)
        self._offer(observation, queue.counts, 0.0)

    def _hold(self, request: MirroredRequest) -> None:
        self.held_items += 1
        self.held_bytes += request.held_bytes

    def _release(self, request: MirroredRequest) -> None:
        self.held_items -= 1
        self.held_bytes -= request.held_bytes
        if not self.held_items:
            self._idle.set()

    def _set_timer(self, queue: TargetQueue) -> None:
        if queue.waiting and queue.timer is None:
            queue.timer = self._loop.call_at(queue.waiting[0].waits_until_s, self._expire, queue)

    def _expire(self, queue: TargetQueue) -> None:
        now_s = self._loop.time()
        while queue.waiting and queue.waiting[0].waits_until_s <= now_s:
            request = queue.waiting.popleft()
            self._saturated(queue, request, queue.target.candidate.queue_timeout_s)
            self._release(request)
        queue.timer = None
        self._set_timer(queue)

    async def _work(self, queue: TargetQueue, request: MirroredRequest, decision: BreakerDecision) -> None:
        try:
            await self._send(queue, request, decision)
            while queue.waiting:
                request = queue.waiting.popleft()
                if decision := queue.breaker.admit(self._loop.time()):
                    await self._send(queue, request, decision)
                else:
                    self._fail(queue, request, Failure.BREAKER_OPEN)
                    self._release(request)
        finally:
            queue.active -= 1

    async def _send(self, queue: TargetQueue, request: MirroredRequest, decision: BreakerDecision) -> None:
        candidate = queue.candidate
        try:
            control_wait_s = self._start_control(queue, request) if queue.control else 0.0
            observation = await self.upstream.send(candidate, request)
            if observation.failure in _CONNECTION_FAILURES:
                queue.breaker.failed(self._loop.time(), decision)
            else:
                queue.breaker.connected()
            if observation.status:
                queue.answered_s = self._loop.time()
                if candidate is queue.candidate:  # otherwise a reload may have named another v2
                    observation = await self._revalidated(queue, request, observation)
            self._offer(observation, queue.counts, control_wait_s)
        except Exception as error:  # noqa: BLE001 - outermost handler: one request must not end the service
            self._shed(queue, request, _log_failure(error, candidate, request))
        finally:
            self._release(request)

    async def _revalidated(self, queue: TargetQueue, request: MirroredRequest, observation: Observation) -> Observation:
        """Send v2 its own ETag for a share of the conditional requests; return the observation that shows a fault."""
        share = queue.target.candidate.revalidate
        repeated = revalidation(request, observation) if share else None
        left_s = queue.candidate.timeout_s - observation.duration_ms / 1000
        if repeated is None or left_s <= 0 or not self.in_sample(f"revalidate:{request.id}", share):
            return observation
        if queue.candidate.edits.changes(IF_NONE_MATCH) or self._exceeded(queue.limiter, 0):
            return observation
        try:
            again = await self.upstream.send(dataclasses.replace(queue.candidate, timeout_s=left_s), repeated)
        except LocalResourceError:
            return observation
        return again if ignores_own_etag(observation, again) else observation

    def _start_control(self, queue: TargetQueue, request: MirroredRequest) -> float:
        """If its id is sampled, also send the request to the control. Return how long the pair waits for it."""
        settings, control = queue.target.control, queue.control
        if settings is None or control is None or not self.in_sample(f"control:{request.id}", settings.sample):
            return 0.0
        queue.control_counts.receive()
        limit = self._exceeded(queue.control_limiter, queue.active_controls) if queue.control_limiter.is_set else ""
        if limit or queue.active_controls >= CONTROL_CONCURRENCY:
            queue.control_counts.end(Disposition.SHED)
            self.counters.shed_reasons[queue.target.name, f"control_{limit}" if limit else "control"] += 1
            return 0.0
        queue.active_controls += 1
        self._hold(request)
        self.group.create_task(self._send_control(queue, control, request))
        return control.timeout_s

    async def _send_control(self, queue: TargetQueue, control: Destination, request: MirroredRequest) -> None:
        try:
            self._offer(await self.upstream.send(control, request), queue.control_counts, 0.0)
        except Exception as error:  # noqa: BLE001 - outermost handler
            _log_failure(error, control, request)
            queue.control_counts.end(Disposition.STORE_LOST)
        finally:
            queue.active_controls -= 1
            self._release(request)

    def _offer(self, observation: Observation, counts: Counts, control_wait_s: float) -> None:
        settle = counts.withhold if observation.failure is Failure.WITHHELD else counts.settle
        if self._is_stopped or self.sink(observation, settle, control_wait_s):
            return
        counts.end(Disposition.STORE_LOST)
        if observation.side is Side.CANDIDATE:
            loss = f"mirrored.{Disposition.STORE_LOST}"
            self.counters.losses.add(observation.target, loss, observation.method, observation.path)

    def _fail(self, queue: TargetQueue, request: MirroredRequest, failure: Failure) -> None:
        self._offer(self.upstream.failed(queue.candidate, request, failure), queue.counts, 0.0)

    def _saturated(self, queue: TargetQueue, request: MirroredRequest, within_s: float) -> None:
        """Attribute a full queue to v2, unless v2 responds and this service was too overloaded to read responses."""
        if self._loop.time() - queue.answered_s <= within_s and self.was_busy(within_s):
            self._shed(queue, request, "busy")
        else:
            self._fail(queue, request, Failure.SATURATED)

    def _shed(self, queue: TargetQueue, request: MirroredRequest, reason: str) -> None:
        if self._is_stopped:
            return
        queue.counts.end(Disposition.SHED)
        self.counters.losses.add(queue.target.name, "mirrored.shed", request.method, request.path)
        self.counters.shed_reasons[queue.target.name, reason] += 1


def _log_failure(error: Exception, destination: Destination, request: MirroredRequest) -> str:
    """Log why a request could not be sent; return the reason why it is shed."""
    if isinstance(error, LocalResourceError):
        logger.error("no file descriptor left for v2; raise `ulimit -n`", extra={"error": str(error)})
        return "descriptors"
    extra = {"target": destination.target, "side": str(destination.side), "method": request.method}
    if isinstance(error, TlsFileError):
        logger.error("TLS files not usable; correct them and reload", extra={**extra, "error": str(error)})
        return "tls_files"
    logger.error("sending a request failed", exc_info=error, extra=extra)
    return "error"
