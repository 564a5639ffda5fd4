"""Faults of pages that a tree could hide: each pair of pages is shown differently, so none may be `ignored`."""

from __future__ import annotations

import pytest

from shadowdiff.compare import Limits
from shadowdiff.compare.html_tree import NoTreeError, read_page
from shadowdiff.compare.work import Budget
from shadowdiff.model import Comparison, Result
from tests.fakes.responses import judged

HTML = ((b"content-type", b"text/html"),)


def _compared(one: str, other: str, kind: bytes = b"text/html") -> Comparison:
    pages = [f"<!doctype html><html><body>{body}</body></html>" for body in (one, other)]
    return judged(*(page.encode() for page in pages), headers=((b"content-type", kind),))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<div class=hidden><p>secret</p></div><p>public</p>", "<div class=hidden><p>secret</p><p>public</p></div>"),
        ("<div id=modal hidden></div><div id=content>Hi</div>", "<div id=modal hidden><div id=content>Hi</div></div>"),
        ("<a href=/x><b>a</b></a><b>b</b>", "<a href=/x><b>a</b><b>b</b></a>"),
        ("<ul><li>a<ul><li>b</ul></ul>", "<ul><li>a</ul><ul><li>b</ul>"),
    ],
)
def test_another_nesting_of_equal_elements_counts(one: str, other: str) -> None:
    """A missing end tag moves what follows into an element, for example into a hidden one."""
    assert Result.MISMATCH is _compared(one, other).result
    assert Result.MISMATCH is _compared(other, one).result


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("<p>1 <!-- -->2</p>", "<p>1<!-- -->2</p>"),
        ("<p>Pay <!-- -->100<!-- --> EUR</p>", "<p>Pay<!-- -->100<!-- -->EUR</p>"),
        ("<p>10 <del>5</del></p>", "<p>10<del>5</del></p>"),
        ("<p>foo <x-a>bar</x-a></p>", "<p>foo<x-a>bar</x-a></p>"),
        ("<p>a <ins>b</ins></p>", "<p>a<ins>b</ins></p>"),
        ("<p>a <script>1</script>b</p>", "<p>a<script>1</script>b</p>"),
    ],
)
def test_white_space_that_browsers_show_counts(one: str, other: str) -> None:
    """Only blanks next to a block element are invisible."""
    assert Result.MISMATCH is _compared(one, other).result


@pytest.mark.parametrize(("one", "other"), [("<p>a</p>\n<p>b</p>", "<p>a</p><p>b</p>"), ("<p> a </p>", "<p>a</p>")])
def test_white_space_next_to_blocks_is_ignored(one: str, other: str) -> None:
    """Browsers do not show it."""
    assert Result.IGNORED is _compared(one, other).result


@pytest.mark.parametrize(
    "leak",
    [
        "<?php echo $password; ?>",
        '<? include "db.php" ?>',
        "<![CDATA[Stack trace]]>",
        "</#if user.name>",
        "<!ENTITY x SYSTEM y>",
        "<!--#include virtual=x -->",
        "<!--esi <esi:include src=x/> -->",
    ],
)
def test_leaked_code_of_a_template_counts(leak: str) -> None:
    """A parser drops such markup or makes it a comment, but it is no comment of an author."""
    assert Result.MISMATCH is _compared("<p>x</p>", f"<p>x{leak}</p>").result


@pytest.mark.parametrize(("one", "other"), [("<br/>", "<br>"), ("<div/><p>a</p>", "<div><p>a</p></div>")])
def test_xhtml_is_not_read_as_html(one: str, other: str) -> None:
    """Browsers read it as XML, and show an error if it is not well-formed."""
    assert Result.MISMATCH is _compared(one, other, b"application/xhtml+xml").result


def test_classes_are_separated_by_the_white_space_of_html() -> None:
    """A no-break space is a part of a name."""
    assert Result.MISMATCH is _compared('<p class="a b">x</p>', '<p class="a\u00a0b">x</p>').result


def test_a_huge_character_reference_is_compared_by_lines() -> None:
    """Python reads no integer of so many digits."""
    huge = f'<p title="&#{"1" * 5000};">x</p>'
    assert Result.MISMATCH is _compared('<p title="a">x</p>', huge).result


def test_formatting_elements_that_are_never_closed_do_not_multiply() -> None:
    """The parser opens them again in each block, so 33 kB would need hundreds of megabytes."""
    page = "<!doctype html><div>" + "<b x=i>" * 190 + "</div>" + "<p>x</p>" * 4000
    with pytest.raises(NoTreeError):
        read_page(page, Budget(10**9))


def test_a_secret_before_a_removed_element_hides_its_place() -> None:
    """The place has the label, and no word of the secret."""
    found = _compared("<p>Password:</p><p>hunter</p>", "<p>Password:</p>")
    assert found.differences
    assert all("hunter" not in one.pattern for one in found.differences)


def test_marks_of_changes_are_removed_in_linear_time() -> None:
    """The work of a text with many unfinished marks is that of any text of its size."""
    line = b"[-" * 8000 + b"\n"
    limits = Limits(work=100_000)
    result = judged(line, b"x\ny\n", headers=((b"content-type", b"text/plain"),), limits=limits)
    assert Result.MISMATCH is result.result
