"""Read times in the usual forms, and find out how two of them differ: one instant in two forms, or another time.

Times are whole nanoseconds since 0001-01-01 UTC. A text without a zone counts as UTC.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.model.relation import Relation

if TYPE_CHECKING:
    from decimal import Decimal

    from shadowdiff.compare.number_relations import Found

_SAME_INSTANT: Final = int(Relation.SAME_INSTANT)
_TIME_SHIFTED: Final = int(Relation.TIME_SHIFTED)
_GENERATED: Final = int(Relation.GENERATED)
_SECOND: Final = 1_000_000_000
_DAY: Final = 86_400 * _SECOND
_LAST_HOUR: Final = 24
_LAST_SECOND: Final = 60
_UNIX_EPOCH: Final = date(1970, 1, 1).toordinal() * _DAY
_CLOCK: Final = 300 * _SECOND
"""Two readings of a clock for one request differ by less."""
MOST_CHARS: Final = 40
_ISO: Final = re.compile(
    r"(\d{4})(-?)(\d\d)\2(\d\d)(?:[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9})\d{0,9})?)?"
    r" ?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_MAIL: Final = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d)(?::(\d\d))?(?: (GMT|UTC|Z|[+-]\d{4}))?",
    re.ASCII,
)
"""RFC 5322 and, as a part of it, the dates of HTTP."""
_OF_DAY: Final = re.compile(r"(\d\d?):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?", re.ASCII)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS: Final = ((10**9, _SECOND), (10**12, 1_000_000), (10**15, 1000), (10**18, 1))
"""The smallest Unix time in each unit (in 2001), and the unit in nanoseconds."""
_EPOCH_SPAN: Final = 4
"""Numbers up to this multiple of the smallest one count as a time, until 2096."""
Parts = tuple["str | None", ...]


class Instant(NamedTuple):
    """A time.  unit: its precision in nanoseconds.  zone: as written.  form: `iso`, `mail`, `time` or `epoch`."""

    at: int
    unit: int
    zone: str
    form: str


def instant_of_text(text: str) -> Instant | None:
    """Return the time that a whole text is: ISO 8601, RFC 5322, or a time of day."""
    if len(text) > MOST_CHARS or not text[-1:].isalnum():
        return None
    try:
        if text[:4].isdigit() and (text[4:5] == "-" or text[8:9] == "T"):
            return _iso(_ISO.fullmatch(text))
        if ":" in text[1:3]:
            return _of_day(_OF_DAY.fullmatch(text))
        return _mail(_MAIL.fullmatch(text)) if ":" in text[14:22] else None
    except ValueError:
        return None


def _iso(found: re.Match[str] | None) -> Instant | None:
    if found is None:
        return None
    year, _, month, day, hour, minute, second, fraction, zone = found.groups()
    at = date(int(year), int(month), int(day)).toordinal() * _DAY
    if hour is None:
        return Instant(at, _DAY, "", "iso")
    time, unit = _time(hour, minute, second, fraction)
    return Instant(at + time - _offset(zone), unit, zone or "", "iso")


def _mail(found: re.Match[str] | None) -> Instant | None:
    if found is None or found[2] not in _MONTHS:
        return None
    day, month, year, hour, minute, second, zone = found.groups()
    time, unit = _time(hour, minute, second, None)
    at = date(int(year), _MONTHS.index(month) + 1, int(day)).toordinal() * _DAY
    return Instant(at + time - _offset(zone), unit, zone or "", "mail")


def _of_day(found: re.Match[str] | None) -> Instant | None:
    if found is None:
        return None
    time, unit = _time(*found.groups())
    return Instant(time, unit, "", "time") if time < _DAY else None


def _time(hour: str, minute: str, second: str | None, fraction: str | None) -> tuple[int, int]:
    """Return a time of day in nanoseconds, and its precision."""
    parts = int(hour), int(minute), int(second or 0)
    if parts[0] > _LAST_HOUR or max(parts) > _LAST_SECOND:
        raise ValueError(parts)
    at = ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * _SECOND
    if fraction:
        return at + int(fraction.ljust(9, "0")), 10 ** (9 - len(fraction))
    return at, _SECOND if second else 60 * _SECOND


def _offset(zone: str | None) -> int:
    if not zone or zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    at = (int(digits[:2]) * 60 + int(digits[2:])) * 60 * _SECOND
    return -at if zone[0] == "-" else at


def instant_of_number(number: Decimal | int) -> Instant | None:
    """Return the time that a number is as Unix time in seconds, milliseconds, microseconds or nanoseconds."""
    for smallest, unit in _UNITS:
        if smallest <= number < _EPOCH_SPAN * smallest:
            at = int(number * unit)
            precise = unit if number == int(number) else 1
            return Instant(_UNIX_EPOCH + at, precise, str(unit), "epoch")
    return None


def relate_instants(one: Instant, other: Instant, found: Found, *, certain: bool = True) -> None:
    """Find the relations of two times.  certain: whether the values are times even if they are far apart."""
    if "time" in {one.form, other.form} and one.form != other.form:
        return
    unit = max(one.unit, other.unit)
    if one.at // unit == other.at // unit and (one.unit != other.unit or one.at == other.at):
        found[_SAME_INSTANT] = _changed(one, other)
        return
    shift = other.at - one.at
    is_clock = abs(shift) <= _CLOCK and unit <= _SECOND
    if is_clock:
        found[_GENERATED] = "clock"
    if is_clock or certain:
        seconds, rest = divmod(abs(shift), _SECOND)
        fraction = f".{rest:09d}".rstrip("0") if rest else ""
        found[_TIME_SHIFTED] = f"{'-' if shift < 0 else '+'}{seconds}{fraction}"


def _changed(one: Instant, other: Instant) -> str:
    if one.form != other.form:
        return "epoch" if "epoch" in {one.form, other.form} else "format"
    if one.form == "epoch":
        return "epoch" if one.zone != other.zone else "precision"
    return "precision" if one.unit != other.unit else "zone" if one.zone != other.zone else "format"
