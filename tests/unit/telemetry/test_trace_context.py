"""Trace contexts in request headers: W3C, and both forms of B3."""

from __future__ import annotations

import pytest

from shadowdiff.intake import record_parser
from shadowdiff.telemetry.trace_context import TRACE_HEADERS, TraceContext, log_fields, trace_context

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
OTHER = "00f067aa0ba902b7"
SHORT = "8448eb211c80319c"


def read(**headers: str) -> TraceContext | None:
    """Return the context of a request with these headers, written with underscores."""
    return trace_context([(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()])


@pytest.mark.parametrize(
    ("headers", "sampled"),
    [
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, True),
        ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, False),
        ({"traceparent": f"00-{TRACE}-{SPAN}-02"}, False),
        ({"traceparent": f"00-{TRACE}-{SPAN}-03"}, True),
        ({"traceparent": f" 00-{TRACE}-{SPAN}-01 "}, True),
        ({"traceparent": f"cc-{TRACE}-{SPAN}-01-what-comes-later"}, True),
        ({"b3": f"{TRACE}-{SPAN}-1"}, True),
        ({"b3": f"{TRACE}-{SPAN}-d-{OTHER}"}, True),
        ({"b3": f"{TRACE}-{SPAN}-0"}, False),
        ({"b3": f"{TRACE}-{SPAN}"}, None),
        ({"b3": f"{TRACE.upper()}-{SPAN.upper()}-1"}, True),
        ({"x_b3_traceid": TRACE, "x_b3_spanid": SPAN, "x_b3_sampled": "1"}, True),
        ({"x_b3_traceid": TRACE, "x_b3_spanid": SPAN, "x_b3_sampled": "0"}, False),
        ({"x_b3_traceid": TRACE, "x_b3_spanid": SPAN, "x_b3_flags": "1"}, True),
        ({"x_b3_traceid": TRACE, "x_b3_spanid": SPAN}, None),
    ],
)
def test_every_form_gives_the_same_trace(headers: dict[str, str], sampled: bool | None) -> None:
    """The sampled flag is the caller's; if B3 omits it, it is None."""
    assert TraceContext(TRACE, SPAN, sampled) == read(**headers)


def test_a_short_trace_id_is_padded_on_the_left() -> None:
    """64 bits of B3 are the right half of 128 bits."""
    assert TraceContext("0" * 16 + SHORT, SPAN, sampled=True) == read(b3=f"{SHORT}-{SPAN}-1")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": ""},
        {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{SPAN}-01-more"},
        {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"},
        {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{'0' * 16}-01"},
        {"traceparent": f"00-{TRACE}-{SPAN}"},
        {"b3": "0"},
        {"b3": "1"},
        {"b3": f"{TRACE}-{SPAN[:-1]}-1"},
        {"b3": f"{TRACE[:-1]}-{SPAN}-1"},
        {"x_b3_traceid": TRACE},
        {"x_b3_spanid": SPAN},
        {"x_b3_traceid": "‹", "x_b3_spanid": SPAN},
    ],
)
def test_a_malformed_header_gives_no_context(headers: dict[str, str]) -> None:
    """A malformed header never raises an error or adds to a context."""
    assert read(**headers) is None


def test_the_w3c_form_wins_over_b3() -> None:
    """A mesh that migrates from B3 to W3C headers sends both."""
    both = read(x_b3_traceid=OTHER, x_b3_spanid=OTHER, b3=f"{SHORT}-{OTHER}-0", traceparent=f"00-{TRACE}-{SPAN}-01")
    assert TraceContext(TRACE, SPAN, sampled=True) == both
    broken = read(traceparent="broken", b3=f"{TRACE}-{SPAN}-0")
    assert TraceContext(TRACE, SPAN, sampled=False) == broken


def test_a_log_line_has_the_first_trace_of_several_sides() -> None:
    """The mirrored request's trace comes first, then that of the recorded one."""
    named = [(b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())]
    assert {"trace_id": TRACE, "span_id": SPAN} == log_fields([(b"accept", b"*/*")], named)
    assert {} == log_fields([], [])


def test_the_intake_keeps_all_trace_headers() -> None:
    """The two packages do not import each other and list the same headers."""
    assert TRACE_HEADERS == record_parser.TRACE_HEADERS
