"""Find the relations of two texts: one text in another form, a part of the other, or another value of one form.

Work is linear in the length of the texts, and longer texts are compared only around their change.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.compare.excerpt import agreeing
from shadowdiff.compare.generated_forms import DURATION, UNIT, generated_form
from shadowdiff.compare.instants import instant_of_text, relate_instants
from shadowdiff.compare.number_relations import MOST_DIGITS, is_usual, relate_numbers
from shadowdiff.model.relation import ARROW, PARAMETER_CHARS, Relation
from shadowdiff.rules.json_values import numeric

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.compare.number_relations import Found

MOST_CHARS: Final = 4096
"""Longer texts are compared only around their change."""
MOST_EXCERPT_CHARS: Final = 1 << 16
"""Texts that are still longer have no relations."""
OwnNames = tuple[str, tuple[str, ...]]
"""The authority that v2 was sent, and the ones that the user may have called."""
_OWN_ORIGIN: Final = int(Relation.OWN_ORIGIN)
_ERROR: Final = int(Relation.REPLACED_BY_ERROR)
_CASE: Final = int(Relation.CASE)
_WHITE_SPACE: Final = int(Relation.WHITE_SPACE)
_NORMALIZATION: Final = int(Relation.NORMALIZATION)
_ESCAPING: Final = int(Relation.ESCAPING)
_REORDERED: Final = int(Relation.REORDERED)
_VERSION: Final = int(Relation.VERSION)
_PREFIX: Final = int(Relation.PREFIX)
_SUFFIX: Final = int(Relation.SUFFIX)
_TRUNCATED: Final = int(Relation.TRUNCATED)
_GENERATED: Final = int(Relation.GENERATED)
_CONSTANT: Final = int(Relation.CONSTANT)
_FEWEST_LEFT: Final = 16
"""A text that ends after fewer characters, without an ellipsis, is not called truncated."""
_ERROR_WORDS: Final = (
    "error", "exception", "traceback", "unavailable", "undefined", "timed out", "[object ", "could not ", "unable to ",
    "failed to ",
)  # fmt: skip
_ERROR_TEXT: Final = re.compile(
    r"\b[Ee]rror|[a-z](?:Error|Exception)\b|\bERROR\b|\b[Ee]xception\b|\bTraceback\b|\b[Uu]navailable\b|\Aundefined\Z"
    r"|\b[Tt]imed out\b|\[object |\b[Cc]ould not \b|\b[Uu]nable to \b|\b[Ff]ailed to \b"
)
_ERROR_CHARS: Final = 512
_WIDE: Final = re.compile(r"[\w.:+-]*", re.ASCII)
_NARROW: Final = re.compile(r"[\w.]*", re.ASCII)
_SEPARATORS: Final = re.compile(r"[\s,;&|]+")
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_BACKSLASH: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_BACKSLASHED: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "0": "\0"}
_VERSION_TEXT: Final = re.compile(r"[vV]?[0-9]{1,9}(?:\.[0-9]{1,9}){1,3}(?:[.+-]?[A-Za-z0-9][\w.+-]{0,40})?", re.ASCII)
_CERTAIN_VERSION: Final = re.compile(r"[vV][0-9]+\.|[0-9]+\.[0-9]+\.[0-9]+(?![0-9]*\.[0-9]+\Z)", re.ASCII)
"""A `v`, or three numbers; four numbers may be an address."""
_BEFORE_VERSION: Final = re.compile(r"(?:[A-Za-z]/|\bv|version[\"':= ]*|release[\"':= ]*)\Z", re.IGNORECASE)
_NAMED_VERSION: Final = re.compile(r".*(?:version|release|revision|build)|ver", re.IGNORECASE)
_LOOK_BACK: Final = 16
_WORD_CHARS: Final = 64
_MOST_NAME_CHARS: Final = 64
_NUMBER_STARTS: Final = frozenset("0123456789+-.")
_BLANKS: Final = frozenset(" \t\r\n")
EMPTY_TEXT: Final = '""'
"""Stands for an empty text in a parameter."""


_SCHEME: Final = re.compile(r"https?://")
_CALLED: Final = "\0"


class Core(NamedTuple):
    """What differs between two texts, extended to whole words, and the equal text before and after it."""

    one: str
    other: str
    before: str = ""
    after: str = ""


def relate_texts(one: str, other: str, name: str, found: Found, *, is_line: bool = False) -> None:
    """Find the relations of two differing, nonempty texts.

    name: of the member or header that has them. is_line: the parameter of `CONSTANT` has only the changed words.
    """
    size = max(len(one), len(other))
    if size > MOST_EXCERPT_CHARS:
        return
    core = Core(one, other)
    is_done = False
    if size <= MOST_CHARS:
        _relate_forms(one, other, found)
        is_done = _relate_values(core, name, found)
    is_short = size <= PARAMETER_CHARS and not is_line
    if not (is_short and (is_done or (one.isalnum() and other.isalnum()))):
        core = _core(one, other, _WIDE)
        if not is_done and (core.before or core.after) and not _relate_core(core, name, found):
            _relate_core(_core(one, other, _NARROW), name, found)
    _relate_parts(one, other, found)
    _relate_errors(one, other, found)
    short = (one, other) if is_short else (core.one, core.other)
    if max(map(len, short)) <= PARAMETER_CHARS:
        found[_CONSTANT] = constant(*short)


def _relate_core(core: Core, name: str, found: Found) -> bool:
    has_both = core.one and core.other and max(len(core.one), len(core.other)) <= MOST_CHARS
    return bool(has_both) and _relate_values(core, name, found)


def relate_origin(one: str, other: str, names: OwnNames, found: Found) -> None:
    """Find whether the texts differ only because v2 wrote its own host in the place of the user's.

    The built-in rule covers such texts only in URLs, and only if it is on.
    """
    sent, called = names
    for own in dict.fromkeys((sent, sent.partition(":")[0])):
        if own and own in other:
            rewritten = _SCHEME.sub("//", other.replace(own, _CALLED))
            if any(rewritten == _SCHEME.sub("//", one.replace(host, _CALLED)) for host in called if host in one):
                found[_OWN_ORIGIN] = ""
                return


def constant(one: str, other: str) -> str:
    """Return the parameter of `CONSTANT`."""
    return f"{one or EMPTY_TEXT}{ARROW}{other or EMPTY_TEXT}"


def _core(one: str, other: str, word: re.Pattern[str]) -> Core:
    start = agreeing(one, other)
    rest = min(len(one), len(other)) - start
    stop = agreeing(one[len(one) - rest :][::-1], other[len(other) - rest :][::-1])
    if found := word.match(one[max(0, start - _WORD_CHARS) : start][::-1]):
        start -= found.end()
    if found := word.match(one, len(one) - stop, len(one) - stop + _WORD_CHARS):
        stop -= found.end() - found.start()
    after = len(one) - stop
    return Core(
        one[start:after],
        other[start : len(other) - stop],
        one[max(0, start - _LOOK_BACK) : start],
        one[after : after + _LOOK_BACK],
    )


def _relate_forms(one: str, other: str, found: Found) -> None:
    """Find the relations of one text in two forms."""
    are_ascii = one.isascii() and other.isascii()
    if (len(one) == len(other) or not are_ascii) and one.casefold() == other.casefold():
        found[_CASE] = "upper" if other.isupper() else "lower" if other.islower() else ""
    if are_ascii and one.isalnum() and other.isalnum():
        return
    if "".join(one.split()) == "".join(other.split()):
        found[_WHITE_SPACE] = ""
    if not are_ascii:
        _relate_normalization(one, other, found)
    if "&" in one or "&" in other:
        _relate_escapes("html", one, other, html.unescape, found)
    if "%" in one or "%" in other:
        _relate_escapes("percent", one, other, _without_percents, found)
    if "\\" in one or "\\" in other:
        _relate_escapes("backslash", one, other, _without_backslashes, found)
    if _SEPARATORS.search(one) and set(one) ^ set(other) <= _BLANKS:
        parts, parts_other = (list(filter(None, _SEPARATORS.split(text))) for text in (one, other))
        if parts != parts_other and sorted(parts) == sorted(parts_other):
            found[_REORDERED] = ""


def _relate_normalization(one: str, other: str, found: Found) -> None:
    for form in ("NFC", "NFKC"):
        if unicodedata.normalize(form, one) == unicodedata.normalize(form, other):
            is_composed = unicodedata.is_normalized(form, other)
            found[_NORMALIZATION] = form if is_composed else form.replace("C", "D") if form == "NFC" else ""
            return


def _relate_escapes(name: str, one: str, other: str, unescape: Callable[[str], str], found: Found) -> None:
    plain, plain_other = unescape(one), unescape(other)
    if plain == other:
        found[_ESCAPING] = f"{name}{ARROW}plain"
    elif plain_other == one:
        found[_ESCAPING] = f"plain{ARROW}{name}"
    elif plain == plain_other:
        found[_ESCAPING] = f"{name}{ARROW}{name}"


def _without_percents(text: str) -> str:
    raw = _PERCENT.sub(lambda found: bytes([int(found[1], 16)]), text.encode("utf-8", "surrogatepass"))
    return raw.decode("utf-8", "replace")


def _without_backslashes(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        code, code_of_two, character = found.groups()
        if code or code_of_two:
            return chr(int(code or code_of_two, 16))
        return _BACKSLASHED.get(character, character)

    return _BACKSLASH.sub(plain, text)


def _relate_values(core: Core, name: str, found: Found) -> bool:
    """Find the relations of two values of one form: numbers, versions, times, ids. Return whether they have one."""
    one, other = core.one, core.other
    if (instant := instant_of_text(one)) and (against := instant_of_text(other)):
        relate_instants(instant, against, found)
    elif one[0] in _NUMBER_STARTS and other[0] in _NUMBER_STARTS and _relate_numeric(core, name, found):
        return True
    elif form := generated_form(one, other):
        found[_GENERATED] = form
    elif _are_versions(core, name):
        found[_VERSION] = f"{one}{ARROW}{other}"
    else:
        return False
    return True


def _relate_numeric(core: Core, name: str, found: Found) -> bool:
    one, other = core.one, core.other
    if max(len(one), len(other)) > MOST_DIGITS:
        return False
    unit = ""
    if (duration := DURATION.fullmatch(one)) and (duration_other := DURATION.fullmatch(other)):
        found[_GENERATED] = "duration"
        if duration[2] != duration_other[2]:
            return True
        one, other, unit = duration[1], duration_other[1], duration[2]
    number, number_other = numeric(one), numeric(other)
    if number is None or number_other is None or not (is_usual(number) and is_usual(number_other)):
        return False
    relate_numbers(number, number_other, name, found, as_written=True)
    if not unit and UNIT.match(core.after):
        found[_GENERATED] = "duration"
    if not unit and "." in one and "." in other and _are_versions(core, name):
        found[_VERSION] = f"{one}{ARROW}{other}"
    return True


def _are_versions(core: Core, name: str) -> bool:
    if not (_VERSION_TEXT.fullmatch(core.one) and _VERSION_TEXT.fullmatch(core.other)):
        return False
    if max(len(core.one), len(core.other)) > PARAMETER_CHARS:
        return False
    if _CERTAIN_VERSION.match(core.one) and _CERTAIN_VERSION.match(core.other):
        return True
    return bool(_BEFORE_VERSION.search(core.before) or _NAMED_VERSION.fullmatch(name[:_MOST_NAME_CHARS]))


def _relate_parts(one: str, other: str, found: Found) -> None:
    """Find what one text has at its start or end that the other lacks."""
    longer, shorter, sign = (other, one, "+") if len(one) < len(other) else (one, other, "-")
    more = len(longer) - len(shorter)
    if longer.endswith(shorter):
        found[_PREFIX] = f"{sign}{longer[:more]}" if more <= PARAMETER_CHARS else ""
    if longer.startswith(shorter):
        found[_SUFFIX] = f"{sign}{longer[-more:]}" if more <= PARAMETER_CHARS else ""
    start = other.removesuffix("…").removesuffix("...")
    fewest = _FEWEST_LEFT if start == other else 1
    if fewest <= len(start) < len(one) and one.startswith(start):
        found[_TRUNCATED] = str(len(start))


def _relate_errors(one: str, other: str, found: Found) -> None:
    if _is_error(other) and not _is_error(one):
        found[_ERROR] = ""


def _is_error(text: str) -> bool:
    start = text[:_ERROR_CHARS]
    lower = start.lower()
    return any(word in lower for word in _ERROR_WORDS) and _ERROR_TEXT.search(start) is not None
