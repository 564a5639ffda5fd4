"""Read an HTML page as a list of leaves: elements, attributes, texts and comments, each with its place.

A place does not depend on positions: it has the nearest `id` and the landmarks around an element, and the element's own
name. The parser (lexbor) builds the tree as browsers do. What it drops, such as a cell outside a table, is in `lost`,
so that a difference there is not hidden. All work is charged to the budget.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING, Final, NamedTuple

from selectolax.lexbor import LexborHTMLParser, SelectolaxError

from shadowdiff.compare.line_places import template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from selectolax.lexbor import LexborNode

    from shadowdiff.compare.work import Budget

MAX_CHARS: Final = 1 << 20
MAX_DEPTH: Final = 200
"""Parsers need quadratic time for deeper pages, because HTML makes them search the open elements."""
MAX_ATTRIBUTES: Final = 500
"""Of one tag: the parser compares each attribute with all before it."""
_CHARS_PER_UNIT: Final = 16
_UNITS_PER_NODE: Final = 10
_MAX_STEPS: Final = 6
_NAME: Final = re.compile(r"[A-Za-z0-9_:.{}-]{1,40}")
_LANDMARKS: Final = frozenset((
    "head", "main", "nav", "header", "footer", "aside", "article", "section", "form", "fieldset", "table", "dialog",
    "ul", "ol", "dl", "figure", "details", "select", "svg", "math", "template", "iframe", "noscript",
))  # fmt: skip
_ONCE: Final = frozenset({"html", "head", "body", "main", "title"})
_INLINE: Final = frozenset((
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "dfn", "em", "font", "i", "kbd", "mark", "q", "s",
    "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var",
))  # fmt: skip
"""A text in such an element has the place of the element around it."""
_FORMATTING: Final = frozenset((
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
))  # fmt: skip
"""Elements that the parser opens again in every block if they were not closed."""
_HIDDEN: Final = frozenset(("script", "style", "template", "link", "meta", "noscript"))
"""Elements that browsers do not show, so that the texts around them are next to each other."""
_BLOCKS: Final = frozenset((
    "html", "head", "body", "title", "base", "link", "meta", "style", "script", "template", "noscript",
    "address", "article", "aside", "blockquote", "center", "dd", "details", "dialog", "dir", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr",
    "legend", "li", "main", "menu", "nav", "ol", "optgroup", "option", "p", "pre", "search", "section", "summary", "ul",
    "table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "td", "th", "br", "listing", "xmp",
    "plaintext", "frameset", "frame",
))  # fmt: skip
"""Elements next to which browsers show no blank. All others, also unknown ones, are inline."""
_BOGUS: Final = re.compile(r"<(?:\?|!(?!--|doctype)|/[^A-Za-z>])[^>]*+>?", re.IGNORECASE)
_EXECUTED: Final = ("#", "esi", "[if")
"""How comments begin that a proxy or a browser executes."""
_MOST_REOPENED: Final = 10_000
_REOPENED_PER_TAG: Final = 20
"""A page may make the parser open formatting elements again at most so often, because each needs memory."""
VERBATIM: Final = frozenset(("pre", "textarea", "script", "style", "listing", "xmp", "plaintext"))
"""The elements in which white space matters."""
_NAMED_BY: Final = ("name", "property", "http-equiv", "itemprop", "rel")
_NAMED: Final = frozenset(("meta", "input", "select", "textarea", "button", "link", "param", "slot", "iframe", "form"))
_SPACE: Final = re.compile(r"[ \t\n\f\r]+")
_BLANK: Final = r"[ \t\n\f\r]"
_ATTRIBUTE: Final = re.compile(
    rf"(=?[^ \t\n\f\r/>=]*+)(?:{_BLANK}*+={_BLANK}*+(?:\"([^\"]*+)(?:\"|\Z)|'([^']*+)(?:'|\Z)|([^ \t\n\f\r>]*+)))?+"
)
_ANY_ATTRIBUTE: Final = (
    rf"(?:=[^ \t\n\f\r/>=]*+|[^ \t\n\f\r/>=]++)"
    rf"(?:{_BLANK}*+={_BLANK}*+(?:\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)|[^ \t\n\f\r>]*+))?+"
)
_MARKUP: Final = re.compile(
    r"<!--(?:>|->|.*?(?:-->|--!>|\Z))|<[!?][^>]*+>?|"
    rf"<(/?)([A-Za-z][^ \t\n\f\r/>]*+)((?:[ \t\n\f\r/]++|{_ANY_ATTRIBUTE})*+)>?",
    re.DOTALL,
)
"""A comment, or a tag: its slash, name and attributes. Source: HTML Living Standard, section 13.2.5."""
_RAW_TEXT: Final = ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
"""Elements that contain only text."""
_RAW_ENDS: Final = {
    name: re.compile(rf"</{name}(?=[ \t\n\f\r/>])", re.IGNORECASE) for name in (*_RAW_TEXT, "plaintext")
}
_FOREIGN: Final = ("svg", "math")
_COMMENTS: Final = r"(?:[ \t\n\f\r]++|(?><!--.*?-->))*+"
_DOCTYPE: Final = re.compile(rf"{_COMMENTS}(<!doctype[^>]*+>)", re.DOTALL | re.IGNORECASE)
_TABLE_PART: Final = re.compile(
    rf"{_COMMENTS}<(?:tr|td|th|tbody|thead|tfoot|caption|colgroup|col)\b", re.DOTALL | re.IGNORECASE
)
_FRAMES: Final = re.compile(r"<frameset\b|\0", re.IGNORECASE)
"""The parser drops text in a set of frames, and the character NUL."""
_MAX_NAME: Final = 40
_UNNESTED: Final = frozenset(("p", "li", "dt", "dd", "br", "embed", "hr", "img", "meta", "body", "head"))
"""Elements that never nest without another element between them, also in SVG and MathML."""
_UNNESTED_IN_HTML: Final = _UNNESTED | {
    *("td", "th", "tr", "tbody", "thead", "tfoot", "colgroup", "html", "area", "base", "col", "input", "link"),
    *("param", "source", "track", "wbr"),
}
ELEMENT, ATTRIBUTE, TEXT = range(3)


class NoTreeError(Exception):
    """The page has no tree: it nests too deeply, has too many attributes in one tag, or has frames."""


@dataclass(slots=True)
class Leaf:
    """A part of a page.

    path: where it is, with indexes; place: the same with `[*]` for every index of a container. form: the value without
    what does not matter. raw: the value as parsed; for an element, the names of its attributes in order. blank: the
    white space after it. stop: for an element, the index after the last leaf inside.
    """

    kind: int
    path: str
    place: str
    form: str
    raw: str
    blank: str = ""
    stop: int = 0
    depth: int = 0


class Page(NamedTuple):
    """The leaves of a page in document order, its comments, and the tags that the tree does not have."""

    leaves: list[Leaf]
    comments: list[str]
    lost: Counter[str]


class _Context(NamedTuple):
    """Where a node is: the steps of containers, the place of a text, the counters of containers, white space."""

    path: tuple[str, ...]
    place: tuple[str, ...]
    text_path: str
    text_place: str
    counts: Counter[str]
    is_verbatim: bool


def read_page(text: str, budget: Budget) -> Page:
    """Return a page.  Raises: NoTreeError; TooComplexError."""
    budget.spend(2 + 3 * len(text) // _CHARS_PER_UNIT)
    if _FRAMES.search(text):
        raise NoTreeError
    tags = _tags(text, reads_raw=False)
    budget.spend(3 * len(tags))
    if _is_too_deep(tags):
        raise NoTreeError
    if any(tag.name in _FOREIGN for tag in tags):
        budget.spend(len(text) // _CHARS_PER_UNIT + 3 * len(tags))
        if _is_too_deep(_tags(text, reads_raw=True)):
            raise NoTreeError
    if _reopened(tags) > _REOPENED_PER_TAG * len(tags) + _MOST_REOPENED:
        raise NoTreeError
    page, seen = Page([], [], Counter()), Counter[str]()
    if doctype := _DOCTYPE.match(text):
        form = _SPACE.sub(" ", doctype[1].lower()).strip()
        page.leaves.append(Leaf(TEXT, "html.doctype", "html.doctype", form, form))
    try:
        parser = LexborHTMLParser(f"<table>{text}" if _TABLE_PART.match(text) else text)
    except (SelectolaxError, UnicodeError) as error:
        raise NoTreeError from error
    _read(parser.root.parent if parser.root else None, page, seen, budget)
    page.lost.update(_bogus(text))
    page.lost.update(Counter(_signature(tag.name, tag.attributes) for tag in tags if not tag.is_end) - seen)
    return page


class _Tag(NamedTuple):
    """A tag as it is written.  attributes: those of a start tag."""

    name: str
    attributes: dict[str, str]
    is_end: bool
    is_closed: bool


def _tags(text: str, *, reads_raw: bool) -> list[_Tag]:
    """Return the tags of a text in order.

    reads_raw: whether elements such as `script` contain tags, as they do in SVG. Raises: NoTreeError.
    """
    found: list[_Tag] = []
    at = 0
    while markup := _MARKUP.search(text, at):
        at = markup.end()
        slash, name, rest = markup.groups()
        if name is None:
            continue
        name = name.lower()
        attributes = _attributes(rest) if rest and not slash else {}
        found.append(_Tag(name, attributes, bool(slash), rest.endswith("/")))
        if not slash and not reads_raw and (end := _RAW_ENDS.get(name)):
            closing = end.search(text, at)
            at = closing.start() if closing else len(text)
    return found


def _attributes(rest: str) -> dict[str, str]:
    attributes: dict[str, str] = {}
    matches = [each for each in _ATTRIBUTE.findall(rest) if each[0]]
    if len(matches) > MAX_ATTRIBUTES:
        raise NoTreeError
    for key, double, single, bare in matches:
        try:
            attributes.setdefault(key.lower(), unescape(double or single or bare))
        except ValueError as error:  # a character reference with more digits than `int` reads
            raise NoTreeError from error
    return attributes


def _is_too_deep(tags: list[_Tag]) -> bool:
    """Whether a tree may be deeper than MAX_DEPTH: end tags close only an element of their own name."""
    depth = foreign = 0
    unclosed: Counter[str] = Counter()
    for name, _, is_end, is_closed in tags:
        if is_end:
            if unclosed[name]:
                unclosed[name] -= 1
                depth -= 1
                foreign -= name in _FOREIGN
            continue
        if name in _UNNESTED or (not foreign and name in _UNNESTED_IN_HTML) or (foreign and is_closed):
            continue
        unclosed[name] += 1
        foreign += name in _FOREIGN
        depth += 1
        if depth > MAX_DEPTH:
            return True
    return False


def _reopened(tags: Iterable[_Tag]) -> int:
    """Return how often the parser may open formatting elements that were not closed, at most once for each tag."""
    open_, total, found = Counter[str](), 0, 0
    for tag in tags:
        if tag.name in _FORMATTING:
            if not tag.is_end:
                open_[tag.name] += 1
                total += 1
            elif open_[tag.name]:
                open_[tag.name] -= 1
                total -= 1
        found += total
    return found


def _bogus(text: str) -> list[str]:
    """Return markup that is no HTML, such as the code of a template; parsers drop it or make it a comment."""
    return _BOGUS.findall(text)


def _signature(name: str, attributes: dict[str, str]) -> str:
    values = " ".join(f"{key}={value}" for key, value in sorted(attributes.items()))
    return f"<{name} {values}>"


def _children(node: LexborNode | None) -> Iterator[LexborNode]:
    child = node.first_child if node is not None else None
    while child is not None:
        yield child
        child = child.next


def _read(root: LexborNode | None, page: Page, seen: Counter[str], budget: Budget) -> None:
    """Add all leaves of a page. Not recursive, because a tree may be deeper than Python's stack."""
    leaves = page.leaves
    start = _Context((), (), "html", "html", Counter(), is_verbatim=False)
    open_: list[tuple[Iterator[LexborNode], _Context, Leaf | None]] = [(_children(root), start, None)]
    while open_:
        nodes, context, element = open_[-1]
        node = next(nodes, None)
        if node is None:
            open_.pop()
            if element is not None:
                element.stop = len(leaves)
            continue
        budget.spend(_UNITS_PER_NODE)
        start = len(leaves)
        if node.is_text_node:
            _add_text(node, context, leaves)
        elif node.is_element_node:
            tag = node.tag or ""
            attributes = {name: value or "" for name, value in node.attributes.items()}
            budget.spend(len(attributes))
            seen[_signature(tag.lower(), {name.lower(): value for name, value in attributes.items()})] += 1
            inner, found = _add_element(tag, attributes, context, leaves)
            open_.append((_children(_content(node, tag)), inner, found))
            found.depth = len(open_)
        elif node.is_comment_node:
            comment = node.comment_content or ""
            if comment.startswith(_EXECUTED):
                page.lost[f"<!--{comment}-->"] += 1
            else:
                page.comments.append(comment)
        for leaf in leaves[start:]:
            leaf.depth = leaf.depth or len(open_)


def _content(node: LexborNode, tag: str) -> LexborNode:
    """Return what has the children of an element; those of a template are not in the tree."""
    fragments = node.template_fragments() if tag == "template" and node.first_child is None else []
    return fragments[0] if fragments else node


def _add_text(node: LexborNode, context: _Context, leaves: list[Leaf]) -> None:
    raw = node.text_content or ""
    form = raw if context.is_verbatim else _visible(_SPACE.sub(" ", raw), node)
    if form:
        leaves.append(Leaf(TEXT, context.text_path, context.text_place, form, raw))
    elif leaves:
        leaves[-1].blank += raw


def _visible(text: str, node: LexborNode) -> str:
    """Return a text without the blanks around it, but with a blank next to an inline element, which browsers show."""
    if text[:1] != " " and text[-1:] != " ":
        return text
    is_after, is_before = _is_inline(_shown(node, -1), node), _is_inline(_shown(node, 1), node)
    if text == " ":
        return text if is_after and is_before else ""
    before, after = text[0] == " " and is_after, text[-1] == " " and is_before
    return f"{' ' * before}{text.strip(' ')}{' ' * after}"


def _shown(node: LexborNode, step: int) -> LexborNode | None:
    """Return the next or previous sibling that browsers show."""
    found = node.next if step > 0 else node.prev
    while found is not None and not (found.is_text_node or (found.is_element_node and found.tag not in _HIDDEN)):
        found = found.next if step > 0 else found.prev
    return found


def _is_inline(sibling: LexborNode | None, node: LexborNode) -> bool:
    """Whether an inline element is next to a text: a sibling, or its parent if there is no sibling."""
    found = sibling if sibling is not None else node.parent
    return found is not None and (found.is_text_node or (found.is_element_node and found.tag not in _BLOCKS))


def _add_element(tag: str, attributes: dict[str, str], context: _Context, leaves: list[Leaf]) -> tuple[_Context, Leaf]:
    inner, path, place = _step(tag, attributes, context)
    element = Leaf(ELEMENT, path, place, tag, " ".join(attributes))
    leaves.append(element)
    for name, value in sorted(attributes.items()):
        form = " ".join(sorted(set(filter(None, _SPACE.split(value))))) if name == "class" else value
        leaves.append(Leaf(ATTRIBUTE, f"{path}.@{name[:_MAX_NAME]}", f"{place}.@{_usual(name)}", form, value))
    return inner, element


def _step(tag: str, attributes: dict[str, str], context: _Context) -> tuple[_Context, str, str]:
    """Return the context inside an element, its path and its place."""
    name = _name_of(tag)
    own = _usual(attributes.get("id", ""))
    key = (
        ""
        if own or tag not in _NAMED
        else next((_usual(attributes[each]) for each in _NAMED_BY if each in attributes), "")
    )
    step = f"{name}#{own}" if own else f"{name}[{key}]" if key else name
    steps, places = ((), ()) if own and "{" not in own else (context.path, context.place)
    if tag in {"html", "body"} and not own:
        path = place = "html" if tag == "html" else "html.body"
        inner = context._replace(text_path=path, text_place=place, counts=Counter())
        return inner, path, place
    is_container = bool(own) or tag in _LANDMARKS
    context.counts[step] += 1
    index = context.counts[step] - 1
    exact = step if step in _ONCE or (own and "{" not in own) else f"{step}[{index}]"
    pattern = step if step in _ONCE or (own and "{" not in own) or not is_container else f"{step}[*]"
    path = ".".join(("html", *steps, exact))
    place = ".".join(("html", *places, pattern))
    is_verbatim = context.is_verbatim or tag in VERBATIM
    if is_container:
        steps, places = (*steps, exact)[-_MAX_STEPS:], (*places, pattern)[-_MAX_STEPS:]
        return _Context(steps, places, path, place, Counter(), is_verbatim), path, place
    if tag in _INLINE:
        return context._replace(is_verbatim=is_verbatim), path, place
    return context._replace(text_path=path, text_place=place, is_verbatim=is_verbatim), path, place


def _name_of(tag: str) -> str:
    return tag if _NAME.fullmatch(tag) else "{name}"


def _usual(value: str) -> str:
    """Return an id or a name for a place, without its values; empty if it cannot name one."""
    value = template(value) if len(value) <= _MAX_NAME else ""
    return value if _NAME.fullmatch(value) else ""
