"""Test rules for texts: masks across lines, lines in any order, and the text of a difference."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.rules.pattern import Mask
from tests.unit.compare.comparing import compared, counted, mask

UNORDERED = {"unordered": "text"}
SCRIPT = mask("text", "(?s)<script.*?</script>")
TIME = mask("text", r"\d\d:\d\d")
CASE = {"equivalent": {"path": "text", "as": ["case"]}}
PAGE = "<script nonce={}>\nx {}\n</script>\nprice {}\nend\n"

FAULTS = [
    ("a changed line among others in another order", "a\nb\nc\n", "c\nb\nX\n", [UNORDERED],
     [("text[0]", "[-a-]\n", "{+X+}\n")]),
    ("a masked line in another order next to a changed one", "a 10:01\nb 10:03\nc\n", "b 10:04\na 10:02\nd\n",
     [UNORDERED, TIME], [("text[2]", "[-c-]\n", "{+d+}\n")]),
    ("a lost line in another order", "a\nb\nc\n", "c\na\n", [UNORDERED], [("text[1]", "b\n", None)]),
    ("an added line in another order", "a\nb\n", "b\nn\na\n", [UNORDERED], [("text[1]", None, "n\n")]),
    ("a lost line end in another order", "a\nb\n", "b\na", [UNORDERED], [("text[0]", "a[-\n-]", "a")]),
    ("a change after a masked stretch of lines", PAGE.format(1, 1, 9), PAGE.format(2, 2, 10), [SCRIPT],
     [("text[3]", "price [-9-]\n", "price {+10+}\n")]),
    ("a change after a masked stretch of more lines", PAGE.format(1, 1, 9), PAGE.format(2, "2\ny", 10), [SCRIPT],
     [("text[3]", "price [-9-]\n", "price {+10+}\n")]),
    ("a change next to a masked one", "price 10 at 10:01\n", "price 11 at 10:02\n", [TIME],
     [("text[0]", "price [-10-] at 10:01\n", "price {+11+} at 10:02\n")]),
    ("a change next to a masked one after other letters", "é 10:01é x\n", "é 10:02é y\n", [TIME],
     [("text[0]", "é 10:01é [-x-]\n", "é 10:02é {+y+}\n")]),
    ("an inserted line among lines in another case", "A\nB\n", "a\nnew\nb\n", [CASE], [("text[1]", None, "new\n")]),
    ("an inserted line among equal numbers", "1\n2.0\n", "1.0\nnew\n2\n",
     [{"equivalent": {"path": "text", "as": ["number"]}}], [("text[1]", None, "new\n")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "rules", "expected"), [case[1:] for case in FAULTS], ids=[c[0] for c in FAULTS]
)
def test_only_uncovered_differences_count(
    one: str, other: str, rules: list[object], expected: list[tuple[str, str | None, str | None]]
) -> None:
    """Differences that a rule covers are not marked."""
    comparison = compared((one, other), *rules, kind="text/plain")
    assert (str(comparison.result), counted(comparison)) == ("mismatch", expected)


RESULTS = [
    ("a mask over several lines", PAGE.format(1, 1, 9), PAGE.format(2, "2\ny", 9), [SCRIPT], "ignored"),
    ("^ and $ at line ends", "a\nat: 1\nb\n", "a\nat: 2\nb\n", [mask("text", "^at: .*$")], "ignored"),
    ("^ and $ in CRLF", "a\r\nat: 1\r\nb\r\n", "a\r\nat: 2\r\nb\r\n", [mask("text", "^at: .*$")], "ignored"),
    ("a mask that leaves nothing", "", "1\n", [mask("text", "\\d\n", **{"with": ""})], "ignored"),
    ("a vertical tab that ends no line", "a\x0bb\n", "b\na\x0b", [UNORDERED], "mismatch"),
    ("a line separator that ends no line", "a\u2028b\n", "b\na\u2028", [UNORDERED], "mismatch"),
    ("CRLF lines without a last end", "a\r\nb\r\nc", "c\r\nb\r\na", [UNORDERED], "ignored"),
    ("line ends changed", "a\r\nb\r\n", "b\na\n", [UNORDERED], "mismatch"),
    ("one line more of a kind", "a\na\nb\n", "b\na\nb\n", [UNORDERED], "mismatch"),
    ("masked stretches of lines in another order", "<i>\n1\n</i>\n<b>\n", "<b>\n<i>\n2\n</i>\n",
     [UNORDERED, mask("text", "(?s)<i>.*?</i>")], "ignored"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "rules", "expected"), [c[1:] for c in RESULTS], ids=[c[0] for c in RESULTS])
def test_rules_apply_to_texts_as_a_whole_and_by_lines(one: str, other: str, rules: list[object], expected: str) -> None:
    """The result is right on both sides of the rule's limit, whichever side is v1."""
    assert str(compared((one, other), *rules, kind="text/plain").result) == expected
    assert str(compared((other, one), *rules, kind="text/plain").result) == expected


@given(st.integers())
def test_another_rule_never_uncovers_a_text(seed: int) -> None:
    """An additional rule never uncovers a text, even if the matches of the rule span lines."""
    random = Random(seed)
    pool = [
        UNORDERED,
        CASE,
        TIME,
        SCRIPT,
        mask("text", "a\n"),
        mask("text", "(?s)a.*b"),
        mask("text", "\n"),
        mask("text", "^"),
    ]
    lines = random.choices(["a", "A", "b", "10:01", "10:02", "<script 1>", "</script>", "é"], k=random.randint(1, 5))
    other = random.sample(lines, len(lines)) if random.random() < 0.5 else [line.upper() for line in lines]
    texts = ("\n".join(lines) + "\n", "\n".join(other) + random.choice(["\n", "\n", ""]))
    rules = random.sample(pool, random.randint(1, 3))
    if str(compared(texts, *rules, kind="text/plain").result) != "mismatch":
        for further in pool:
            assert str(compared(texts, *rules, further, kind="text/plain").result) != "mismatch", further


@given(st.text(), st.sampled_from(["x*", "\\C", "a\\C", "\\pL*", "q*", "(?i)É?", "[^a]*", "$|^", "\\b"]))
def test_masks_replace_whole_characters(text: str, pattern: str) -> None:
    """The rest of the text still decodes, and empty matches are between characters."""
    hidden = Mask(pattern, "*").apply(text).decode("utf-8", "surrogatepass")
    assert compared((f'["{"é" * 3}"]', '["e"]'), mask("$[*]", pattern)).reason == ""
    if pattern == "q*" and "q" not in text:
        assert hidden == "*" + "".join(f"{char}*" for char in text)


@pytest.mark.parametrize("size", [600, 3000, 9000])
def test_a_change_far_inside_a_long_value_is_shown(size: int) -> None:
    """Strings, lines and headers begin shortly before the change, not before masked text."""
    one, other = (f"n-{at} " + "x " * size + f"price {at}" for at in (1, 22))
    shown = [
        compared((f'"{one}"', f'"{other}"'), mask("$", "n-\\d+")),
        compared((one, other), mask("text", "n-\\d+"), kind="text/plain"),
        compared(("", ""), headers=([("x-n", one[4:])], [("x-n", other[5:])])),
    ]
    for comparison in shown:
        ((_, before, after),) = counted(comparison)
        assert before is not None
        assert after is not None
        assert ("price" in before, "price" in after, "n-1" in before, before == after) == (True, True, False, False)
