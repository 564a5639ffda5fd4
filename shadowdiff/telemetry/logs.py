"""Logs: one line for one event, whatever the event holds.

In: what any library logs through the standard module.  Out: JSON or readable lines on stderr.
Holds: no input makes a second line, a terminal sequence or invalid JSON; a password in a URL is masked; a
message that repeats is said once in ten seconds, with the number left out; no request has a line of its own.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, cast

from shadowdiff.telemetry.repeats import RepeatLimit

if TYPE_CHECKING:
    from collections.abc import Mapping

Format = Literal["json", "text", "auto"]

_TEXT_MOST: Final = 16_384
_DEPTH_MOST: Final = 4
_ITEMS_MOST: Final = 100
_FRAMES_IN_TEXT: Final = 6
_COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}

_OF_EVERY_RECORD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
_OF_EVERY_LINE: Final = frozenset({"time", "level", "logger", "message", "exception", "stack"})

_UNSEEN: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""What moves, hides or reorders text, or cannot be written: controls, bidi and format characters, surrogates."""
_PASSWORD: Final = re.compile(r"(\w://[^\s/:@]{0,256}):[^\s\"']{1,512}@|(?<=[?&])(password=)[^\s&\"']{1,512}")
"""To the last @, since a password may hold one, or a slash."""
_NAMED: Final = {chr(code): f"\\x{code:02x}" for code in (*range(0x20), 0x7F)} | {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def configure_logs(format: Format, level: str) -> None:  # noqa: A002  (the setting's own name)
    """Send what every library logs to stderr, one line an event. `auto` is text on a terminal, else JSON.

    Raises: ValueError for a level that does not exist.
    """
    stream = sys.stderr
    readable = format == "text" or (format == "auto" and stream.isatty())
    formatter = TextFormatter(colours=_wants_colours(stream, os.environ)) if readable else JsonFormatter()
    handler = _LineHandler(stream)
    handler.setFormatter(formatter)
    handler.addFilter(RepeatLimit())
    root = logging.getLogger()
    root.setLevel(level.upper())
    for earlier in [h for h in root.handlers if isinstance(h, _LineHandler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "aiohttp.access", "aiohttp.server"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = not name.endswith(".access")
    for name in ("uvicorn.access", "aiohttp.access"):
        logging.getLogger(name).disabled = True
    logging.captureWarnings(capture=True)


def _wants_colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class _LineHandler(logging.StreamHandler[TextIO]):
    """The one handler that `configure_logs` sets and replaces."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII: time, level, logger, message, further fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "time": _rfc3339(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        for name, value in _fields(record).items():
            line[name if name not in _OF_EVERY_LINE else name + "_"] = _plain(value)
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _bounded("".join(traceback.format_exception(record.exc_info[1])).rstrip())
        if record.stack_info:
            line["stack"] = _bounded(record.stack_info)
        return json.dumps(_without_surrogates(line), allow_nan=False).replace("\x7f", "\\u007f")


class TextFormatter(logging.Formatter):
    """A readable line: time, level, logger, message, further fields as `name=value`, exception."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        parts = [escaped(_message(record))]
        parts += [f"{escaped(name)}={_text_value(value)}" for name, value in _fields(record).items()]
        if record.exc_info and record.exc_info[1] is not None:
            parts.append(f"| {escaped(_exception_line(record.exc_info[1]))}")
        if record.stack_info:
            parts.append(f"| {escaped(_bounded(record.stack_info))}")
        level = escaped(record.levelname)
        if self._colours:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level:<8}\x1b[0m"
        return f"{_rfc3339(record)} {level:<8} {escaped(record.name)}: {' '.join(parts)}"


def escaped(text: str) -> str:
    """Write what moves, hides or reorders text as an escape, so that what is seen is what is there."""
    return _UNSEEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return _NAMED.get(found[0]) or found[0].encode("ascii", "backslashreplace").decode()


def _rfc3339(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    """Return the message; one whose arguments do not fit it, or do not print, is still said."""
    try:
        return _bounded(record.getMessage())
    except Exception as error:  # noqa: BLE001  (any library's arguments: the event matters more than its form)
        return _bounded(f"{_printed(record.msg)} [arguments left out: {type(error).__name__}]")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {str(name): value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}


def _plain(value: object, depth: int = 0) -> Any:
    """Return a value as JSON can hold it, bounded in depth and length."""
    if value is None or isinstance(value, bool) or _exact_number(value):
        return value
    match value:
        case str():
            return _bounded(str(value))
        case bytes():
            return _bounded(value.decode("utf-8", "backslashreplace"))
        case dict() if depth < _DEPTH_MOST:
            items = list(cast("dict[object, object]", value).items())[:_ITEMS_MOST]
            return {_bounded(_printed(name)): _plain(part, depth + 1) for name, part in items}
        case list() | tuple() if depth < _DEPTH_MOST:
            return [_plain(part, depth + 1) for part in cast("list[object]", value)[:_ITEMS_MOST]]
        case _:
            return _bounded(_printed(value))


def _exact_number(value: object) -> bool:
    """Whether every JSON parser reads this number back as it is; any other is written as text."""
    return isinstance(value, int | float) and abs(value) < 2**53  # NaN is not below anything


def _printed(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  (any object's __str__: the event matters more than its form)
        return f"<{type(value).__name__} that does not print: {type(error).__name__}>"


def _text_value(value: object) -> str:
    plain = _plain(value)
    text = plain if isinstance(plain, str) else json.dumps(plain)
    quoted = not text or any(char in text for char in ' "=')
    return escaped(json.dumps(text, ensure_ascii=False) if quoted else text)


def _exception_line(error: BaseException) -> str:
    """Return what was raised, where, and from what, in one line."""
    trace = traceback.TracebackException.from_exception(error, limit=-_FRAMES_IN_TEXT)
    links: list[str] = []
    link: traceback.TracebackException | None = trace
    while link is not None and len(links) < _DEPTH_MOST:
        where = ", ".join(f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in reversed(link.stack))  # noqa: PTH119  (text, not a file)
        said = "".join(link.format_exception_only()).strip()
        links.append(f"{said} (at {where})" if where else said)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return _bounded("; from ".join(links))


def _bounded(text: str) -> str:
    """Cut what is too long, and mask a URL's password."""
    if "://" in text:
        text = _PASSWORD.sub(lambda found: f"{found[2]}***" if found[2] else f"{found[1]}:***@", text)
    return text if len(text) <= _TEXT_MOST else f"{text[:_TEXT_MOST]}… ({len(text) - _TEXT_MOST} characters more)"


def _without_surrogates(value: Any) -> Any:
    """Write lone surrogates as text: an escape of one is JSON's grammar, and half of all parsers refuse it."""
    match value:
        case str():
            return _SURROGATE.sub(_escape, value)
        case dict():
            return {_without_surrogates(k): _without_surrogates(v) for k, v in cast("dict[str, Any]", value).items()}
        case list():
            return [_without_surrogates(part) for part in cast("list[Any]", value)]
        case _:
            return value
