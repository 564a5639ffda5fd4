"""Find secrets in a text by their names, and return their spans in order, without overlaps.

It searches JSON members, also inside JSON strings; `name=value`, `name: value` and `'name' => 'value'`, with indented
YAML lines below; elements and attributes of XML and HTML; and fields of multipart forms. The time is linear in the
text. Nothing is parsed, so malformed and truncated text is also searched.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from functools import cached_property
from itertools import islice
from typing import Final

import msgspec

from shadowdiff.report.secret_names import Secrecy
from shadowdiff.report.secret_span import CHARS_PER_UNIT, SecretSpan, Spend, merge_spans

NameSecrecy = Callable[[str], Secrecy]

_DEPTH: Final = 4
"""How deep JSON in JSON strings is searched; deeper members are still found as `name: value`."""
_QUOTES: Final = tuple("\\" * (2**level - 1) + '"' for level in range(_DEPTH))
_EMPTY: Final = frozenset({"", '""', "null", "true", "false", "None", "True", "False", "nil", "~"})
_SHORT_NUMBER: Final = re.compile(
    r"-?\d{1,9}(?:\.\d{1,9})?(?:%|(?:ms|[smhd])(?:\d{1,9}(?:\.\d{1,9})?(?:ms|[smhd])){0,3})?"
)
"""A count or a duration, such as `4096`, `0.5` and `1m30s`."""


def _string(level: int) -> str:
    """Return the pattern of a string at a nesting level, which determines the backslashes before its quotes."""
    many, quote = f"(?:{re.escape(chr(92) * 2 ** (level + 1))})*+", re.escape(_QUOTES[level])
    return rf'(?<!\\){quote}([^"\\]*+(?:(?!{many}{quote})(?:\\*+"|\\++)[^"\\]*+)*+{many})(?:{quote})?'


_STRINGS: Final = tuple(re.compile(_string(level)) for level in range(_DEPTH))
_NESTED: Final = tuple(re.compile(rf"{_string(level)}|[\[\]{{}}]") for level in range(_DEPTH))
_COLON: Final = re.compile(r"(?:\s|\\++[nrt])*+:(?:\s|\\++[nrt])*+")
_SCALAR: Final = re.compile(r'[^\s,\]}"\[{\\]*+')
_ENTITY: Final = r"&(?:quot|apos|#0?34|#0?39|#x22|#x27);"
_PAIR: Final = re.compile(
    rf"""(?<![\w.$-])([\w.$-]++)((?:["'`\\\])]|{_ENTITY}){{0,8}}+[ \t]*+(?:=>|:=|==?+|:)[ \t]*+)"""
    r"((?i:basic|bearer|digest|negotiate|dpop|hmac|token)[ \t]++(?=[^\s,;]))?"
)
_TRIPLE: Final = frozenset({3 * mark for mark in "\"'`"})
_OPENING: Final = re.compile(rf"""\"{{3}}|'{{3}}|\\*["'`]|{_ENTITY}""")
_WORD: Final = re.compile(r"""(?:[^\s&;,<>"'`)\]}\\]|\\++(?!["'`nrt]))*+""")
_LINE: Final = re.compile(r"""(?:[^\r\n<&;]|<(?![/a-zA-Z!])|&(?![\w%.-]++=|quot;|\#)|;(?!$))*+""", re.MULTILINE)
_BEFORE_LINE: Final = re.compile(r"""(?:^|[\r\n])[ \t>+-]*(?:(?:export|set|data:)[ \t]+)?\Z""")
_LOOK_BACK: Final = 40
_INSIDES: Final = {mark: re.compile(rf"[^{mark}\\\n]*+(?:\\.[^{mark}\\\n]*+)*+") for mark in "\"'`"}
_BLOCK: Final = re.compile(r"[|>][0-9+-]{0,2}[ \t]*(?=\r?\n)")
_DEEPER: Final = re.compile(r"\r?\n(?:([ \t]*+)([^\r\n]*+))")

_CLOSING_TAG: Final = re.compile(r"<\\{0,3}/([A-Za-z_][\w:.-]*+)")
_NOT_WORD: Final = re.compile(r"[:.-]")
_TAG: Final = re.compile(r"<([A-Za-z_][\w:.-]*+)([^<>]*+)>?")
_ATTRIBUTE: Final = re.compile(
    r"""(?<![\w:.-])([\w:.-]++)\s*+=\s*+\\*+(?:"([^"\\]*+(?:\\++(?!")[^"\\]*+)*+)\\*+"?"""
    r"""|'([^'\\]*+(?:\\++(?!')[^'\\]*+)*+)\\*+'?|([^\s"'>\\]++))"""
)
_NAME_ATTRIBUTES: Final = frozenset({
    "name", "key", "id", "property", "itemprop", "http-equiv", "k", "n", "field", "attr", "type", "param",
})  # fmt: skip
_TITLE_NAMES: Final = frozenset({"name", "key", "k", "n", "field", "attr", "param"})
_VALUE_ATTRIBUTES: Final = frozenset({"value", "content", "v", "val"})
_TITLE: Final = re.compile(
    r"<(?:[\w.-]++:)?(?i:key|name|dt|th|td)\b[^<>]{0,200}+>\s*+([\w .$-]{1,64}+)\s*+</[^<>]{1,80}+>\s*+(?=<[A-Za-z_])"
)
_FIELD: Final = re.compile(
    r"""form-data\b(?:[^\r\n]|\r?\n[ \t]){0,200}?\bname(?:\*=[\w-]{0,20}'[\w-]{0,20}'|="?)([^"\r\n;]{1,64}+)"""
    r"""(?:[^\r\n]|\r?\n[ \t]){0,200}+\r?\n(?:[^\r\n]{1,200}+\r?\n){0,8}+\r?\n""",
    re.IGNORECASE,
)
_FIELD_END: Final = re.compile(r"\r?\n--")


def find_secrets(text: str, name_secrecy: NameSecrecy, spend: Spend, *, yaml: bool) -> list[SecretSpan]:
    """Return every secret that has a name, in order. spend: charges for each step; it may raise an error to stop."""
    scanner = _Scanner(text, name_secrecy, spend, yaml=yaml)
    if '"' in text:
        scanner.search_json(0, len(text), 0)
    if ":" in text or "=" in text:
        scanner.search_pairs()
    if "<" in text:
        scanner.search_tags()
        scanner.search_titles()
    if "orm-data" in text:
        scanner.search_fields()
    return merge_spans(text, scanner.found)


def unquoted(token: str) -> str:
    """Decode a JSON string; return other text unchanged."""
    if not token.startswith('"'):
        return token
    inner = token[1:-1] if len(token) > 1 and token.endswith('"') else token[1:]
    if "\\" not in inner:
        return inner
    try:
        return msgspec.json.decode(token, type=str)
    except (msgspec.DecodeError, UnicodeEncodeError):  # a lone half of a surrogate pair is not UTF-8
        return inner


def is_shown(value: str, kind: Secrecy) -> bool:
    """Return whether to show a value under a secret's name: empty, a boolean, or a count if the name allows it."""
    return value in _EMPTY or (kind is Secrecy.UNLESS_NUMBER and _SHORT_NUMBER.fullmatch(value) is not None)


def json_spans(text: str, start: int, end: int, level: int = 0, kind: Secrecy = Secrecy.SECRET) -> list[SecretSpan]:
    """Return the span of a secret JSON value; empty if the value is shown."""
    value, quote = text[start:end], _QUOTES[level]
    inner = value
    if value.startswith(quote):
        inner = _unescaped(value[len(quote) :].removesuffix(quote), level)
    return [] if is_shown(inner, kind) else [SecretSpan(start, end, inner, quote)]


def _unescaped(inner: str, level: int) -> str:
    for _ in range(level + 1 if "\\" in inner else 0):
        inner = unquoted(f'"{inner}"')
    return inner


class _Scanner:
    """Searches one text, and collects the secrets."""

    def __init__(self, text: str, name_secrecy: NameSecrecy, spend: Spend, *, yaml: bool) -> None:
        self._text, self._name_secrecy, self._spend, self._yaml = text, name_secrecy, spend, yaml
        self._balanced = True
        self.found: list[SecretSpan] = []

    def search_json(self, at: int, end: int, level: int) -> None:
        """Find members of JSON at a nesting level of JSON in strings."""
        text, spend = self._text, self._spend
        spend((end - at) // CHARS_PER_UNIT)
        while string := _STRINGS[level].search(text, at, end):
            spend(1)
            at = string.end()
            colon = _COLON.match(text, at, end)
            if colon is None:
                if level + 1 < _DEPTH and text.find('\\"', *string.span(1)) >= 0:
                    self.search_json(*string.span(1), level + 1)
                continue
            start = at = colon.end()
            kind = self._name_secrecy(_unescaped(string[1], level))
            if kind:
                at = self._end_of_value(start, end, level)
                self.found += json_spans(text, start, at, level, kind)

    def _end_of_value(self, at: int, end: int, level: int) -> int:
        """Return the end of the JSON value at `at`; a truncated value ends at the end of the text."""
        text = self._text
        if text.startswith(_QUOTES[level], at):
            string = _STRINGS[level].match(text, at, end)
            return string.end() if string else end
        if text[at : at + 1] not in ("{", "["):
            scalar = _SCALAR.match(text, at, end)
            return scalar.end() if scalar else at
        depth = 0
        for token in _NESTED[level].finditer(text, at, end):
            self._spend(1)
            if token[0] in ("[", "{"):
                depth += 1
            elif token[0] in ("]", "}"):
                depth -= 1
            if depth == 0:
                return token.end()
        return end

    def search_pairs(self) -> None:
        """Find `name=value` and similar pairs. JSON members that were already found stay unchanged."""
        text, spend, found, at = self._text, self._spend, self.found, 0
        known = {one.start + len(one.quote): one.end for one in found} | {one.start: one.end for one in found}
        spend(len(text) // CHARS_PER_UNIT)
        while pair := _PAIR.search(text, at):
            spend(2)
            at = pair.end(2)
            kind = self._secrecy(pair)
            if not kind:
                continue
            start, stop = self._value(pair)
            if start in known:
                at = max(at, known[start])
                continue
            at = max(at, stop)
            if not is_shown(text[start:stop], kind):
                found.append(SecretSpan(start, stop, text[start:stop]))

    def _secrecy(self, pair: re.Match[str]) -> Secrecy:
        """Return the secrecy of the name, which may have two words (`API key`) or follow an escaped line break."""
        name, text, start = pair[1], self._text, pair.start()
        kind = self._name_secrecy(name)
        if kind:  # `/tokens:revoke` names an operation
            return Secrecy.NONE if pair[2] == ":" and text.startswith("/", start - 1) else kind
        if start and text[start - 1] == "\\":
            kind = self._name_secrecy(name[1:])
        if not kind and name.lower() in ("key", "id") and start and text[start - 1] == " ":
            kind = self._name_secrecy(text[max(0, start - 8) : start] + name)
        return kind

    def _value(self, pair: re.Match[str]) -> tuple[int, int]:
        """Return the range of the value after a name, without its quotation marks."""
        text, start = self._text, pair.end()
        if opening := _OPENING.match(text, start):
            return opening.end(), self._closing(opening[0], opening.end())
        if text[start : start + 1] in ("{", "[") and self._balanced:
            level = min((pair[2].count("\\") + 1).bit_length() - 1, _DEPTH - 1)
            stop = self._end_of_value(start, len(text), level)
            self._balanced = stop < len(text) or text.endswith(("]", "}"))
            if self._balanced or text.lstrip()[:1] not in ("{", "[", '"'):
                return start, stop
        before = text[max(0, pair.start() - _LOOK_BACK) : pair.start()]
        is_cut = pair.start() > _LOOK_BACK and "\n" not in before
        if is_cut or not _BEFORE_LINE.search(before):
            word = _WORD.match(text, start)
            return start, word.end() if word else start
        block = _BLOCK.match(text, start)
        if block or (self._yaml and text[start : start + 1] in ("", "\r", "\n")):
            return self._block(pair.start(), block.end() if block else start)
        line = _LINE.match(text, start)
        return start, start + len(line[0].rstrip() if line else "")

    def _closing(self, mark: str, at: int) -> int:
        """Return the end of a quoted value: before the next equal quotation mark, or else at the end of the line."""
        if len(mark) > 1:
            stop = self._find(mark, at, len(self._text))
            self._spend((stop - at) // CHARS_PER_UNIT)
            return stop if mark in _TRIPLE else self._find("\n", at, stop)
        inside = _INSIDES[mark].match(self._text, at)
        return inside.end() if inside else at

    def _find(self, mark: str, start: int, end: int) -> int:
        """Return the position of a mark, or else the end of the text."""
        at = self._text.find(mark, start, end)
        return at if at >= 0 else end

    def _block(self, name: int, at: int) -> tuple[int, int]:
        """Return the range of the lines after `at` that have more indentation than the name at `name`."""
        text = self._text
        begin = max(text.rfind("\n", max(0, name - _LOOK_BACK), name) + 1, name - _LOOK_BACK, 0)
        indent, start, stop = name - begin, -1, at
        while line := _DEEPER.match(text, stop):
            self._spend(1)
            if line[2] and len(line[1]) <= indent and not (len(line[1]) == indent and line[2].startswith("- ")):
                break
            if line[2]:
                start = line.start(2) if start < 0 else start
            stop = line.end()
        return (start, start + len(text[start:stop].rstrip())) if start >= 0 else (at, at)

    def search_tags(self) -> None:
        """Find XML and HTML elements whose tag or attribute is a secret's name."""
        text, spend, at = self._text, self._spend, 0
        while tag := _TAG.search(text, at):
            spend(4)
            at = start = tag.end()
            named = kind = self._name_secrecy(tag[1].rpartition(":")[2])
            titles: set[str] = set()
            attributes = list(_ATTRIBUTE.finditer(text, *tag.span(2)))
            for one in attributes:
                spend(2)
                of_name = one[1].lower() in _NAME_ATTRIBUTES and self._name_secrecy(one[one.lastindex or 0] or "")
                if of_name:
                    titles.add(one[1].lower())
                    kind = max(kind, of_name)
            for one in attributes if kind else ():
                spend(1)
                group = one.lastindex or 0
                if one[1].lower() in _VALUE_ATTRIBUTES and not is_shown(one[group] or "", kind):
                    self.found.append(SecretSpan(*one.span(group), one[group]))
            if tag[2].endswith("/"):
                continue
            if named or titles & _TITLE_NAMES:
                at = self._end_of_element(tag[1], at)
            self._add(start, at, kind)

    def search_titles(self) -> None:
        """Find elements after an element with their name, as in `<key>password</key><string>…</string>`."""
        for title in _TITLE.finditer(self._text):
            self._spend(2)
            kind = self._name_secrecy(title[1])
            tag = _TAG.match(self._text, title.end()) if kind else None
            if tag is not None and not tag[2].endswith("/"):
                self._add(tag.end(), self._end_of_element(tag[1], tag.end()), kind)

    def _add(self, start: int, end: int, kind: Secrecy) -> None:
        """Add a value under a secret's name, without the whitespace around the value, unless the value is shown."""
        inside = self._text[start:end].strip()
        if not is_shown(inside, kind):
            start = self._text.index(inside, start, end)
            self.found.append(SecretSpan(start, start + len(inside), inside))

    def _end_of_element(self, name: str, at: int) -> int:
        """Return the end of an element's content: before its closing tag, or else before the next tag."""
        starts = self._closing_tags.get(name, ())
        after = bisect_left(starts, at)
        return starts[after] if after < len(starts) else self._find("<", at, len(self._text))

    @cached_property
    def _closing_tags(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for closing in _CLOSING_TAG.finditer(self._text):
            self._spend(1)
            name = closing[1]
            found.setdefault(name, []).append(closing.start())
            for part in islice(_NOT_WORD.finditer(name), 4):  # `</token.x>` also closes `<token>`
                found.setdefault(name[: part.start()], []).append(closing.start())
        return found

    def search_fields(self) -> None:
        """Find fields of multipart forms."""
        text, at = self._text, 0
        while field := _FIELD.search(text, at):
            self._spend(4)
            at = field.end()
            kind = self._name_secrecy(field[1])
            if kind:
                closing = _FIELD_END.search(text, at)
                start, at = at, closing.start() if closing else len(text)
                if not is_shown(text[start:at], kind):
                    self.found.append(SecretSpan(start, at, text[start:at]))
