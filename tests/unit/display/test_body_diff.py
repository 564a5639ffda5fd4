"""Show two bodies side by side: equal parts fold, differences are marked, ignored ones are dimmed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shadowdiff.display.body_diff import MAX_LINES, BodyDiff, DiffRow, diff_bodies
from shadowdiff.model import Kind
from shadowdiff.report import Body
from shadowdiff.rules.builtin import BOTH_BROKEN
from tests.fakes.traffic import PRODUCT, difference

if TYPE_CHECKING:
    from shadowdiff.display.body_diff import Cell
    from shadowdiff.model import Difference

TEXTS = st.text(st.characters(codec="utf-8"), max_size=200) | st.text('[]{}:,"1a \n', max_size=60)


def _laid(primary: Any, candidate: Any, *differences: Difference) -> BodyDiff:
    def text(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    return diff_bodies(Body(text=text(primary)), Body(text=text(candidate)), differences)


def _rows(laid: BodyDiff, state: str | None = None) -> list[DiffRow]:
    return [row for block in laid.blocks for row in block.rows if state in (None, row.state)]


def _text(cell: Cell) -> str:
    return "".join(piece.text for piece in cell.pieces)


def _marked(cell: Cell) -> str:
    return "".join(piece.text for piece in cell.pieces if piece.changed)


def test_a_changed_value_is_marked_inside_its_line() -> None:
    """Only the numbers are marked."""
    (row,) = _rows(_laid(PRODUCT, PRODUCT | {"price": 19.99}, difference()), "changed")
    assert (("21.99", "19.99"), ('"price": 21.99,', '"price": 19.99,')) == (
        (_marked(row.primary), _marked(row.candidate)),
        (_text(row.primary), _text(row.candidate)),
    )


def test_the_note_about_broken_bodies_dims_nothing() -> None:
    """The note covers no difference, although its path is the whole body."""
    note = msgspec.structs.replace(difference("$", kind=Kind.TYPE), rule=BOTH_BROKEN.label)
    laid = _laid('{"a": 1', '{"a": 2', note, difference("text[0]", kind=Kind.TEXT))
    assert ["changed"] == [row.state for row in _rows(laid) if row.state != "equal"]


def test_a_missing_object_is_missing_as_a_whole() -> None:
    """The object's brackets are missing with it, and its neighbors stay equal."""
    v1 = {"a": {"x": 1}, "b": {"y": 2}, "c": {"z": 3}}
    changed = _rows(_laid(v1, {"a": {"x": 1}, "c": {"z": 3}}, difference("$['b']")), "changed")
    assert ['"b": {', '"y": 2', "},"] == [_text(row.primary) for row in changed]
    assert [0, 0, 0] == [row.candidate.number for row in changed]


def test_a_new_order_of_keys_changes_nothing() -> None:
    """The text reports the new order, and no line is marked."""
    laid = _laid(PRODUCT, dict(reversed(PRODUCT.items())))
    assert ([], True) == (_rows(laid, "changed"), laid.reordered)


def test_differences_that_a_rule_covers_are_dimmed() -> None:
    """Differences that no rule covers are not dimmed."""
    laid = _laid(
        PRODUCT,
        PRODUCT | {"price": 1, "served_at": "later"},
        difference(),
        difference("$['served_at']", rule="ignore $.served_at"),
    )
    assert [("changed", '"price": 21.99,'), ("ignored", '"served_at": "2026-03-01T10:00:00Z"')] == [
        (row.state, _text(row.primary)) for row in _rows(laid) if row.state != "equal"
    ]


def test_a_document_in_a_string_is_one_line() -> None:
    """The string is dimmed only if no difference inside counts."""
    one, other = {"p": '{"at":1,"n":1}'}, {"p": '{"at":2,"n":2}'}
    covered, counted = difference("$['p']['{json}']['at']", rule="r"), difference("$['p']['{json}']['n']")
    assert ["ignored"] == [row.state for row in _rows(_laid(one, other, covered)) if row.state != "equal"]
    assert ["changed"] == [row.state for row in _rows(_laid(one, other, covered, counted)) if row.state != "equal"]


def test_a_counted_difference_inside_a_covered_place_is_not_dimmed() -> None:
    """A difference that no rule covers is shown, even inside a covered path."""
    laid = _laid({"m": {"a": 1}}, {"m": {"a": 2}}, difference("$['m']", rule="r"), difference("$['m']['a']"))
    assert ["changed"] == [row.state for row in _rows(laid) if row.state != "equal"]


def test_a_name_with_the_same_prefix_is_a_different_place() -> None:
    """A rule for `a` does not cover `ab`."""
    laid = _laid({"a": 1, "ab": 1}, {"a": 2, "ab": 2}, difference("$['a']", rule="r"), difference("$['ab']"))
    assert ["ignored", "changed"] == [row.state for row in _rows(laid) if row.state != "equal"]


def test_equal_stretches_are_folded_with_context_around() -> None:
    """Three lines stay on each side of a difference."""
    v1 = {f"k{n:02}": n for n in range(40)}
    laid = _laid(v1, v1 | {"k20": 0}, difference("$['k20']"))
    assert [(True, 18), (False, 7), (True, 17)] == [(block.folded, len(block.rows)) for block in laid.blocks]
    assert "18 equal lines" == laid.blocks[0].title


def test_a_long_stretch_of_one_side_is_folded_too() -> None:
    """An error page instead of a product does not fill the screen."""
    v1 = {f"k{n:02}": n for n in range(40)}
    laid = _laid(v1, {"error": "boom"})
    assert "31 more lines of v1" in [block.title for block in laid.blocks if block.folded]


def test_an_inserted_element_is_one_line() -> None:
    """The following elements move, and stay equal."""
    (row,) = _rows(_laid(list("abcdef"), list("abXcdef"), difference("$[2]")), "changed")
    assert (0, '"X",') == (row.primary.number, _text(row.candidate))


def test_plain_text_is_laid_out_line_by_line() -> None:
    """A greeting in plain text differs in its version."""
    (row,) = _rows(_laid("hello from v1: 8\nbye", "hello from v2: 8\nbye", difference("text")), "changed")
    assert ("v1", "v2") == (_marked(row.primary), _marked(row.candidate))


def test_json_next_to_text_is_laid_out_too() -> None:
    """Each side of the diff has its own layout."""
    laid = _laid(PRODUCT, "<h1>Bad Gateway</h1>")
    assert "<h1>Bad Gateway</h1>" in {_text(row.candidate) for row in _rows(laid)}


def test_long_bodies_are_truncated_and_marked() -> None:
    """The length of the page is limited."""
    laid = _laid(list(range(5000)), list(range(1, 5001)))
    assert (True, True) == (laid.truncated, len(_rows(laid)) <= 2 * MAX_LINES)


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_every_line_of_both_sides_is_shown_once_and_in_order(primary: str, candidate: str) -> None:
    """The layout loses or repeats no line of any text."""
    rows = _rows(_laid(primary, candidate))
    for cells in ([row.primary for row in rows], [row.candidate for row in rows]):
        numbers = [cell.number for cell in cells if cell.number]
        assert list(range(1, len(numbers) + 1)) == numbers
    if rows and rows[0].primary.depth == 0 and primary.splitlines() and not primary.lstrip().startswith(("{", "[")):
        assert primary.splitlines() == [_text(row.primary) for row in rows if row.primary.number]


@settings(deadline=None)
@given(TEXTS)
def test_a_body_equals_itself(text: str) -> None:
    """Equal bodies have no marks."""
    assert {"equal"} >= {row.state for row in _rows(_laid(text, text))}


def test_repeated_lines_do_not_take_long() -> None:
    """The slowest alignment within the limits takes less than seconds."""
    laid = _laid([0] * 1400, [0, 1] * 700)
    assert laid.blocks
