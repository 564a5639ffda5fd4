"""Golden cases that are too large for a folder: masks on long texts and long lines."""

from __future__ import annotations

import pytest

from shadowdiff.model import Comparison, Difference, Result
from tests.differential.check import run
from tests.differential.reference import Response

TIME_MASK = {"mask": {"path": "text", "pattern": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"}}
NONCE_MASK = {"mask": {"path": "text", "pattern": 'nonce="[^"]*"'}}


def _table(rows: int, minute: int, last: int) -> Response:
    """Return a CSV text that has a time in each line, and the total `last` in the last line."""
    lines = [f"{row},2026-05-04T08:{minute:02}:{row % 60:02}Z,{row * 7}" for row in range(rows)]
    lines[-1] = f"{lines[-1].rpartition(',')[0]},{last}"
    return Response(200, {}, "text/csv", "\n".join(["no,seen,total", *lines]) + "\n")


def _page(nonce: str, price: str) -> Response:
    """Return a minified HTML page: one line of about 6,000 characters."""
    script = f'<script nonce="{nonce}">{"x=1;" * 1400}</script>'
    return Response(200, {}, "text/html", f"<html><head>{script}</head><body><b>{price}</b></body></html>")


def _counted(comparison: Comparison) -> list[Difference]:
    return [difference for difference in comparison.differences if difference.rule is None]


@pytest.mark.parametrize("rows", [1_000, 4_999, 5_000, 6_000, 25_000])
def test_a_wrong_total_in_the_last_line_is_the_one_difference_among_masked_times(rows: int) -> None:
    """The mask covers the times in all other lines, so only the wrong total is a difference."""
    comparison = run(_table(rows, 1, 5), _table(rows, 2, 6), [TIME_MASK])
    counted = _counted(comparison)
    assert comparison.result is Result.MISMATCH
    assert [difference.path for difference in counted] == [f"text[{rows}]"]
    assert "5" in (counted[0].primary or "").rpartition(",")[2]
    assert "6" in (counted[0].candidate or "").rpartition(",")[2]


@pytest.mark.parametrize("rows", [1_000, 6_000, 20_001, 25_000, 60_000])
def test_a_mask_covers_every_line_of_a_long_text(rows: int) -> None:
    """The number of mask matches in a body is not limited."""
    comparison = run(_table(rows, 1, 5), _table(rows, 2, 5), [TIME_MASK])
    assert comparison.result is Result.IGNORED
    assert _counted(comparison) == []


@pytest.mark.parametrize("rows", [1_000, 25_000])
def test_a_mask_covers_a_long_text_without_line_ends(rows: int) -> None:
    """A mask also covers a long text in a single line."""
    one, other = (Response(200, {}, "text/csv", _table(rows, minute, 5).body.replace("\n", ";")) for minute in (1, 2))
    assert run(one, other, [TIME_MASK]).result is Result.IGNORED


@pytest.mark.parametrize("rows", [1_000, 25_000])
def test_a_mask_covers_a_long_string_in_json(rows: int) -> None:
    """A mask also covers a long string in a JSON body."""
    texts = (_table(rows, minute, 5).body.replace("\n", ";") for minute in (1, 2))
    one, other = (Response(200, {}, "application/json", f'{{"log": "{text}"}}') for text in texts)
    rule = {"mask": {"path": "$.log", "pattern": TIME_MASK["mask"]["pattern"]}}
    assert run(one, other, [rule]).result is Result.IGNORED


def test_the_change_in_a_long_line_is_shown_and_not_what_a_mask_covers() -> None:
    """The diff shows the changed price. The mask covers the nonce."""
    comparison = run(_page("a1f0", "9.99"), _page("b2e8", "11.50"), [NONCE_MASK])
    counted = _counted(comparison)
    assert comparison.result is Result.MISMATCH
    assert len(counted) == 1
    assert "9.99" in (counted[0].primary or "").replace("[-", "").replace("-]", "")
    assert "11.50" in (counted[0].candidate or "").replace("{+", "").replace("+}", "")
    assert "a1f0" not in (counted[0].primary or "")
    assert "b2e8" not in (counted[0].candidate or "")


def test_a_long_line_that_differs_only_in_what_a_mask_covers_is_ignored() -> None:
    """The mask covers the nonce, and the prices are equal."""
    comparison = run(_page("a1f0", "9.99"), _page("b2e8", "9.99"), [NONCE_MASK])
    assert comparison.result is Result.IGNORED
