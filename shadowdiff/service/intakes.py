"""The two intakes of a service, with the way to v2 behind one of them, and how much of what comes they take.

In: the configuration, where observations go, and the books.  Out: two ASGI applications, and the dispatcher.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shadowdiff.intake.admission import Admission
from shadowdiff.intake.dispatch import Bounds, Dispatcher
from shadowdiff.intake.mirror import MirrorApp
from shadowdiff.intake.records import RecordsApp
from shadowdiff.intake.thinning import Thinning
from shadowdiff.pairing import identifier, keeps

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from shadowdiff.config import Config
    from shadowdiff.intake.books import Books
    from shadowdiff.intake.upstream import Upstream
    from shadowdiff.pairing import Parker


class Intakes:
    """What serves the mirror and the records port; tasks of requests to v2 run in `group`."""

    def __init__(
        self,
        config: Config,
        *,
        group: asyncio.TaskGroup,
        upstream: Upstream,
        books: Books,
        parker: Parker,
        was_busy: Callable[[float], bool],
        now_ms: Callable[[], int],
    ) -> None:
        limits = config.limits
        targets = [target.target for target in config.targets]
        self.dispatcher = dispatcher = Dispatcher(
            group=group,
            upstream=upstream,
            books=books,
            sink=parker.sink("mirrored"),
            keeps=keeps,
            bounds=Bounds(items=limits.in_flight, body_bytes=limits.in_flight_bytes),
            was_busy=was_busy,
        )
        thinning = Thinning(lambda target: max(parker.fill, dispatcher.fill_of(target)))
        self.mirror = MirrorApp(
            dispatcher=dispatcher,
            books=books,
            identify=identifier(config.pairing.id_headers),
            keeps=keeps,
            targets=targets,
            thinning=thinning,
        )
        self.records = RecordsApp(
            sink=parker.sink("recorded"),
            books=books,
            keeps=keeps,
            targets=targets,
            now_ms=now_ms,
            max_record_bytes=limits.body_bytes,
            admission=_admission(config),
            thinning=thinning,
        )

    def replace(self, config: Config) -> None:
        """Take the targets, tokens and rates of a new configuration."""
        targets = [target.target for target in config.targets]
        self.mirror.replace(targets)
        self.records.replace(targets)
        self.records.admit(_admission(config))


def _admission(config: Config) -> Admission:
    tokens = [secret.reveal() for secret in config.access.records]
    return Admission(tokens, config.limits.records_per_source, time.monotonic, config.access.attempts)
