"""Limit how many requests are sent to v2 or the control, to protect them. Callers pass the time.

A request over a limit is shed and counted. It is never a failure of v2, because the user set the limit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shadowdiff.model.sent import SendLimits


class SendLimiter:
    """The limits of one side of one target. `rate` is a token bucket that holds one second of requests.

    is_set: whether there is a limit.
    """

    def __init__(self, limits: SendLimits) -> None:
        self.limits = limits
        self.is_set = limits.rate is not None or limits.concurrency is not None
        self._tokens = 0.0
        self._at_s = -math.inf

    def __repr__(self) -> str:
        return f"<SendLimiter rate={self.limits.rate} concurrency={self.limits.concurrency}>"

    def exceeded(self, active: int, now_s: float, processes: int) -> str:
        """Return the name of the limit that one more request exceeds; empty if it may be sent.

        active: the requests that are being sent. processes: how many processes share the rate.
        """
        limits = self.limits
        if limits.concurrency is not None and active >= limits.concurrency:
            return "concurrency"
        if limits.rate is None:
            return ""
        share = limits.rate / max(1, processes)
        self._tokens = min(max(1.0, share), self._tokens + (now_s - self._at_s) * share)
        self._at_s = now_s
        if self._tokens < 1.0:
            return "rate"
        self._tokens -= 1.0
        return ""
