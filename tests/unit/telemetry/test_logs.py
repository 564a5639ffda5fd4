"""Every event is one line in both formats, for any content."""

from __future__ import annotations

import io
import json
import logging
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.telemetry.logs import AUDIT, JsonFormatter, RepeatLimit, TextFormatter, configure_logs, redact_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(),
    lambda parts: st.lists(parts) | st.dictionaries(ANY_TEXT | st.integers(), parts),
    max_leaves=10,
)
HOSTILE = "a\r\nb\x00\x1b[31m\x7f\x85\u2028\u2029\u202e\ud800\ufeff\U000e0041é😀"


class Unprintable:
    """An object that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def record(message: object, *args: object, level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    """Return a record as a logger makes it."""
    made = logging.LogRecord("shadowdiff.x", level, __file__, 1, message, args, None)
    vars(made).update(fields)
    made.created = 1_790_000_000.123456
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    """Format a record as JSON and read it back."""
    line = JsonFormatter().format(made)
    assert line.isascii()
    assert line.isprintable()
    return json.loads(line)


def as_text(made: logging.LogRecord) -> str:
    """Format a record as text, which must be one line without hidden characters."""
    line = TextFormatter(colors=False).format(made)
    line.encode()
    assert len(line.splitlines()) == 1
    assert not {unicodedata.category(char) for char in line} & {"Cc", "Cs", "Zl", "Zp"}
    return line


@given(ANY_TEXT, ANY_VALUE)
def test_any_event_is_one_line_of_valid_json(text: str, value: object) -> None:
    """An event with any message, argument and field is one line of JSON."""
    read = as_json(record(text, field=value))
    assert set(read) == {"time", "level", "logger", "message", "field"}
    assert as_json(record("%s", value))["level"] == "INFO"


@given(ANY_TEXT, ANY_VALUE)
def test_any_event_is_one_line_of_text(text: str, value: object) -> None:
    """An event with any message, argument and field is one line of text."""
    as_text(record(text, field=value))
    as_text(record("%s and %r", value, text))


@given(ANY_TEXT)
def test_any_exception_is_part_of_its_line(text: str) -> None:
    """The traceback is in the line of the event."""
    made = record("failed")
    with pytest.raises(ValueError) as raised:
        int("x" + text)
    made.exc_info = (ValueError, raised.value, raised.tb)
    raised.value.args = (text,)
    assert as_json(made)["exception"].startswith("Traceback")
    assert "ValueError" in as_text(made)


def test_names_of_loggers_and_fields_make_no_second_line() -> None:
    """Names come from libraries and are as untrusted as values."""
    made = record("m", **{HOSTILE: 1})
    made.name = HOSTILE
    made.levelname = "A\nB"
    assert as_json(made)["message"] == "m"
    as_text(made)


def test_the_json_line_has_the_time_in_utc_and_the_fields_by_name() -> None:
    """Times have the form of RFC 3339 with milliseconds, and numbers stay numbers."""
    read = as_json(record("took %d", 7, target="t", pairs=3, ratio=0.5, last=None, ok=True))
    assert read == {
        "time": "2026-09-21T14:13:20.123Z",
        "level": "INFO",
        "logger": "shadowdiff.x",
        "message": "took 7",
        "target": "t",
        "pairs": 3,
        "ratio": 0.5,
        "last": None,
        "ok": True,
    }


def test_text_shows_hidden_characters_as_escapes() -> None:
    """Every character in the line is visible."""
    assert r"a\r\nb\x00\x1b[31m\x7f\x85\u2028\u2029\u202e\ud800\ufeff\U000e0041é😀" in as_text(record(HOSTILE))


def test_json_keeps_hidden_characters() -> None:
    """Only a lone surrogate, which parsers reject, becomes text."""
    assert as_json(record(HOSTILE))["message"] == HOSTILE.replace("\ud800", "\\ud800")


def test_text_quotes_values_with_spaces() -> None:
    """Quotes show where a field ends."""
    assert as_text(record("m", a="b c", d="e", f="", g={"h": 1})).endswith('m a="b c" d=e f="" g="{\\"h\\": 1}"')


def test_a_field_named_like_a_standard_field_is_added_next_to_it() -> None:
    """No field replaces the time or the level."""
    read = as_json(record("m", time="t", logger="l"))
    assert (read["logger"], read["time_"], read["logger_"]) == ("shadowdiff.x", "t", "l")


def test_numbers_that_json_cannot_represent_exactly_are_text() -> None:
    """NaN and large integers do not damage the line."""
    read = as_json(record("m", a=float("nan"), b=float("inf"), c=10**400, d=2**60))
    assert [read[name] for name in "abd"] == ["nan", "inf", str(2**60)]


def test_arguments_that_cannot_be_formatted_are_left_out() -> None:
    """An event with a faulty format is still logged."""
    assert as_json(record("%d items", "x"))["message"] == "%d items [arguments left out: TypeError]"
    assert as_json(record("%s", Unprintable()))["message"] == "%s [arguments left out: RuntimeError]"
    assert "cannot be printed" in as_json(record(Unprintable()))["message"]
    assert "cannot be printed" in as_text(record("m", field=Unprintable()))


def test_long_deep_and_circular_values_are_bounded() -> None:
    """The length of a line is limited for any event."""
    circle: list[object] = []
    circle.append(circle)
    line = JsonFormatter().format(record("x" * 100_000, deep=circle, many=list(range(10_000))))
    assert len(line) < 20_000
    assert "83616 more characters" in line


def test_a_password_in_a_url_is_masked_in_messages_fields_and_exceptions() -> None:
    """Client errors often quote the URL."""
    url = "redis://user:s3cret@redis:6379/0"
    error = ValueError(f"cannot reach {url}")
    made = record("lost %s", url, url=url, nested={"urls": [url]})
    made.exc_info = (ValueError, error, None)
    assert "s3cret" not in JsonFormatter().format(made)
    assert "s3cret" not in as_text(made)
    assert "redis://user:***@redis:6379/0" in as_text(made)


def test_an_exception_in_text_names_its_frame_and_its_cause() -> None:
    """The readable line has the exception, its frames and its cause."""

    def fail() -> None:
        try:
            {}["k"]
        except KeyError as cause:
            raise ValueError("bad\nthing") from cause

    with pytest.raises(ValueError) as raised:
        fail()
    made = record("failed")
    made.exc_info = (ValueError, raised.value, raised.tb)
    line = as_text(made)
    assert r"failed | ValueError: bad\nthing (at test_logs.py:" in line
    assert "; from KeyError: 'k'" in line


def test_only_the_level_is_colored() -> None:
    """On a terminal the level is colored, and hidden characters are still escaped."""
    line = TextFormatter(colors=True).format(record("\x1b[2J", level=logging.ERROR))
    assert "\x1b[31mERROR   \x1b[0m" in line
    assert r"\x1b[2J" in line


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore the logging of the process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    names = ("uvicorn", "uvicorn.error", "uvicorn.access", "aiohttp.access", "aiohttp.server")
    states = {n: (logging.getLogger(n).propagate, logging.getLogger(n).disabled) for n in names}
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, (propagate, disabled) in states.items():
        logging.getLogger(name).propagate = propagate
        logging.getLogger(name).disabled = disabled


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.mark.usefixtures("restored")
def test_server_logs_have_our_format_and_requests_are_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uvicorn and aiohttp log JSON through our handler, once, and no access log."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(stream))
    configure_logs("auto", "info")
    configure_logs("auto", "info")
    logging.getLogger("uvicorn.error").info("started", extra={"color_message": "\x1b[1mstarted"})
    logging.getLogger("uvicorn.access").info("GET /")
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("shadowdiff").debug("below the level")
    [line] = stream.getvalue().splitlines()
    read = json.loads(line)
    assert (read["logger"], read["message"]) == ("uvicorn.error", "started")
    assert "color_message" not in read


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("no_color", "expected"), [("", True), ("1", False)])
def test_a_terminal_gets_colored_text_unless_disabled(
    monkeypatch: pytest.MonkeyPatch, no_color: str, *, expected: bool
) -> None:
    """`auto` checks the stream and respects NO_COLOR."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    configure_logs("auto", "INFO")
    logging.getLogger("shadowdiff.x").warning("hello")
    assert "shadowdiff.x: hello" in stream.getvalue()
    assert ("\x1b[33m" in stream.getvalue()) is expected


@pytest.mark.usefixtures("restored")
def test_an_unknown_level_is_rejected() -> None:
    """The error has the level."""
    with pytest.raises(ValueError, match="LOUD"):
        configure_logs("json", "loud")


class Clock:
    """A clock that a test controls."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def passed(limit: RepeatLimit, made: logging.LogRecord) -> int | None:
    """Return the number of omitted records if the record is written, otherwise None."""
    return vars(made).get("left_out", 0) if limit.filter(made) else None


def test_a_repeated_message_is_written_once_in_ten_seconds_with_the_number_left_out() -> None:
    """The first message is written immediately, the next after the period with the count of omitted ones."""
    clock = Clock()
    limit = RepeatLimit(10.0, clock)
    assert [passed(limit, record("lost")) for _ in range(5)] == [0, None, None, None, None]
    clock.now_s = 9.9
    assert passed(limit, record("lost")) is None
    clock.now_s = 10.0
    assert [passed(limit, record("lost")) for _ in range(2)] == [5, None]
    clock.now_s = 20.0
    assert passed(limit, record("lost")) == 1


def test_messages_of_one_format_share_a_larger_limit() -> None:
    """Twenty messages are written, and further ones are counted until the period ends."""
    clock = Clock()
    limit = RepeatLimit(10.0, clock)
    answers = [passed(limit, record("lost %d", number)) for number in range(30)]
    assert answers == [0] * 20 + [None] * 10
    clock.now_s = 10.0
    assert passed(limit, record("lost %d", 99)) == 10


def test_level_and_logger_are_part_of_a_message() -> None:
    """A message only counts as repeated if both are the same."""
    limit = RepeatLimit(10.0, Clock())
    assert passed(limit, record("lost")) == 0
    assert passed(limit, record("lost", level=logging.ERROR)) == 0
    other = record("lost")
    other.name = "shadowdiff.y"
    assert passed(limit, other) == 0


def test_every_audit_line_is_written() -> None:
    """Audit lines are never limited, because a similar line could otherwise hide a change."""
    limit, same = RepeatLimit(10.0, Clock()), [record("audit: %s", "a rule was removed") for _ in range(50)]
    for change in same:
        change.name = AUDIT
    assert [0] * 50 == [passed(limit, change) for change in same]


def test_the_number_of_remembered_messages_is_bounded() -> None:
    """A million different messages do not stay in memory."""
    limit = RepeatLimit(10.0, Clock())
    for number in range(5_000):
        limit.filter(record(f"message {number}"))
    assert len(limit) == 1024


def test_arguments_that_cannot_be_printed_do_not_stop_the_filter() -> None:
    """Only the format then distinguishes messages."""
    limit = RepeatLimit(10.0, Clock())
    assert passed(limit, record("%s", Unprintable())) == 0
    assert passed(limit, record(Unprintable())) == 0


@pytest.fixture
def redacted() -> Iterator[None]:
    """Redact logs for one test."""
    redact_logs(path=lambda path: path.replace("hunter2", "***"), text=lambda text: text.replace("hunter2", "***"))
    yield
    redact_logs(path=str, text=str)


@pytest.mark.usefixtures("redacted")
def test_paths_and_errors_are_redacted_and_frames_are_not() -> None:
    """Logs of any library are redacted. Frames show code, which contains no secret."""

    def fail() -> None:
        hunter2 = ValueError("cannot read\n  hunter2")
        raise KeyError("token hunter2") from hunter2

    made = record("failed", path="/a/hunter2", error="no hunter2 here", other="hunter2")
    try:
        fail()
    except KeyError:
        made.exc_info = sys.exc_info()
    entry = as_json(made)
    assert ("/a/***", "no *** here", "hunter2") == (entry["path"], entry["error"], entry["other"])
    assert "token ***" in entry["exception"]
    assert "  ***" in entry["exception"]
    assert 'raise KeyError("token hunter2") from hunter2' in entry["exception"]
    assert "***" in as_text(made)
    assert "token hunter2" not in as_text(made)
