"""`join` rules cover other borders between the chunks of a text, and nothing else."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shadowdiff.model import Comparison, Result
from tests.fakes.responses import judged

Event = tuple[str, str | None, int]
"""A role, a text, and a number that differs from event to event."""
JOIN: Final = {"join": {"path": "$[*].t", "except": ["n"]}}
WITHOUT_NUMBERS: Final = {"ignore": "$[*].n"}
EVENTS: Final = st.lists(
    st.tuples(st.sampled_from(["a", "a", "b"]), st.sampled_from(["", "x", "y", "xy", None]), st.integers(0, 3)),
    max_size=5,
)


def lines(events: list[Event]) -> bytes:
    """Return the events as NDJSON."""
    return b"".join(json.dumps({"r": role, "t": text, "n": number}).encode() + b"\n" for role, text, number in events)


def stream(events: list[Event]) -> bytes:
    """Return the events as server-sent events."""
    return b"".join(b"data: " + line + b"\n\n" for line in lines(events).splitlines())


def compared(one: list[Event], other: list[Event], *rules: dict[str, Any]) -> Comparison:
    """Compare two streams."""
    return judged(lines(one), lines(other), *rules, headers=((b"content-type", b"application/x-ndjson"),))


def merged(events: list[Event]) -> list[tuple[str, str | None]]:
    """Return roles and texts; neighbors with one role and two texts become one."""
    found: list[tuple[str, str | None]] = []
    for role, text, _ in events:
        before = found[-1] if found else ("", None)
        if before[0] == role and text is not None and before[1] is not None:
            found[-1] = role, before[1] + text
        else:
            found.append((role, text))
    return found


@given(EVENTS, EVENTS)
@example([("a", "x", 0), ("a", "y", 1)], [("a", "xy", 2)])
@example([("a", "x", 0), ("b", "x", 0), ("a", "y", 0)], [("a", "xy", 0), ("b", "x", 0)])
def test_streams_are_covered_if_their_joined_texts_are_equal(one: list[Event], other: list[Event]) -> None:
    """Events with another role or without a text are never joined, and no text gets lost."""
    plain = [[event[:2] for event in events] for events in (one, other)]
    covered = compared(one, other, JOIN, WITHOUT_NUMBERS).result is not Result.MISMATCH
    assert covered == (plain[0] == plain[1] or (merged(one) == merged(other) and bool(one) == bool(other)))
    assert (compared(one, other).result is Result.MATCH) == (one == other)


RULES: Final[list[dict[str, Any]]] = [
    JOIN, WITHOUT_NUMBERS, {"join": "$[*].t"}, {"join": "$[*].r"}, {"join": "$[*]..*"}, {"unordered": "$"},
    {"tolerance": {"path": "$[*].n", "abs": 1}}, {"schema": "$[*].n"}, {"subset": "$"}, {"ignore": "$[0]"},
    {"equivalent": {"path": "$[*].t", "as": ["null", "empty"]}}, {"key": {"path": "$", "by": ["n"]}},
]  # fmt: skip


@given(EVENTS, EVENTS, st.lists(st.sampled_from(RULES), max_size=4), st.sampled_from(RULES))
@example(
    [("a", "a", 1), ("a", "b", 1)], [("a", "a", 1), ("a", "b", 2), ("a", "", 2)],
    [{"tolerance": {"path": "$[*].n", "abs": 1}}, {"join": "$[*].t"}], JOIN,
)  # fmt: skip
def test_another_rule_never_creates_a_mismatch(
    one: list[Event], other: list[Event], rules: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    """Streams are compared with every choice of `join` rules, also without them."""
    before, after = compared(one, other, *rules), compared(one, other, *rules, more)
    assert not (before.result is not Result.MISMATCH and after.result is Result.MISMATCH)
    assert (before.result is Result.MATCH) == (after.result is Result.MATCH)


@pytest.mark.parametrize(("write", "path"), [(lines, "$[*].t"), (stream, "$[*].data.t")])
def test_a_changed_text_is_shown_in_the_joined_event(write: Any, path: str) -> None:
    """The chunks are noted, and the text differs once."""
    one: list[Event] = [("a", "Hel", 0), ("a", "lo", 0), ("b", "!", 0)]
    other: list[Event] = [("a", "H", 0), ("a", "elp", 0), ("b", "!", 0)]
    kind = b"application/x-ndjson" if write is lines else b"text/event-stream"
    found = judged(write(one), write(other), {"join": path}, headers=((b"content-type", kind),))
    assert ['"Hello" "Help" None', f"[ [ join {path}"] == [
        f"{each.primary if each.rule is None else '['} {each.candidate if each.rule is None else '['} {each.rule}"
        for each in found.differences
    ]


def test_long_streams_are_joined_in_linear_work() -> None:
    """Ten thousand chunks of a text stay within the budget of a comparison."""
    one: list[Event] = [("a", "x", 0)] * 10_000
    other: list[Event] = [("a", "xx", 0)] * 5_000
    assert Result.IGNORED is compared(one, other, JOIN).result
    assert Result.MISMATCH is compared(one, [*other, ("a", "x", 0)], JOIN).result
