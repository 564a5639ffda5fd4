"""A clock that jumps is named, with by how much; one that only is late, or is not told, is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError as AwayError

from shadowdiff.service.clock import Clocks

if TYPE_CHECKING:
    import pytest


@dataclass
class World:
    """Two wall clocks that a test moves, and one that only runs."""

    running_s: float = 1000.0
    wall_s: float = 0.0
    redis_s: dict[str, float] = field(default_factory=lambda: {"": 0.0})
    takes_s: float = 0.0
    is_away: bool = False

    def clocks(self) -> Clocks:
        """Return the clocks as the service sees them."""
        return Clocks(self._of_redis, lambda: self.running_s + self.wall_s, lambda: self.running_s)

    async def _of_redis(self) -> dict[str, float]:
        if self.is_away:
            raise AwayError
        self.running_s += self.takes_s
        return {address: self.running_s + ahead_s for address, ahead_s in self.redis_s.items()}


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage().removesuffix(": windows and epochs are told by it") for record in caplog.records]
    caplog.clear()
    return said


async def test_the_clock_that_jumped_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Each in a line of its own, once, forth and back."""
    world = World()
    clocks = world.clocks()
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
            await clocks.look()
            assert said == _said(caplog)


async def test_each_master_of_a_cluster_has_a_clock(caplog: pytest.LogCaptureFixture) -> None:
    """They may differ for good; a replica that takes over is seen anew."""
    world = World(redis_s={"a:1": 0.0, "b:2": 100.0})
    clocks = world.clocks()
    await clocks.look()
    world.redis_s = {"b:2": 40.0, "c:3": -100.0}
    await clocks.look()
    assert ["the clock of Redis at b:2 jumped by -60 s"] == _said(caplog)


async def test_a_slow_or_absent_redis_has_no_clock(caplog: pytest.LogCaptureFixture) -> None:
    """What it says late says little; a jump meanwhile is seen once it answers in time."""
    world = World()
    clocks = world.clocks()
    await clocks.look()
    world.redis_s[""], world.takes_s = 3600, 20
    await clocks.look()
    world.takes_s, world.is_away = 0, True
    await clocks.look()
    assert [] == _said(caplog)
    world.is_away = False
    await clocks.look()
    assert ["the clock of Redis jumped by +3600 s"] == _said(caplog)
