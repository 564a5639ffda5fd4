"""Find where in a text secrets stand, by the names that give them away.

In: text of any kind, and which names are a secret's.  Out: stretches of it, in order, that do not overlap.
Holds: time linear in the text; nothing is parsed, so that malformed, truncated and mixed text is searched as well.
Shapes: members of JSON, also inside JSON's strings; `name=value`, `name: value` and `'name' => 'value'`, with what is
indented below in YAML; elements and attributes of XML and HTML; fields of multipart forms.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    IsSecret = Callable[[str], bool]


class Stretch(NamedTuple):
    """Where a secret stands, what it says, and the quotation marks to set around what replaces it."""

    start: int
    end: int
    says: str
    quote: str = ""


_DEPTH: Final = 4
"""How deep JSON is looked for in JSON's strings; below that, `name: value` still finds its members."""
_QUOTES: Final = tuple("\\" * (2**level - 1) + '"' for level in range(_DEPTH))


def _string(level: int) -> str:
    """Return the pattern of a string so deep in strings: how many backslashes stand before a quote tells its level."""
    many, quote = f"(?:{re.escape(chr(92) * 2 ** (level + 1))})*+", re.escape(_QUOTES[level])
    return rf'(?<!\\){quote}([^"\\]*+(?:(?!{many}{quote})(?:\\*+"|\\++)[^"\\]*+)*+{many})(?:{quote})?'


_STRINGS: Final = tuple(re.compile(_string(level)) for level in range(_DEPTH))
_NESTED: Final = tuple(re.compile(rf"{_string(level)}|[\[\]{{}}]") for level in range(_DEPTH))
_COLON: Final = re.compile(r"(?:\s|\\++[nrt])*+:(?:\s|\\++[nrt])*+")
_SCALAR: Final = re.compile(r'[^\s,\]}"\[{\\]*+')
_EMPTY: Final = frozenset({"", '""', "null", "true", "false", "None", "True", "False", "nil", "~"})

_ENTITY: Final = r"&(?:quot|apos|#0?34|#0?39|#x22|#x27);"
_PAIR: Final = re.compile(
    rf"""(?<![\w.$-])([\w.$-]++)((?:["'`\\\])]|{_ENTITY}){{0,8}}+[ \t]*+(?:=>|:=|==?+|:)[ \t]*+)"""
    r"((?i:basic|bearer|digest|negotiate|dpop|hmac|token)[ \t]++(?=[^\s,;]))?"
)
_OPENING: Final = re.compile(rf"""\\*["'`]|{_ENTITY}""")
_WORD: Final = re.compile(r"""(?:[^\s&;,<>"'`)\]}\\]|\\++(?!["'`nrt]))*+""")
_LINE: Final = re.compile(r"""(?:[^\r\n<&;]|<(?![/a-zA-Z!])|&(?![\w%.-]++=|quot;|\#)|;(?!$))*+""", re.MULTILINE)
_BEFORE_LINE: Final = re.compile(r"""(?:^|[\r\n])[ \t>+-]*(?:(?:export|set|data:)[ \t]+)?\Z""")
_LOOK_BACK: Final = 40
_BLOCK: Final = re.compile(r"[|>][0-9+-]{0,2}[ \t]*(?=\r?\n)")
_DEEPER: Final = re.compile(r"\r?\n(?:([ \t]*+)([^\r\n]*+))")

_TAG: Final = re.compile(r"<([A-Za-z_][\w:.-]*+)([^<>]*+)>?")
_ATTRIBUTE: Final = re.compile(r"""(?<![\w:.-])([\w:.-]++)\s*+=\s*+\\*+(?:"([^"]*+)"?|'([^']*+)'?|([^\s"'>]++))""")
_NAMING: Final = frozenset({"name", "key", "id", "property", "itemprop", "http-equiv"})
_TITLING: Final = frozenset({"name", "key"})
_BEARING: Final = frozenset({"value", "content"})
_FIELD: Final = re.compile(
    r"""form-data\b[^\r\n]{0,200}?\bname="?([^"\r\n;]{1,64}+)[^\r\n]{0,200}+\r?\n(?:[^\r\n]{1,200}+\r?\n){0,8}+\r?\n""",
    re.IGNORECASE,
)
_FIELD_END: Final = re.compile(r"\r?\n--")


def find_secrets(text: str, is_secret: IsSecret, *, yaml: bool = False) -> list[Stretch]:
    """Return every stretch that a name gives away, in order."""
    found: list[Stretch] = []
    if '"' in text:
        _in_json(text, (0, len(text)), 0, is_secret, found)
    if ":" in text or "=" in text:
        _Pairs(text, is_secret, yaml=yaml).find(found)
    if "<" in text:
        _in_tags(text, is_secret, found)
    if "orm-data" in text:
        _in_fields(text, is_secret, found)
    return merged(text, found)


def merged(text: str, found: list[Stretch]) -> list[Stretch]:
    """Return stretches in order, those that overlap as one."""
    found.sort(key=lambda one: (one.start, -one.end))
    out: list[Stretch] = []
    for one in found:
        if not out or one.start >= out[-1].end:
            out.append(one)
        elif one.end > out[-1].end:
            start = out[-1].start
            out[-1] = Stretch(start, one.end, text[start : one.end], out[-1].quote and one.quote)
    return out


def unquoted(token: str) -> str:
    """Return what a JSON string says, or the text itself where it is none."""
    if not token.startswith('"'):
        return token
    inner = token[1:-1] if len(token) > 1 and token.endswith('"') else token[1:]
    if "\\" not in inner:
        return inner
    try:
        return msgspec.json.decode(token, type=str)
    except msgspec.DecodeError:
        return inner


def json_stretch(text: str, start: int, end: int, level: int = 0) -> Stretch | None:
    """Return the stretch of a JSON value that is a secret; None where it says nothing."""
    value, quote = text[start:end], _QUOTES[level]
    inner = value
    if value.startswith(quote):
        inner = value[len(quote) :]
        inner = _said(inner.removesuffix(quote), level)
    return None if inner in _EMPTY else Stretch(start, end, inner, quote)


def _said(inner: str, level: int) -> str:
    """Return what a string's inside says, so deep in strings."""
    for _ in range(level + 1 if "\\" in inner else 0):
        inner = unquoted(f'"{inner}"')
    return inner


def _in_json(text: str, within: tuple[int, int], level: int, is_secret: IsSecret, found: list[Stretch]) -> None:
    at, end = within
    while string := _STRINGS[level].search(text, at, end):
        at = string.end()
        colon = _COLON.match(text, at, end)
        if colon is None:
            if level + 1 < _DEPTH and text.find('\\"', *string.span(1)) >= 0:
                _in_json(text, string.span(1), level + 1, is_secret, found)
            continue
        start = at = colon.end()
        if is_secret(_said(string[1], level)):
            at = _end_of_value(text, start, end, level)
            stretch = json_stretch(text, start, at, level)
            found.extend([stretch] if stretch else [])


def _end_of_value(text: str, at: int, end: int, level: int) -> int:
    """Return where the JSON value that begins at `at` ends; a value cut short ends with its text."""
    if text.startswith(_QUOTES[level], at):
        string = _STRINGS[level].match(text, at, end)
        return string.end() if string else end
    if text[at : at + 1] not in ("{", "["):
        scalar = _SCALAR.match(text, at, end)
        return scalar.end() if scalar else at
    depth = 0
    for token in _NESTED[level].finditer(text, at, end):
        if token[0] in ("[", "{"):
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
        if depth == 0:
            return token.end()
    return end


class _Pairs:
    """Looks for `name=value` and its like in one text."""

    def __init__(self, text: str, is_secret: IsSecret, *, yaml: bool) -> None:
        self._text = text
        self._is_secret = is_secret
        self._yaml = yaml
        self._balanced = True
        self._is_json = text.lstrip()[:1] in ("{", "[", '"')

    def find(self, found: list[Stretch]) -> None:
        """Add what is found; where JSON's members were found already, they stay as they are."""
        text, at = self._text, 0
        known = {one.start + len(one.quote): one.end for one in found} | {one.start: one.end for one in found}
        while pair := _PAIR.search(text, at):
            at = pair.end(2)
            if not self._names_a_secret(pair):
                continue
            start, stop = self._value(pair)
            if start in known:
                at = max(at, known[start])
                continue
            at = max(at, stop)
            if text[start:stop] not in _EMPTY:
                found.append(Stretch(start, stop, text[start:stop]))

    def _names_a_secret(self, pair: re.Match[str]) -> bool:
        """Whether the name is a secret's; of two words such as `API key`, and after an escaped line break, too."""
        name, before = pair[1], self._text[max(0, pair.start() - 8) : pair.start()]
        if self._is_secret(name) or (before.endswith("\\") and self._is_secret(name[1:])):
            return True
        return name.lower() in ("key", "id") and before.endswith(" ") and self._is_secret(before + name)

    def _value(self, pair: re.Match[str]) -> tuple[int, int]:
        """Return where the value after a name stands, without its quotation marks."""
        text, start = self._text, pair.end()
        if opening := _OPENING.match(text, start):
            return opening.end(), _closing(text, opening)
        if text[start : start + 1] in ("{", "[") and self._balanced:
            level = min((pair[2].count("\\") + 1).bit_length() - 1, _DEPTH - 1)
            stop = _end_of_value(text, start, len(text), level)
            self._balanced = stop < len(text) or text.endswith(("]", "}"))
            if self._balanced or not self._is_json:
                return start, stop
        if self._begins_a_line(pair):
            return self._line(pair)
        word = _WORD.match(text, start)
        return start, word.end() if word else start

    def _begins_a_line(self, pair: re.Match[str]) -> bool:
        before = self._text[max(0, pair.start() - _LOOK_BACK) : pair.start()]
        cut = pair.start() > _LOOK_BACK and "\n" not in before
        return not cut and _BEFORE_LINE.search(before) is not None

    def _line(self, pair: re.Match[str]) -> tuple[int, int]:
        text, start = self._text, pair.end()
        block = _BLOCK.match(text, start)
        if block or (self._yaml and text[start : start + 1] in ("", "\r", "\n")):
            return _block(text, pair, block.end() if block else start)
        line = _LINE.match(text, start)
        return start, start + len(line[0].rstrip() if line else "")


def _closing(text: str, opening: re.Match[str]) -> int:
    """Return where what was opened closes: before the same mark again, else with the line."""
    mark, at = opening[0], opening.end()
    if len(mark) > 1:
        stop = text.find(mark, at)
        line = text.find("\n", at, stop if stop >= 0 else len(text))
        return line if line >= 0 else stop if stop >= 0 else len(text)
    inside = _INSIDES[mark].match(text, at)
    return inside.end() if inside else at


_INSIDES: Final = {mark: re.compile(rf"[^{mark}\\\n]*+(?:\\.[^{mark}\\\n]*+)*+") for mark in "\"'`"}


def _block(text: str, pair: re.Match[str], at: int) -> tuple[int, int]:
    """Return the lines from `at` on that are indented deeper than a name."""
    begin = max(text.rfind("\n", max(0, pair.start() - _LOOK_BACK), pair.start()) + 1, pair.start() - _LOOK_BACK, 0)
    indent, start, stop = pair.start() - begin, -1, at
    while line := _DEEPER.match(text, stop):
        if line[2] and len(line[1]) <= indent:
            break
        if line[2]:
            start = line.start(2) if start < 0 else start
        stop = line.end()
    if start < 0:
        return at, at
    return start, start + len(text[start:stop].rstrip())


def _in_tags(text: str, is_secret: IsSecret, found: list[Stretch]) -> None:
    at, unclosed = 0, set[str]()
    while tag := _TAG.search(text, at):
        at = start = tag.end()
        named = is_secret(tag[1].rpartition(":")[2])
        said = {
            one[1].lower()
            for one in _ATTRIBUTE.finditer(text, *tag.span(2))
            if is_secret(one[one.lastindex or 0] or "")
        } & _NAMING
        if named or said:
            _values_of_tag(text, tag, found)
        if tag[2].endswith("/"):
            continue
        if named:
            at = _end_of_element(text, tag[1], at, unclosed)
        elif said & _TITLING:
            at = _before_tag(text, at)
        inside = text[start:at].strip()
        if inside:
            start = text.index(inside, start, at)
            found.append(Stretch(start, start + len(inside), inside))


def _values_of_tag(text: str, tag: re.Match[str], found: list[Stretch]) -> None:
    for attribute in _ATTRIBUTE.finditer(text, *tag.span(2)):
        group = attribute.lastindex or 0
        if attribute[1].lower() in _BEARING and attribute[group]:
            found.append(Stretch(*attribute.span(group), attribute[group]))


def _end_of_element(text: str, name: str, at: int, unclosed: set[str]) -> int:
    """Return where an element's inside ends; what is never closed ends before the next tag."""
    if name not in unclosed:
        if closing := re.compile(rf"<\\{{0,3}}/{re.escape(name)}\b").search(text, at):
            return closing.start()
        unclosed.add(name)
    return _before_tag(text, at)


def _before_tag(text: str, at: int) -> int:
    stop = text.find("<", at)
    return stop if stop >= 0 else len(text)


def _in_fields(text: str, is_secret: IsSecret, found: list[Stretch]) -> None:
    at = 0
    while field := _FIELD.search(text, at):
        at = field.end()
        if is_secret(field[1]):
            closing = _FIELD_END.search(text, at)
            start, at = at, closing.start() if closing else len(text)
            if at > start:
                found.append(Stretch(start, at, text[start:at]))
