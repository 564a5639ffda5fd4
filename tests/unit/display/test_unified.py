"""Test the unified view, the patch, unordered arrays, and changes in long texts."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.display.body_diff import diff_bodies, patch_text
from shadowdiff.model import Kind
from shadowdiff.report import Body
from tests.fakes.traffic import difference

if TYPE_CHECKING:
    from pathlib import Path

    from shadowdiff.display.body_diff import Cell, DiffRow
    from shadowdiff.model import Difference

JSON = st.recursive(
    st.integers(-9, 9) | st.sampled_from(["a", "b", "c"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from("abcdef"), inner, max_size=5),
    max_leaves=30,
)


def _rows(one: Any, other: Any, *differences: Difference) -> list[DiffRow]:
    laid = diff_bodies(Body(text=json.dumps(one)), Body(text=json.dumps(other)), differences)
    return [row for block in laid.blocks for row in block.rows]


def _text(cell: Cell) -> str:
    return "  " * cell.depth + "".join(piece.text for piece in cell.pieces)


def test_each_side_stands_whole_in_the_unified_view() -> None:
    """Where the sides differ, v1's lines come before v2's."""
    laid = diff_bodies(Body(text='{"a": 1, "b": 2}'), Body(text='{"a": 1, "b": 3, "c": 4}'), [difference("$['b']")])
    lines = [(line.sign, _text(line.cell)) for block in laid.blocks for line in block.lines]
    assert [
        (" ", "{"),
        (" ", '  "a": 1,'),
        ("-", '  "b": 2'),
        ("+", '  "b": 3,'),
        ("+", '  "c": 4'),
        (" ", "}"),
    ] == lines


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch(1) is not here")
@pytest.mark.parametrize("number", range(5))
def test_patch_applies_the_text(tmp_path: Path, number: int) -> None:
    """Applying the patch turns v1's lines into v2's."""
    one = {f"k{n}": n for n in range(40)}
    other = {name: value for name, value in one.items() if value % 7 != number} | {"new": [1, 2], "k3": -number}
    rows = _rows(one, other)
    ours, theirs = (
        "".join(_text(cell) + "\n" for cell in cells if cell.number)
        for cells in ([row.primary for row in rows], [row.candidate for row in rows])
    )
    (tmp_path / "v1").write_text(ours)
    (tmp_path / "p").write_text(patch_text(rows, "v1", "v2"))
    subprocess.run(["patch", "-s", "v1", "p"], cwd=tmp_path, check=True, timeout=20)
    assert theirs == (tmp_path / "v1").read_text()


@given(JSON, JSON)
def test_a_patch_is_empty_only_if_the_bodies_are_equal(one: Any, other: Any) -> None:
    """Equality is that of the displayed lines."""
    rows = _rows([one], [other])
    assert (patch_text(rows, "v1", "v2") == "") == all(row.state == "equal" for row in rows)


def test_unordered_arrays_are_shown_next_to_similar_ones() -> None:
    """Equal elements are paired first, then similar ones. Only their differences are marked."""
    one = {"items": [{"sku": n, "price": n, "name": f"thing {n}"} for n in range(5)]}
    other = {"items": [dict(item) for item in reversed(one["items"])]}
    other["items"][1]["price"] = 99
    order = difference("$['items']", kind=Kind.ORDER, rule="unordered $.items")
    changed = [row for row in _rows(one, other, order, difference("$['items'][3]['price']")) if row.state != "equal"]
    assert [('      "price": 3,', '      "price": 99,')] == [
        (_text(row.primary), _text(row.candidate)) for row in changed
    ]


def test_an_order_that_counts_is_shown_as_it_is() -> None:
    """No element moves unless a rule allows it."""
    order = difference("$['items']", kind=Kind.ORDER)
    assert any(row.state == "changed" for row in _rows({"items": [1, 2, 3]}, {"items": [3, 2, 1]}, order))


def test_each_change_within_a_long_text_is_marked_apart() -> None:
    """The text between two changes is not marked."""
    words = [f"word{n}" for n in range(40)]
    other = list(words)
    other[3], other[30] = "here", "there"
    (row,) = [row for row in _rows({"t": " ".join(words)}, {"t": " ".join(other)}) if row.state == "changed"]
    assert ["here", "there"] == [piece.text for piece in row.candidate.pieces if piece.changed]
