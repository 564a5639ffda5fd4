"""Write logs to standard error: one line per event, as JSON or readable text.

No input can create a second line, a terminal sequence or invalid JSON. Passwords in URLs are masked, and the
`redact_logs` functions redact paths and error texts. A repeated message is written once in ten seconds, with a count.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Callable

AUDIT: Final = "shadowdiff.audit"
"""The logger of changes. Every line is written, because each change may matter."""
_HANDLER: Final = "shadowdiff.lines"
_EVERY_S: Final = 10.0
_ARGUMENTS_PER_FORMAT: Final = 20
"""How many messages of one format, with different arguments, are written in one period."""
_REMEMBERED: Final = 1024

_MAX_TEXT: Final = 16_384
_MAX_DEPTH: Final = 4
_MAX_ITEMS: Final = 100
_FRAMES_IN_TEXT: Final = 6
_COLORS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}

_RECORD_FIELDS: Final = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}
_LINE_FIELDS: Final = frozenset({"time", "level", "logger", "message", "exception", "stack"})

_INVISIBLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""Characters that move, hide or reorder text or cannot be encoded: controls, bidi and format characters, surrogates."""
_PASSWORD: Final = re.compile(r"(\w://[^\s/:@]{0,256}):[^\s\"']{1,512}@|(?<=[?&])(password=)[^\s&\"']{1,512}")
"""The password ends at the last @, because it may contain an @ or a slash."""
_NAMED: Final = {chr(code): f"\\x{code:02x}" for code in (*range(0x20), 0x7F)} | {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_FRAMES: Final = re.compile(r"((?m:^  File \".*\n(?:    .*(?:\n|\Z))*)+)")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")

_redactions: dict[str, Callable[[str], str]] = {"path": str, "error": str}
"""How two fields are redacted, because they quote input; an exception's texts are redacted as `error` is."""


def configure_logs(format: Literal["json", "text", "auto"], level: str) -> None:  # noqa: A002  (the setting's own name)
    """Write the logs of all libraries to stderr, one line per event. `auto` means text on a terminal, else JSON.

    Raises: ValueError for a level that does not exist.
    """
    stream = sys.stderr
    colors = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    readable = format == "text" or (format == "auto" and stream.isatty())
    formatter = TextFormatter(colors=colors) if readable else JsonFormatter()
    handler = logging.StreamHandler(stream)
    handler.set_name(_HANDLER)
    handler.setFormatter(formatter)
    handler.addFilter(RepeatLimit())
    root = logging.getLogger()
    root.setLevel(level.upper())
    for earlier in [h for h in root.handlers if h.name == _HANDLER]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "aiohttp.access", "aiohttp.server"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.disabled = name.endswith(".access")
        logger.propagate = not logger.disabled
    logging.captureWarnings(capture=True)


def redact_logs(*, path: Callable[[str], str], text: Callable[[str], str]) -> None:
    """From now on, redact the field `path` and error texts in the logs of all libraries."""
    _redactions.update(path=path, error=text)


class JsonFormatter(logging.Formatter):
    """One JSON object per line, in ASCII: time, level, logger, message, other fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "time": _rfc3339(record),
            "level": _bounded(record.levelname),
            "logger": _bounded(record.name),
            "message": _message(record),
        }
        for name, value in _fields(record).items():
            line[name if name not in _LINE_FIELDS else name + "_"] = _plain(value)
        if record.exc_info and record.exc_info[1] is not None:
            trace = _bounded("".join(traceback.format_exception(record.exc_info[1])).rstrip())
            redact = _redactions["error"]  # redacts the error texts, but not the stack frames
            line["exception"] = "".join(p if _FRAMES.fullmatch(p) else redact(p) for p in _FRAMES.split(trace))
        if record.stack_info:
            line["stack"] = _bounded(record.stack_info)
        return json.dumps(line, allow_nan=False).replace("\x7f", "\\u007f")


class TextFormatter(logging.Formatter):
    """A readable line: time, level, logger, message, other fields as `name=value`, exception."""

    def __init__(self, *, colors: bool) -> None:
        super().__init__()
        self._colors = colors

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        parts = [escaped(_message(record))]
        parts += [f"{escaped(name)}={_text_value(value)}" for name, value in _fields(record).items()]
        if record.exc_info and record.exc_info[1] is not None:
            parts.append(f"| {escaped(_exception_line(record.exc_info[1]))}")
        if record.stack_info:
            parts.append(f"| {escaped(_bounded(record.stack_info))}")
        level = escaped(record.levelname)
        if self._colors:
            level = f"\x1b[{_COLORS.get(record.levelname, '0')}m{level:<8}\x1b[0m"
        return f"{_rfc3339(record)} {level:<8} {escaped(record.name)}: {' '.join(parts)}"


def escaped(text: str) -> str:
    """Escape the characters that move, hide or reorder text."""
    return _INVISIBLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return _NAMED.get(found[0]) or found[0].encode("ascii", "backslashreplace").decode()


def _rfc3339(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    """Return the message; omit its arguments if they cannot be formatted."""
    try:
        return _bounded(record.getMessage())
    except Exception as error:  # noqa: BLE001  (any library's arguments: the event matters more than its form)
        return _bounded(f"{_printed(record.msg)} [arguments left out: {type(error).__name__}]")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {_bounded(str(name)): value for name, value in vars(record).items() if name not in _RECORD_FIELDS}
    for name, redact in _redactions.items():
        if isinstance(fields.get(name), str):
            fields[name] = redact(fields[name][:_MAX_TEXT])
    return fields


def _plain(value: object, depth: int = 0) -> Any:
    """Return a value that JSON can encode, with limited depth and length."""
    match value:
        case None | bool():
            return value
        case int() | float() if abs(value) < 2**53:  # every JSON parser reads such a number exactly; NaN compares false
            return value
        case bytes():
            return _bounded(value.decode("utf-8", "backslashreplace"))
        case dict() if depth < _MAX_DEPTH:
            items = list(cast("dict[object, object]", value).items())[:_MAX_ITEMS]
            return {_bounded(_printed(name)): _plain(part, depth + 1) for name, part in items}
        case list() | tuple() if depth < _MAX_DEPTH:
            return [_plain(part, depth + 1) for part in cast("list[object]", value)[:_MAX_ITEMS]]
        case _:
            return _bounded(_printed(value))


def _printed(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  (any object's __str__: the event matters more than its form)
        return f"<{type(value).__name__} that cannot be printed: {type(error).__name__}>"


def _text_value(value: object) -> str:
    plain = _plain(value)
    text = plain if isinstance(plain, str) else json.dumps(plain)
    quoted = not text or any(char in text for char in ' "=')
    return escaped(json.dumps(text, ensure_ascii=False) if quoted else text)


def _exception_line(error: BaseException) -> str:
    """Return the exception, its frames and its causes as one line."""
    trace = traceback.TracebackException.from_exception(error, limit=-_FRAMES_IN_TEXT)
    links: list[str] = []
    link: traceback.TracebackException | None = trace
    while link is not None and len(links) < _MAX_DEPTH:
        where = ", ".join(f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in reversed(link.stack))  # noqa: PTH119  (text, not a file)
        text = _redactions["error"]("".join(link.format_exception_only()).strip()[:_MAX_TEXT])
        links.append(f"{text} (at {where})" if where else text)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return _bounded("; from ".join(links))


def _bounded(text: str) -> str:
    """Mask URL passwords, shorten the text, and remove lone surrogates, which many JSON parsers reject."""
    if "://" in text:
        text = _PASSWORD.sub(lambda found: f"{found[2]}***" if found[2] else f"{found[1]}:***@", text)
    more = f"… ({len(text) - _MAX_TEXT} more characters)" if len(text) > _MAX_TEXT else ""
    return _SURROGATE.sub(_escape, text[:_MAX_TEXT]) + more


@dataclass(slots=True)
class _Period:
    """One period of one message: its start, and the numbers of omitted and written records."""

    began_s: float
    left_out: int
    written: int = 0


class RepeatLimit(logging.Filter):
    """Writes a repeated message once in `every_s`, with the number of omitted messages in `left_out`.

    Messages that differ only in their arguments have one larger limit. The number of stored messages is limited.
    """

    def __init__(self, every_s: float = _EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._periods: OrderedDict[tuple[str, ...], _Period] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of stored messages."""
        return len(self._periods)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record."""
        if record.name == AUDIT:
            return True
        form = (record.name, record.levelname, _printed(record.msg))
        with self._lock:
            now_s = self._clock()
            same = self._period((*form, _printed(record.args)), now_s)
            alike = self._period(form, now_s)
            full = same if same.written else alike if alike.written >= _ARGUMENTS_PER_FORMAT else None
            if full is not None:
                full.left_out += 1
                return False
            same.written += 1
            alike.written += 1
            if same.left_out or alike.left_out:
                record.left_out = same.left_out + alike.left_out
                same.left_out = alike.left_out = 0
        return True

    def _period(self, key: tuple[str, ...], now_s: float) -> _Period:
        period = self._periods.get(key)
        if period is None or now_s - period.began_s >= self._every_s:
            period = self._periods[key] = _Period(now_s, 0 if period is None else period.left_out)
        self._periods.move_to_end(key)
        if len(self._periods) > _REMEMBERED:
            self._periods.popitem(last=False)
        return period
