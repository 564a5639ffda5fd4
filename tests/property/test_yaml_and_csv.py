"""YAML and CSV bodies match if and only if they have equal values, however they are written."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from shadowdiff.compare.formats import BrokenBodyError, format_of
from shadowdiff.compare.formats.yaml import MAX_REPEATED
from tests.property.test_formats import BOM, glued, match

if TYPE_CHECKING:
    from random import Random

YAML: Final = "application/yaml"
CSV: Final = "text/csv; header=present"

# -- YAML ----------------------------------------------------------------------------------------------------------

WORDS: Final = [
    "a",
    "b c",
    "yes",
    "012",
    "1_0",
    "0x1f",
    "2026-01-01",
    "1e5",
    "<<",
    "null",
    "true",
    "1",
    "1.0",
    "#a",
    "",
]
"""As plain words, some of these are not text in some version of YAML."""
SCALARS: Final = st.one_of(
    st.tuples(st.just("text"), st.sampled_from([*WORDS, "a\nb", "é", "- x", "#bytes"])),
    st.tuples(st.just("plain"), st.sampled_from([word for word in WORDS if word not in {"#a", ""}])),
    st.sampled_from([("tag", ("!Ref", "x")), ("tag", ("!Ref", "y")), ("tag", ("!!binary", "eA=="))]),
)
TREES: Final = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.tuples(st.just("array"), st.lists(inner, max_size=3)),
        st.tuples(st.just("map"), st.lists(st.tuples(SCALARS, inner), max_size=3)),
    ),
    max_leaves=6,
)
CONSTANTS: Final[dict[str, Any]] = {"null": None, "true": True, "1": 1, "1.0": Decimal("1.0")}


def meaning(tree: Any) -> Any:
    """Return what must be equal. A plain word is text if every version of YAML reads it as text."""
    kind, value = tree
    if kind == "array":
        return kind, tuple(map(meaning, value))
    if kind == "map":
        found: dict[str, list[Any]] = {}
        for key, inner in value:
            found.setdefault(repr(meaning(key)), []).append(meaning(inner))
        return kind, sorted(found.items())
    if kind == "plain" and value in CONSTANTS:
        return type(CONSTANTS[value]).__name__, CONSTANTS[value]
    return ("text" if value in {"a", "b c"} else kind), value


def write_yaml(tree: Any, random: Random) -> str:
    """Write a tree in flow style, with random quotes, blanks, comments and line ends."""
    kind, value = tree
    gap = random.choice(["", " ", "\n ", " # note\n "])
    if kind == "array":
        return f"[{gap}" + f",{gap} ".join(write_yaml(each, random) for each in value) + f"{gap}]"
    if kind == "map":
        pairs = [f"? {write_yaml(key, random)} : {write_yaml(inner, random)}" for key, inner in value]
        if len({repr(meaning(key)) for key, _ in value}) == len(value):
            random.shuffle(pairs)
        return f"{{{gap}" + f",{gap} ".join(pairs) + f"{gap}}}"
    if kind == "tag":
        return f"{value[0]} {value[1]}"
    if kind == "plain":
        return value
    forms = [json.dumps(value), json.dumps(value, ensure_ascii=False), f"!!str {json.dumps(value)}"]
    if "\n" not in value:
        forms.append("'" + value.replace("'", "''") + "'")
    return random.choice([*forms, value] if value in {"a", "b c"} else forms)


@given(TREES, TREES, st.randoms(use_true_random=False))
def test_yaml_matches_if_its_values_are_equal(one: Any, other: Any, random: Any) -> None:
    """Two spellings of a value match. A word and the same word in quotes match only if both are text everywhere."""
    body = write_yaml(one, random).encode()
    assert match(body, write_yaml(one, random).encode(), YAML)
    assert match(body, write_yaml(other, random).encode(), YAML) == (meaning(one) == meaning(other))


@given(TREES, st.randoms(use_true_random=False))
def test_the_styles_of_a_collection_do_not_matter(tree: Any, random: Any) -> None:
    """PyYAML's writer is an independent writer of block style."""
    text = write_yaml(tree, random)
    node: Any = yaml.compose(text)
    unroll(node)
    block: Any = yaml.serialize(node)  # pyright: ignore[reportUnknownMemberType]
    assert match(text.encode(), block.encode(), YAML)


def unroll(node: Any) -> None:
    """Set block style."""
    if isinstance(node, yaml.SequenceNode):
        below: list[Any] = node.value
    else:
        below = [each for pair in node.value for each in pair] if isinstance(node, yaml.MappingNode) else []
    if isinstance(node, yaml.CollectionNode):
        node.flow_style = False
    for each in below:
        unroll(each)


PIECES: Final = [
    b"a: 1", b"b: &x [1]", b"\x00", b"c: *x", b"- y", b"\n", b"\n  ", b"---", b"...", b"? ", b": ", b"{", b"}", b"[",
    b"]", b", ", b"'", b'"', b"|\n", b">\n ", b"# c", b"!t ", b"&y ", b"*y", b"%YAML 1.1", b"\t", b"\xc2\x85", b"\xff",
]  # fmt: skip


@given(glued(PIECES, 12), glued(PIECES, 12))
@example(b"a: &x [*x]", b"a: [1]")
@example(b"a: b\xc2\x85c", b"a: b c")
@example(b"\xef\xbb\xbf\xef\xbb\xbfa", b"\xef\xbb\xbfa")
@example(b"%YAML 1.1\n--- 1", b"%YAML 1.2\n--- 1")
@example(b"a: !!binary eA==", b'a: "eA=="')
@example(b"- ! yes", b"- yes")
def test_any_yaml_has_a_result(one: bytes, other: bytes) -> None:
    """Bodies that PyYAML reads differently, or that it cannot read, match only if their bytes are equal."""
    if match(one, other, YAML) and one != other:
        assert not one.startswith(BOM * 2)
        assert [*map(tree_of, yaml.compose_all(one))] == [*map(tree_of, yaml.compose_all(other))]


def tree_of(node: Any) -> Any:
    """Return the tag and the text or content of a node that PyYAML composed."""
    if node is None:
        return True
    if isinstance(node, yaml.SequenceNode):
        return node.tag, [*map(tree_of, node.value)]
    if isinstance(node, yaml.MappingNode):
        pairs = [(repr(tree_of(key)), repr(tree_of(value))) for key, value in node.value]
        return node.tag, sorted(pairs, key=lambda pair: pair[0])
    return node.tag.endswith((":null", ":bool")) or (node.tag, node.value)


@pytest.mark.parametrize(
    "body",
    [
        "[" * 255 + "]" * 255,
        "[" * 100_000,
        "- " * 100_000,
        "{a: " * 255 + "}" * 255,
        "a: &a [*a]",
        "*a",
        "a: 1\n---\n&x b\n---\n*x",
        "a: &x 1\nb: *y",
        f"a: &x {list(range(1000))}\nb: [{', '.join(['*x'] * (MAX_REPEATED // 1000))}]",
        "a: [1",
        "a: 'b",
        "a: b: c",
        "\t- a",
        "a: b\u2028c",
        "\x01",
        '? {"' + '"' * 300 + '": 1}\n: 1',
        "? [" + "1, " * 600 + "1]\n: 1",
    ],
    ids=lambda body: body[:12],
)
def test_a_hostile_body_is_broken(body: str) -> None:
    """A body cannot nest without limit, refer to itself, or grow by aliases or keys."""
    format_, media = format_of(YAML.encode())
    assert isinstance(format_.try_value(body.encode(), media), BrokenBodyError)


# -- CSV -----------------------------------------------------------------------------------------------------------

FIELDS: Final = [
    b"a", b"b", b"1", b'"1"', b'"a"', b'"a,b"', b'""', b'"a""b"', b'"x\r\ny"', b'"x\ny"', b",", b",", b",", b"\r\n",
    b"\n", b"\r", b" ", b'"',
]  # fmt: skip


def read_csv(text: str) -> list[list[str]] | None:
    """Read rows character by character. Return None if a quoted field does not end before a comma or a line end."""
    rows: list[list[str]] = []
    fields: list[str] = []
    at = 0
    while at < len(text):
        field, quoted = "", text[at] == '"'
        if quoted:
            at += 1
            while text[at : at + 1] != '"' or text[at + 1 : at + 2] == '"':
                if at >= len(text):
                    return None
                field += text[at]
                at += 1 if text[at] != '"' else 2
            at += 1
        else:
            while at < len(text) and text[at] not in ",\r\n":
                field, at = field + text[at], at + 1
        separator = text[at : at + 1]
        if separator not in {"", ",", "\r", "\n"}:
            return None
        at += 2 if text[at : at + 2] == "\r\n" else 1
        fields.append(field)
        if separator != ",":
            rows.append([] if fields == [""] and not quoted else fields)
            fields = []
        elif at == len(text):
            rows.append([*fields, ""])
    return rows


def means(rows: list[list[str]]) -> Any:
    """Return what must be equal: the header, the fields under each name in order, and rows of another length."""
    header, *rest = rows
    found: list[Any] = []
    for row in rest:
        named: dict[str, list[str]] = {}
        for name, field in zip(header, row, strict=False):
            named.setdefault(name, []).append(field)
        found.append(named if len(row) == len(header) else row)
    return header, found


@given(glued(FIELDS, 10), glued(FIELDS, 10))
@example(b'a,b\r\n1,"2"\r\n', b"a,b\n1,2")
@example(b"a\n1\n\n", b"a\n1\n")
@example(b"a,b\n1\n", b"a,b\n1,\n")
@example(b"a,b\n1,2,3\n", b"a,b\n1,2\n")
def test_csv_matches_if_its_rows_are_equal(one: bytes, other: bytes) -> None:
    """Quotes around a field and the line end after a row do not matter; a line end in quotes does."""
    left, right = read_csv(one.decode()), read_csv(other.decode())
    both = one and other and left is not None and right is not None
    assert match(one, other, CSV) == (one == other or bool(both and means(left or []) == means(right or [])))


def test_a_field_may_be_long() -> None:
    """Python's own limit of 128 kB does not apply."""
    one, other = (b"a\n" + b"x" * 200_000 + end for end in (b"1", b"2"))
    assert not match(one, other, CSV)
    format_, media = format_of(CSV.encode())
    assert not isinstance(format_.try_value(one, media), BrokenBodyError)
