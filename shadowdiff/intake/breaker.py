"""Stop asking a candidate that refuses connections, for a short and growing time.

In: how each attempt to connect ended, and the time.  Out: whether to try.
Holds: reads no clock (`now_s` is passed in); while open, one probe at a time goes through.
A refused connection costs far more than an answered request, so a dead v2 must be cheap.
"""

from __future__ import annotations

from enum import IntEnum


class Admission(IntEnum):
    """Whether a request may try to connect."""

    REFUSED = 0
    NORMAL = 1
    PROBE = 2


class Breaker:
    """Opens after `threshold` connection failures in a row, for `first_s`, doubling up to `longest_s`."""

    __slots__ = ("_failures", "_first_s", "_longest_s", "_open_s", "_threshold", "_until_s")

    def __init__(self, threshold: int = 5, first_s: float = 1.0, longest_s: float = 10.0) -> None:
        self._threshold = threshold
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures = 0
        self._open_s = 0.0
        self._until_s = 0.0

    def __repr__(self) -> str:
        if self._open_s:
            return f"<Breaker open for {self._open_s:g} s until {self._until_s:g}>"
        return f"<Breaker closed, {self._failures} of {self._threshold} failures>"

    @property
    def is_open(self) -> bool:
        """Whether requests are turned away, apart from probes."""
        return self._open_s > 0

    @property
    def open_for_s(self) -> float:
        """How long it stays open before the next probe; 0 when closed."""
        return self._open_s

    def admit(self, now_s: float) -> Admission:
        """Say whether a request may try. A probe that never reports lets another follow."""
        if not self._open_s:
            return Admission.NORMAL
        if now_s < self._until_s:
            return Admission.REFUSED
        self._until_s = now_s + self._open_s
        return Admission.PROBE

    def connected(self) -> None:
        """Take note that a connection was made, whatever came of it afterwards."""
        self._failures = 0
        self._open_s = 0.0

    def failed(self, now_s: float, admission: Admission) -> None:
        """Take note that no connection could be made. Late failures of an open breaker change nothing."""
        if self._open_s:
            if admission is Admission.PROBE:
                self._open_s = min(self._open_s * 2, self._longest_s)
                self._until_s = now_s + self._open_s
            return
        self._failures += 1
        if self._failures >= self._threshold:
            self._open_s = self._first_s
            self._until_s = now_s + self._open_s
