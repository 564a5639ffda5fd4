"""Test parsing and formatting of durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.config.value_types import duration_text, parse_duration, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("500ms", 0.5),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("2d", 172800.0),
        (0, 0.0),
        ("0", 0.0),
    ],
)
def test_a_duration_is_parsed_with_its_unit(text: object, seconds: float) -> None:
    """Parts with different units are added."""
    assert seconds == pytest.approx(parse_duration(text))


@pytest.mark.parametrize("value", [30, "30", "s", "", "-1s", "1 s", "1e3s", True, False, None, "१s", "1s\n2s", [1]])
def test_an_invalid_duration_is_rejected_with_an_example(value: object) -> None:
    """A number without a unit is invalid."""
    with pytest.raises(ValueError, match="30s"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("1MiB", 1 << 20), ("64 KiB", 65536), ("1MB", 10**6), (512, 512), ("10B", 10), ("0.5KiB", 512)],
)
def test_a_size_is_parsed_with_its_unit(text: object, size_bytes: int) -> None:
    """Binary and decimal units differ; a bare number is bytes."""
    assert size_bytes == parse_size(text)


@pytest.mark.parametrize("value", ["1MiBs", "MiB", -1, 1.5, True, None, "1e3"])
def test_an_invalid_size_is_rejected_with_an_example(value: object) -> None:
    """The message shows a valid example."""
    with pytest.raises(ValueError, match="64KiB"):
        parse_size(value)


@given(st.integers(0, 10**9))
def test_a_formatted_duration_parses_to_itself(milliseconds: int) -> None:
    """The printed effective configuration loads as the same values."""
    assert milliseconds / 1000 == pytest.approx(parse_duration(duration_text(milliseconds / 1000)))


@given(st.integers(0, 1 << 45))
def test_a_formatted_size_parses_to_itself(size_bytes: int) -> None:
    """The printed effective configuration loads as the same values."""
    assert size_bytes == parse_size(size_text(size_bytes))
