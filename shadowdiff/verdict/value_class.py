"""Return the class of a value; a value of another class never counts as noise.

The functions do no I/O; only the class of a value is kept. A number's class is relative to v1's number, and a time's
class to the current time, so clocks and counters do not change class.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from shadowdiff.model import Kind

NEAR_S: Final = 600.0
"""A time this close to the current time counts as `now`. Clocks differ by less, and time zones by more."""
_GENERATED: Final = {
    "uuid": re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"),
    "pod": re.compile(r"[a-z][a-z0-9-]*-[a-z0-9]{8,10}-[a-z0-9]{5}"),
    "hex": re.compile(r"[0-9a-fA-F]{8,}"),
    "token": re.compile(r"[A-Za-z0-9_+=~.-]{16,}|‹redacted:.*"),
}
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.*")
_HTTP_DATE: Final = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} .*")
_NOTHING: Final = frozenset({"null", "none", "nil", "undefined", "nan", "n/a"})
_UNITS: Final = (1.0, 1e3, 1e6, 1e9)
_LEAST_TIME: Final = 1e8
_NEAR: Final = 2.0
_BANDS: Final = ((10.0, "2"), (1000.0, "10"))
VOLATILE: Final = frozenset({"uuid", "hex", "token", "pod", "now"})
"""Classes whose values differ by instance or by moment."""


def change_of(kind: Kind, primary: str | None, other: str | None, now_ms: int) -> str:
    """Return the class of the value that replaces v1's value; for a status, return the status itself."""
    if other is None:
        return "gone"
    if kind is Kind.STATUS:
        return other[:24]
    if kind is Kind.ORDER:
        return "order"
    return value_class(other, now_ms, primary)


def value_class(shown: str, now_ms: int, primary: str | None = None) -> str:
    """Return the class of one value (JSON or plain text), relative to v1's value if that is given."""
    text, quoted = _unquoted(shown)
    if text in {"", "{}", "[]"}:
        return "empty"
    if text[:10].lower() in _NOTHING:
        return "null" if not quoted else "'null'"
    if not quoted and text in {"true", "false"}:
        return "bool"
    if not quoted and text[0] in "{[":
        return "object" if text[0] == "{" else "array"
    if _NUMBER.fullmatch(text):
        number = _number(text, now_ms, None if primary is None else _unquoted(primary)[0])
        return f"'{number}'" if quoted else number
    return _text_class(text, now_ms, "" if primary is None else _unquoted(primary)[0])


def _unquoted(shown: str) -> tuple[str, bool]:
    """Return a value's text, and whether it is a JSON string."""
    if not shown.startswith('"'):
        return shown, False
    if shown[-1] == '"' and "\\" not in shown:
        return shown[1:-1], True
    try:
        return msgspec.json.decode(shown, type=str), True
    except msgspec.DecodeError:  # truncated
        return shown[1:], True


def _number(text: str, now_ms: int, primary: str | None) -> str:
    value = float(text)
    if value > _LEAST_TIME and any(abs(value / unit - now_ms / 1000) <= NEAR_S for unit in _UNITS):
        return "now"
    if primary is None or not _NUMBER.fullmatch(primary):
        return "number"
    against = float(primary)
    if not value or not against:
        return "zero" if not value else "number"
    if (value < 0) is not (against < 0):
        return "sign"
    ratio = abs(value / against)
    if 1 / _NEAR < ratio < _NEAR:
        return "near"
    size = max(ratio, 1 / ratio) if ratio else float("inf")
    band = next((band for most, band in _BANDS if size < most), "1000")
    return f"x{band}" if ratio > 1 else f"/{band}"


def _text_class(text: str, now_ms: int, primary: str) -> str:
    if when := _time(text):
        off_s = when - now_ms / 1000
        return "now" if abs(off_s) <= NEAR_S else "future" if off_s > 0 else "past"
    if named := next((name for name, pattern in _GENERATED.items() if pattern.fullmatch(text)), None):
        return named
    if len(text) > 2 * len(primary) + 8:
        return "longer text"
    return "shorter text" if len(primary) > 2 * len(text) + 8 else "text"


def _time(text: str) -> float:
    """Return the Unix time that a text contains; 0 if it contains no time."""
    try:
        if _ISO.fullmatch(text):
            when = datetime.fromisoformat(text)
        elif _HTTP_DATE.fullmatch(text):
            when = parsedate_to_datetime(text)
        else:
            return 0.0
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0
