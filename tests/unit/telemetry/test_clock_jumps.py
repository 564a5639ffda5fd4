"""Clock jumps are logged. Slow or missing replies are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError as AwayError

from shadowdiff.telemetry.clock_jumps import ClockJumpDetector

if TYPE_CHECKING:
    import pytest


@dataclass
class World:
    """Two wall clocks that a test controls, and a monotonic one."""

    running_s: float = 1000.0
    wall_s: float = 0.0
    redis_s: dict[str, float] = field(default_factory=lambda: {"": 0.0})
    takes_s: float = 0.0
    is_away: bool = False

    def detector(self) -> ClockJumpDetector:
        """Return the detector of these clocks."""
        return ClockJumpDetector(self._of_redis, lambda: self.running_s + self.wall_s, lambda: self.running_s)

    async def _of_redis(self) -> dict[str, float]:
        if self.is_away:
            raise AwayError
        self.running_s += self.takes_s
        return {address: self.running_s + ahead_s for address, ahead_s in self.redis_s.items()}


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage().removesuffix("; windows and runs depend on it") for record in caplog.records]
    caplog.clear()
    return said


async def test_a_jump_is_logged_with_its_clock(caplog: pytest.LogCaptureFixture) -> None:
    """The log has one line per jump, in both directions."""
    world = World()
    detector = world.detector()
    for wall_s, redis_s, expected in (
        (0, 0, []),
        (3600, 0, ["the clock of this process jumped by +3600 s"]),
        (3600, -3600, ["the clock of Redis jumped by -3600 s"]),
        (0, 0, ["the clock of this process jumped by -3600 s", "the clock of Redis jumped by +3600 s"]),
        (4, -4, []),
    ):
        world.wall_s, world.redis_s[""] = wall_s, redis_s
        for said in (expected, []):
            world.running_s += 1
            await detector.check()
            assert said == _said(caplog)


async def test_each_master_of_a_cluster_has_a_clock(caplog: pytest.LogCaptureFixture) -> None:
    """Masters may differ; a replica that takes over starts from its own clock."""
    world = World(redis_s={"a:1": 0.0, "b:2": 100.0})
    detector = world.detector()
    await detector.check()
    world.redis_s = {"b:2": 40.0, "c:3": -100.0}
    await detector.check()
    assert ["the clock of Redis at b:2 jumped by -60 s"] == _said(caplog)


async def test_the_clock_of_a_slow_or_unavailable_redis_is_not_checked(caplog: pytest.LogCaptureFixture) -> None:
    """A jump in the meantime is logged after the first reply in time."""
    world = World()
    detector = world.detector()
    await detector.check()
    world.redis_s[""], world.takes_s = 3600, 20
    await detector.check()
    world.takes_s, world.is_away = 0, True
    await detector.check()
    assert [] == _said(caplog)
    world.is_away = False
    await detector.check()
    assert ["the clock of Redis jumped by +3600 s"] == _said(caplog)
