"""Put mirrored requests to v2, in bounds.

In: requests that were read whole and acknowledged.  Out: observations, offered to the sink; dispositions.
Holds: per target at most `concurrency` requests are out and `queue` wait; over all targets items and bytes have a
bound. What does not fit because of v2 (its lane is full, or it waited too long) is a candidate failure; what does not
fit because of this service, also where it is itself too busy to tell, is shed.
Every task belongs to the TaskGroup that the caller owns; none of them ever raises into it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shadowdiff.intake.breaker import Admission, Breaker
from shadowdiff.intake.pool import NoMeansError
from shadowdiff.intake.upstream import Destination
from shadowdiff.model import Failure, Observation, Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.intake.books import Books, ControlRow, MirrorRow
    from shadowdiff.intake.mirrored import Mirrored
    from shadowdiff.intake.upstream import Upstream
    from shadowdiff.model import Target

    Sink = Callable[[Observation, Callable[[bool], None], float], bool]
    Keeps = Callable[[str, float], bool]

logger = logging.getLogger(__name__)

CONTROL_CONCURRENCY = 64
"""Controls asked at once, per target; more are not asked, and their pairs do not wait."""
BUSY_WITHIN_S = 1.0
"""How long ago this service may have been busy for a lane that is full now."""
_NO_MEANS = "no file descriptor is left to ask v2 by: raise `ulimit -n`"
_LOST = False
_CONNECTION_FAILURES = frozenset({Failure.REFUSED, Failure.UNRESOLVED})


@dataclass(slots=True, frozen=True)
class Bounds:
    """What may be held in memory over all targets, waiting or out."""

    items: int = 16_384
    body_bytes: int = 256 << 20


@dataclass(slots=True)
class Lane:
    """One target's way to v2: its settings, made ready, and what is on it now."""

    target: Target
    candidate: Destination
    control: Destination | None
    methods: frozenset[str]
    row: MirrorRow
    control_row: ControlRow
    breaker: Breaker = field(default_factory=Breaker)
    active: int = 0
    active_controls: int = 0
    heard_s: float = float("-inf")
    waiting: deque[Mirrored] = field(default_factory=deque["Mirrored"])
    timer: asyncio.TimerHandle | None = None

    def configure(self, target: Target) -> None:
        """Take new settings; what is on the lane stays on it."""
        if target.candidate.url != self.target.candidate.url:
            self.breaker = Breaker()
        self.target = target
        self.candidate = Destination.of(target, target.candidate)
        self.control = Destination.of(target, target.control) if target.control else None
        self.methods = frozenset(target.methods)


class Dispatcher:
    """Owns the lanes. Tasks run in `group`; `drained` waits until nothing is held."""

    def __init__(
        self,
        *,
        group: asyncio.TaskGroup,
        upstream: Upstream,
        books: Books,
        sink: Sink,
        keeps: Keeps,
        bounds: Bounds | None = None,
        was_busy: Callable[[float], bool] = lambda _within_s: False,
    ) -> None:
        self._group = group
        self._upstream = upstream
        self._books = books
        self._sink = sink
        self._keeps = keeps
        self._bounds = bounds or Bounds()
        self._was_busy = was_busy
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, Lane] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_stopped = False
        self.held_items = 0
        self.held_bytes = 0

    def lane(self, target: Target) -> Lane:
        """Return the target's lane under these settings, the same object every time."""
        lane = self._lanes.get(target.name)
        if lane is None:
            lane = self._lanes[target.name] = Lane(
                target=target,
                candidate=Destination.of(target, target.candidate),
                control=Destination.of(target, target.control) if target.control else None,
                methods=frozenset(target.methods),
                row=self._books.mirror_row(target.name),
                control_row=self._books.control_row(target.name),
            )
        else:
            lane.configure(target)
        return lane

    def lanes(self) -> list[Lane]:
        """Return every lane there is, for gauges."""
        return list(self._lanes.values())

    def fill_of(self, target: str) -> float:
        """Return how full a target's queue is, 0 to 1; 0 where it is v2 that leaves it full, and not this service."""
        lane = self._lanes.get(target)
        if lane is None or not lane.waiting or not self._was_busy(BUSY_WITHIN_S):
            return 0.0
        return len(lane.waiting) / lane.target.candidate.queue

    def has_room(self, many_bytes: int) -> bool:
        """Whether one more item with so many bytes fits into memory."""
        return self.held_items < self._bounds.items and self.held_bytes + many_bytes <= self._bounds.body_bytes

    async def drained(self) -> None:
        """Wait until nothing waits and nothing is out."""
        await self._idle.wait()

    def stop(self) -> None:
        """Offer nothing more, and let nothing expire.

        What is still held stays in flight in the books, as what died with its process.
        """
        self._is_stopped = True
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
                lane.timer = None

    def submit(self, lane: Lane, request: Mirrored) -> None:
        """Take a request over: from here on it gets exactly one disposition."""
        candidate = lane.target.candidate
        fits = self.has_room(request.held_bytes)
        if lane.active < candidate.concurrency:
            if not fits:
                self._shed(lane, request, "memory")
            elif admission := self._admit(lane):
                self._hold(request)
                lane.active += 1
                self._group.create_task(self._work(lane, request, admission))
            else:
                self._fail(lane, request, Failure.BREAKER_OPEN)
        elif fits and len(lane.waiting) < candidate.queue:
            self._hold(request)
            self._queue(lane, request)
        else:
            self._saturated(lane, request, BUSY_WITHIN_S)

    def _admit(self, lane: Lane) -> Admission:
        return lane.breaker.admit(self._loop.time()) if lane.breaker.is_open else Admission.NORMAL

    def _hold(self, request: Mirrored) -> None:
        self.held_items += 1
        self.held_bytes += request.held_bytes
        self._idle.clear()

    def _release(self, request: Mirrored) -> None:
        self.held_items -= 1
        self.held_bytes -= request.held_bytes
        if not self.held_items:
            self._idle.set()

    def _queue(self, lane: Lane, request: Mirrored) -> None:
        request.waits_until_s = self._loop.time() + lane.target.candidate.queue_timeout_s
        lane.waiting.append(request)
        if lane.timer is None:
            lane.timer = self._loop.call_at(request.waits_until_s, self._expire, lane)

    def _expire(self, lane: Lane) -> None:
        """Turn those that waited too long into failures, and come back for the next."""
        now_s = self._loop.time()
        while lane.waiting and lane.waiting[0].waits_until_s <= now_s:
            request = lane.waiting.popleft()
            self._saturated(lane, request, lane.target.candidate.queue_timeout_s)
            self._release(request)
        lane.timer = None
        if lane.waiting:
            lane.timer = self._loop.call_at(lane.waiting[0].waits_until_s, self._expire, lane)

    async def _work(self, lane: Lane, request: Mirrored, admission: Admission) -> None:
        """Serve one request, and then those that wait, until none does."""
        try:
            await self._serve(lane, request, admission)
            while lane.waiting:
                request = lane.waiting.popleft()
                if admission := self._admit(lane):
                    await self._serve(lane, request, admission)
                else:
                    self._fail(lane, request, Failure.BREAKER_OPEN)
                    self._release(request)
        finally:
            lane.active -= 1

    async def _serve(self, lane: Lane, request: Mirrored, admission: Admission) -> None:
        try:
            control_wait_s = self._ask_control(lane, request) if lane.control else 0.0
            observation = await self._upstream.ask(lane.candidate, request)
            if observation.failure in _CONNECTION_FAILURES:
                lane.breaker.failed(self._loop.time(), admission)
            else:
                lane.breaker.connected()
            if observation.status:
                lane.heard_s = self._loop.time()
            self._offer(observation, lane.row.settled, control_wait_s)
        except NoMeansError as error:
            logger.error(_NO_MEANS, extra={"error": str(error)})  # noqa: TRY400 - what is missing is no fault of the code
            self._shed(lane, request, "descriptors")
        except Exception:  # the task's outer edge: one request must not end the service
            logger.exception("asking the candidate of %s failed on %s", lane.target.name, request.method)
            self._shed(lane, request, "error")
        finally:
            self._release(request)

    def _ask_control(self, lane: Lane, request: Mirrored) -> float:
        """Ask the control too if this id is drawn for it; return how long the pair is to wait for it."""
        control = lane.target.control
        if control is None or not self._keeps(f"control:{request.id}", control.sample):
            return 0.0
        row = lane.control_row
        row.received += 1
        if lane.active_controls >= CONTROL_CONCURRENCY:
            row.shed += 1
            self._books.shed(lane.target.name, "control")
            return 0.0
        row.in_flight += 1
        lane.active_controls += 1
        self._hold(request)
        self._group.create_task(self._serve_control(lane, request))
        return control.timeout_s

    async def _serve_control(self, lane: Lane, request: Mirrored) -> None:
        try:
            if lane.control is not None:
                observation = await self._upstream.ask(lane.control, request)
                self._offer(observation, lane.control_row.settled, 0.0)
        except NoMeansError as error:
            logger.error(_NO_MEANS, extra={"error": str(error)})  # noqa: TRY400 - what is missing is no fault of the code
            lane.control_row.settled(parked=False)
        except Exception:  # the task's outer edge
            logger.exception("asking the control of %s failed on %s", lane.target.name, request.method)
            lane.control_row.settled(parked=False)
        finally:
            lane.active_controls -= 1
            self._release(request)

    def _offer(self, observation: Observation, settled: Callable[[bool], None], control_wait_s: float) -> None:
        if self._is_stopped:
            return
        if not self._sink(observation, settled, control_wait_s):
            settled(_LOST)
            if observation.side is Side.CANDIDATE:
                losses = self._books.losses
                losses.add(observation.target, "mirrored.store_lost", observation.method, observation.path)

    def _fail(self, lane: Lane, request: Mirrored, failure: Failure) -> None:
        self._offer(self._upstream.failed(lane.candidate, request, failure), lane.row.settled, 0.0)

    def _saturated(self, lane: Lane, request: Mirrored, within_s: float) -> None:
        """Blame v2 for a lane that is full, unless it answers and this service was itself too busy to hear it."""
        if self._loop.time() - lane.heard_s <= within_s and self._was_busy(within_s):
            self._shed(lane, request, "busy")
        else:
            self._fail(lane, request, Failure.SATURATED)

    def _shed(self, lane: Lane, request: Mirrored, reason: str) -> None:
        if self._is_stopped:
            return
        lane.row.in_flight -= 1
        lane.row.shed += 1
        self._books.losses.add(lane.target.name, "mirrored.shed", request.method, request.path)
        self._books.shed(lane.target.name, reason)
