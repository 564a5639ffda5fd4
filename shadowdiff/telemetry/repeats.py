"""A filter that keeps an outage from flooding the log.

In: records.  Out: the first of equal ones, then at most one in ten seconds, which says how many were left out.
Holds: messages that differ only in their arguments share a wider bound; what is remembered is bounded. Of what somebody
changed every line is written: one that was left out could be the one that matters.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

AUDIT: Final = "shadowdiff.audit"
"""The logger of what is written each time."""
_EVERY_S: Final = 10.0
_OF_ONE_FORM: Final = 20
"""How many messages of one form, with different arguments, pass in one stretch."""
_REMEMBERED: Final = 1024


class _Seen:
    """One stretch of time of one message: when it began, how many passed, how many did not."""

    __slots__ = ("began_s", "left_out", "passed")

    def __init__(self, began_s: float, left_out: int) -> None:
        self.began_s = began_s
        self.passed = 0
        self.left_out = left_out


class RepeatLimit(logging.Filter):
    """Lets a repeated message through once in `every_s`, with `left_out` as a field of the record."""

    def __init__(self, every_s: float = _EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._seen: OrderedDict[tuple[str, ...], _Seen] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many messages are remembered."""
        return len(self._seen)

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is written."""
        if record.name == AUDIT:
            return True
        form = (record.name, record.levelname, _printed(record.msg))
        with self._lock:
            now_s = self._clock()
            whole = self._stretch((*form, _printed(record.args)), now_s)
            wider = self._stretch(form, now_s)
            full = whole if whole.passed else wider if wider.passed >= _OF_ONE_FORM else None
            if full is not None:
                full.left_out += 1
                return False
            whole.passed += 1
            wider.passed += 1
            if whole.left_out or wider.left_out:
                record.left_out = whole.left_out + wider.left_out
                whole.left_out = wider.left_out = 0
        return True

    def _stretch(self, key: tuple[str, ...], now_s: float) -> _Seen:
        """Return the stretch that is open for `key`, or open one."""
        seen = self._seen.get(key)
        if seen is None or now_s - seen.began_s >= self._every_s:
            seen = self._seen[key] = _Seen(now_s, 0 if seen is None else seen.left_out)
        self._seen.move_to_end(key)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return seen


def _printed(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  (any object's __str__: its type alone must tell messages apart then)
        return type(value).__name__
