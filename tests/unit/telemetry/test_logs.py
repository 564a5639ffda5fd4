"""Every event is one line, in both forms, whatever it holds."""

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

from shadowdiff.telemetry.logs import JsonFormatter, TextFormatter, configure_logs
from shadowdiff.telemetry.repeats import AUDIT, RepeatLimit

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
    """An object whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def record(message: object, *args: object, level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    """Make a record as a logger does."""
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
    """Format a record as text, which must be one line that nothing hides in."""
    line = TextFormatter(colours=False).format(made)
    line.encode()
    assert len(line.splitlines()) == 1
    assert not {unicodedata.category(char) for char in line} & {"Cc", "Cs", "Zl", "Zp"}
    return line


@given(ANY_TEXT, ANY_VALUE)
def test_any_event_is_one_line_of_valid_json(text: str, value: object) -> None:
    """Whatever the message, an argument and a field hold."""
    read = as_json(record(text, field=value))
    assert set(read) == {"time", "level", "logger", "message", "field"}
    assert as_json(record("%s", value))["level"] == "INFO"


@given(ANY_TEXT, ANY_VALUE)
def test_any_event_is_one_line_of_text(text: str, value: object) -> None:
    """Whatever the message, an argument and a field hold."""
    as_text(record(text, field=value))
    as_text(record("%s and %r", value, text))


@given(ANY_TEXT)
def test_any_exception_is_part_of_its_line(text: str) -> None:
    """The trace stands in the same line as the event."""
    made = record("failed")
    with pytest.raises(ValueError) as raised:
        int("x" + text)
    made.exc_info = (ValueError, raised.value, raised.tb)
    raised.value.args = (text,)
    assert as_json(made)["exception"].startswith("Traceback")
    assert "ValueError" in as_text(made)


def test_a_name_of_a_logger_or_a_field_makes_no_line_either() -> None:
    """Names come from libraries, and are not trusted more than values."""
    made = record("m", **{HOSTILE: 1})
    made.name = HOSTILE
    made.levelname = "A\nB"
    assert as_json(made)["message"] == "m"
    as_text(made)


def test_the_json_line_has_the_time_in_utc_and_the_fields_by_name() -> None:
    """RFC 3339 with milliseconds; numbers stay numbers."""
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
    """What is seen is what is there."""
    assert r"a\r\nb\x00\x1b[31m\x7f\x85\u2028\u2029\u202e\ud800\ufeff\U000e0041é😀" in as_text(record(HOSTILE))


def test_json_keeps_hidden_characters_as_they_were() -> None:
    """Only a lone surrogate, which parsers refuse, becomes text."""
    assert as_json(record(HOSTILE))["message"] == HOSTILE.replace("\ud800", "\\ud800")


def test_text_quotes_what_has_spaces() -> None:
    """A field's end can be seen."""
    assert as_text(record("m", a="b c", d="e", f="", g={"h": 1})).endswith('m a="b c" d=e f="" g="{\\"h\\": 1}"')


def test_a_field_with_a_name_of_the_line_itself_stands_beside_it() -> None:
    """No field replaces the time or the level."""
    read = as_json(record("m", time="t", logger="l"))
    assert (read["logger"], read["time_"], read["logger_"]) == ("shadowdiff.x", "t", "l")


def test_numbers_that_json_cannot_hold_exactly_are_text() -> None:
    """NaN and great integers do not spoil the line."""
    read = as_json(record("m", a=float("nan"), b=float("inf"), c=10**400, d=2**60))
    assert [read[name] for name in "abd"] == ["nan", "inf", str(2**60)]


def test_arguments_that_do_not_fit_or_do_not_print_are_said_so() -> None:
    """An event with a faulty form is still an event."""
    assert as_json(record("%d items", "x"))["message"] == "%d items [arguments left out: TypeError]"
    assert as_json(record("%s", Unprintable()))["message"] == "%s [arguments left out: RuntimeError]"
    assert "does not print" in as_json(record(Unprintable()))["message"]
    assert "does not print" in as_text(record("m", field=Unprintable()))


def test_long_deep_and_circular_values_are_bounded() -> None:
    """A line has a bound, whatever the event holds."""
    circle: list[object] = []
    circle.append(circle)
    line = JsonFormatter().format(record("x" * 100_000, deep=circle, many=list(range(10_000))))
    assert len(line) < 20_000
    assert "83616 characters more" in line


def test_a_password_in_a_url_is_masked_in_messages_fields_and_exceptions() -> None:
    """Errors of clients like to quote the URL that they were given."""
    url = "redis://user:s3cret@redis:6379/0"
    error = ValueError(f"cannot reach {url}")
    made = record("lost %s", url, url=url, nested={"urls": [url]})
    made.exc_info = (ValueError, error, None)
    assert "s3cret" not in JsonFormatter().format(made)
    assert "s3cret" not in as_text(made)
    assert "redis://user:***@redis:6379/0" in as_text(made)


def test_an_exception_in_text_names_its_place_and_its_cause() -> None:
    """The readable line says what, where, and from what."""

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


def test_colours_mark_the_level_alone() -> None:
    """On a terminal the level is coloured, and hidden characters are still escapes."""
    line = TextFormatter(colours=True).format(record("\x1b[2J", level=logging.ERROR))
    assert "\x1b[31mERROR   \x1b[0m" in line
    assert r"\x1b[2J" in line


@pytest.fixture
def restored() -> Iterator[None]:
    """Put the process's logging back as it was."""
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
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.usefixtures("restored")
def test_servers_loggers_go_the_same_way_and_requests_have_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uvicorn and aiohttp write JSON through us, once, and no access log."""
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
@pytest.mark.parametrize(("no_colour", "expected"), [("", True), ("1", False)])
def test_a_terminal_gets_text_in_colour_unless_told_not_to(
    monkeypatch: pytest.MonkeyPatch, no_colour: str, *, expected: bool
) -> None:
    """`auto` looks at the stream, and NO_COLOR is honoured."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setenv("TERM", "xterm")
    configure_logs("auto", "INFO")
    logging.getLogger("shadowdiff.x").warning("hello")
    assert "shadowdiff.x: hello" in stream.getvalue()
    assert ("\x1b[33m" in stream.getvalue()) is expected


@pytest.mark.usefixtures("restored")
def test_a_level_that_does_not_exist_is_refused() -> None:
    """The error names it."""
    with pytest.raises(ValueError, match="LOUD"):
        configure_logs("json", "loud")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def passed(limit: RepeatLimit, made: logging.LogRecord) -> int | None:
    """Return the number left out where the record is written, else None."""
    return vars(made).get("left_out", 0) if limit.filter(made) else None


def test_a_repeated_message_is_said_once_in_ten_seconds_with_the_number_left_out() -> None:
    """The first at once, the next after the stretch with the count of those between."""
    clock = Clock()
    limit = RepeatLimit(10.0, clock)
    assert [passed(limit, record("lost")) for _ in range(5)] == [0, None, None, None, None]
    clock.now_s = 9.9
    assert passed(limit, record("lost")) is None
    clock.now_s = 10.0
    assert [passed(limit, record("lost")) for _ in range(2)] == [5, None]
    clock.now_s = 20.0
    assert passed(limit, record("lost")) == 1


def test_messages_with_other_arguments_pass_up_to_a_wider_bound() -> None:
    """Twenty of one form, then none until the stretch ends; what was left out is counted."""
    clock = Clock()
    limit = RepeatLimit(10.0, clock)
    answers = [passed(limit, record("lost %d", number)) for number in range(30)]
    assert answers == [0] * 20 + [None] * 10
    clock.now_s = 10.0
    assert passed(limit, record("lost %d", 99)) == 10


def test_another_level_or_logger_is_another_message() -> None:
    """Only what is the same is a repetition."""
    limit = RepeatLimit(10.0, Clock())
    assert passed(limit, record("lost")) == 0
    assert passed(limit, record("lost", level=logging.ERROR)) == 0
    other = record("lost")
    other.name = "shadowdiff.y"
    assert passed(limit, other) == 0


def test_every_change_is_said_however_alike() -> None:
    """Else one could be made unseen in the shade of another."""
    limit, same = RepeatLimit(10.0, Clock()), [record("audit: %s", "a rule was removed") for _ in range(50)]
    for change in same:
        change.name = AUDIT
    assert [0] * 50 == [passed(limit, change) for change in same]


def test_what_is_remembered_of_messages_is_bounded() -> None:
    """A million different messages do not stay in memory."""
    limit = RepeatLimit(10.0, Clock())
    for number in range(5_000):
        limit.filter(record(f"message {number}"))
    assert len(limit) == 1024


def test_arguments_that_do_not_print_do_not_stop_the_filter() -> None:
    """The form alone tells messages apart then."""
    limit = RepeatLimit(10.0, Clock())
    assert passed(limit, record("%s", Unprintable())) == 0
    assert passed(limit, record(Unprintable())) == 0
