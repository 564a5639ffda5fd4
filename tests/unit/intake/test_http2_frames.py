"""GOAWAY frames are removed from a stream of frames, in reads of any size."""

from __future__ import annotations

import itertools

import h2.exceptions
import pytest
from hyperframe import frame
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.intake.http2_connection import FrameSplitter

SETTINGS = frame.SettingsFrame(0).serialize()


def _goaway(last: int, text: bytes) -> tuple[bytes, int | None]:
    return frame.GoAwayFrame(0, last_stream_id=last, additional_data=text).serialize(), last


def _other(stream: int, data: bytes) -> tuple[bytes, int | None]:
    return frame.DataFrame(stream, data).serialize(), None


STREAMS = st.integers(1, 2**31 - 1)
FRAMES = st.one_of(
    st.builds(_goaway, st.one_of(st.just(0), STREAMS), st.binary(max_size=40)),
    st.builds(_other, STREAMS, st.binary(max_size=300)),
)


@given(frames=st.lists(FRAMES, max_size=12), cuts=st.lists(st.integers(0, 3_000), max_size=12))
def test_only_goaway_is_removed(frames: list[tuple[bytes, int | None]], cuts: list[int]) -> None:
    """All other bytes pass in order, and each GOAWAY returns its last stream id."""
    sent = SETTINGS + b"".join(data for data, _ in frames)
    edges = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    splitter = FrameSplitter()
    passed, last_ids = b"", list[int]()
    for start, end in itertools.pairwise(edges):
        some, ids = splitter.split(sent[start:end])
        passed += some
        last_ids += ids
    assert SETTINGS + b"".join(data for data, last in frames if last is None) == passed
    assert [last for _, last in frames if last is not None] == last_ids


@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_bytes_pass_or_are_refused(data: bytes, size: int) -> None:
    """The output is a part of the input, in order."""
    splitter = FrameSplitter()
    passed = b""
    try:
        for start in range(0, len(data), size):
            some, _ = splitter.split(data[start : start + size])
            passed += some
    except h2.exceptions.ProtocolError:
        return
    rest = iter(data)
    assert all(byte in rest for byte in passed)


@pytest.mark.parametrize("opening", [b"HTTP/1.1 400 Bad Request\r\n", frame.PingFrame(0, b"12345678").serialize()])
def test_a_stream_that_does_not_start_with_settings_is_refused(opening: bytes) -> None:
    """The stream is not HTTP/2, or violates its first rule."""
    with pytest.raises(h2.exceptions.ProtocolError):
        FrameSplitter().split(opening)


def test_a_frame_beyond_the_announced_size_is_refused_at_its_header() -> None:
    """The reader keeps no byte of it, because a frame may claim 16 MB."""
    splitter = FrameSplitter()
    longest = frame.DataFrame(1, bytes(1 << 14)).serialize()
    assert (SETTINGS + longest, []) == splitter.split(SETTINGS + longest)
    with pytest.raises(h2.exceptions.ProtocolError):
        splitter.split(frame.DataFrame(1, bytes((1 << 14) + 1)).serialize()[:9])
