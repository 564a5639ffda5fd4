"""Find secrets by their form, such as tokens of known services, e-mail addresses, card numbers and IBANs.

The time is linear in the text, because open-ended expressions run in RE2. Card numbers and IBANs need correct check
digits, so ordinary numbers remain. One pass finds which forms a text can contain, and only these are searched for.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.report.secret_names import finder
from shadowdiff.report.secret_span import CHARS_PER_UNIT, SecretSpan, Spend
from shadowdiff.rules.pattern import compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import re2

MAX_MEMORY_BYTES: Final = 32 << 20
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
"""The sum of the digits of twice a digit."""

_RUN: Final = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,47}+(?![\w])")
_FRACTION: Final = re.compile(r"\.\d++(?:[eE][+-]?\d++)?(?!\w)")
_GROUPS: Final = re.compile(r"\d+")
_CARD: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}"
    r"|(?:6011|65\d\d|64\d\d|62\d\d|50\d\d|5[6-8]\d\d|63\d\d|67\d\d)\d{8,15}"
)
_IBAN: Final = re.compile(r"(?<![\w])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}+(?: ?[A-Z0-9]{1,3}(?![\w]))?")
_ASCII_WORD: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")


class _Shape(NamedTuple):
    """The form of one kind of secret: its expression, parts (a match contains at least one), and another condition."""

    expression: str
    needs: tuple[str, ...]
    holds: Callable[[str], bool] | None = None


def is_card(digits: str) -> bool:
    """Return whether digits are a card number of a known scheme with a correct check digit. Source: ISO/IEC 7812-1."""
    if not _CARD.fullmatch(digits) or len(set(digits)) == 1:
        return False
    return (sum(map(int, digits[-1::-2])) + sum(_DOUBLED[int(one)] for one in digits[-2::-2])) % 10 == 0


def is_iban(text: str) -> bool:
    """Return whether the check digits of an IBAN are correct. Source: ISO 13616-1."""
    plain = text.replace(" ", "")
    return int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1


def _is_basic(text: str) -> bool:
    """Return whether the text after `Basic` contains a user and a password. Source: RFC 7617."""
    word = text.rpartition(" ")[2]
    try:
        return b":" in base64.b64decode(word + "=" * (-len(word) % 4))
    except ValueError:
        return False


_SHAPES: Final = (
    _Shape(r"[0-9A-Za-z._+!#$*?^{|}~-]{1,64}(?:@|%40)(?:[0-9A-Za-z-]{1,63}\.){1,8}[A-Za-z]{2,24}", ("@", "%40")),
    _Shape(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z0-9 ]{0,40}-----|\z)",
           ("PRIVATE KEY",)),
    _Shape(r"AGE-SECRET-KEY-1[0-9A-Z]{40,}", ("AGE-SECRET",)),
    _Shape(r"(?i:bearer|dpop) +[0-9A-Za-z._~+/=-]{8,}", ("earer ", "EARER ", "DPoP ", "dpop ")),
    _Shape(r"(?i:basic) +[0-9A-Za-z+/]{6,}={0,2}", ("asic ", "ASIC "), _is_basic),
    _Shape(r"eyJ[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]*){0,4}", ("eyJ",)),
    _Shape(r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ABIA|ACCA)[0-9A-Z]{16}",
           ("AKIA", "ASIA", "AGPA", "AIDA", "AROA", "ANPA", "ABIA", "ACCA")),
    _Shape(r"AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{20,}", ("AIza", "ya29.", "GOCSPX-")),
    _Shape(r"gh[pousr]_[0-9A-Za-z]{30,}|github_pat_[0-9A-Za-z_]{22,}",
           ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "_pat_")),
    _Shape(r"gl(?:pat|dt|rt|ptt|cbt|agent|soat)-[0-9A-Za-z_-]{20,}", ("gl",)),
    _Shape(r"xox[abeoprs]-[0-9A-Za-z-]{10,}|xapp-\d-[0-9A-Za-z-]{10,}", ("xox", "xapp-")),
    _Shape(r"hooks\.slack\.com/services/[0-9A-Za-z/]{20,}", ("hooks.slack",)),
    _Shape(r"(?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{16,}|whsec_[0-9A-Za-z+/=]{24,}", ("_live_", "_test_", "whsec_")),
    _Shape(r"sk-(?:proj-|ant-|svcacct-|or-)?[0-9A-Za-z_-]{20,}", ("sk-",)),
    _Shape(r"npm_[0-9A-Za-z]{36}|pypi-[0-9A-Za-z_-]{40,}|rubygems_[0-9a-f]{48}|dckr_pat_[0-9A-Za-z_-]{20,}",
           ("npm_", "pypi-", "rubygems_", "dckr_pat_")),
    _Shape(r"SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}|key-[0-9a-f]{32}|xkeysib-[0-9a-f]{40,}",
           ("SG.", "key-", "xkeysib-")),
    _Shape(r"dop_v1_[0-9a-f]{64}|hv[sbr]\.[0-9A-Za-z_-]{20,}|hf_[0-9A-Za-z]{30,}|glsa_[0-9A-Za-z_]{32,}",
           ("dop_v1_", "hvs.", "hvb.", "hvr.", "hf_", "glsa_")),
    _Shape(r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|lin_api_[0-9A-Za-z]{30,}|ATATT3[0-9A-Za-z_=-]{30,}|dapi[0-9a-f]{32}",
           ("shpat_", "shpca_", "shppa_", "shpss_", "lin_api_", "ATATT3", "dapi")),
    _Shape(r"\d{8,10}:AA[0-9A-Za-z_-]{33}|(?:SK|AC)[0-9a-f]{32}", (":AA", "SK", "AC")),
    _Shape(r"AccountKey=[0-9A-Za-z+/=]{40,}", ("AccountKey=",)),
)  # fmt: skip

_FILTER: Final = finder(
    *("|".join(map(re.escape, shape.needs)) for shape in _SHAPES),
    r"\d(?:[ -]?\d){12}",
    r"[A-Z]{2}\d{2} ?[A-Z0-9]{4}",
)
"""Finds which shapes a text can contain; the last two are card numbers and IBANs."""
_NUMBERS: Final = len(_SHAPES)


class Patterns:
    """Compiled expressions; `more` come from the configuration and match everywhere."""

    def __init__(self, more: Iterable[str] = (), *, builtin: bool = True) -> None:
        """Compile the expressions. Raises: PatternError, with RE2's message."""
        more = tuple(more)
        self._made_of = more, builtin
        self._builtin = builtin
        self._shapes = [(one, compiled(one.expression, MAX_MEMORY_BYTES)) for one in _SHAPES] if builtin else []
        self._more = [compiled(expression, MAX_MEMORY_BYTES) for expression in more]

    def __reduce__(self) -> tuple[Callable[..., Patterns], tuple[object, ...]]:
        """Pickle the arguments; equal arguments give the same object."""
        return _patterns, self._made_of

    def with_texts(self, texts: Iterable[str]) -> Patterns:
        """Return these expressions, and one more that matches each of the texts; the longest text has priority."""
        one_of = "|".join(map(re.escape, sorted(texts, key=lambda text: (-len(text), text))))
        more, builtin = self._made_of
        return Patterns((*more, one_of), builtin=builtin) if one_of else self

    def find(self, text: str, spend: Spend) -> Iterator[SecretSpan]:
        """Yield everything that looks like a secret."""
        # RE2 needs UTF-8, so replace a lone surrogate with another single character
        plain = text if text.isascii() else text.encode("utf-8", "replace").decode()
        units = len(text) // CHARS_PER_UNIT
        possible: Sequence[int] = (_FILTER.Match(plain) or ()) if self._builtin else ()
        if _NUMBERS in possible or (self._builtin and plain is not text):  # other writing systems also have digits
            spend(units)
            yield from _numbers(text, spend)
        for at in possible:
            spend(units)
            if at < _NUMBERS:
                shape, expression = self._shapes[at]
                yield from _words(plain, shape, expression, spend)
            elif at > _NUMBERS:
                yield from _accounts(text, spend)
        for expression in self._more:
            spend(units)
            for found in expression.finditer(plain):
                spend(2)
                start, end = found.span()
                if end > start:
                    yield SecretSpan(start, end, text[start:end])


@lru_cache(maxsize=4)
def _patterns(more: tuple[str, ...], builtin: bool) -> Patterns:  # noqa: FBT001 - as the other process gets it
    return Patterns(more, builtin=builtin)


def _words(text: str, shape: _Shape, expression: re2.Expression, spend: Spend) -> Iterator[SecretSpan]:
    for found in expression.finditer(text):
        spend(2)
        start, end = found.span()
        if start and text[start - 1] in _ASCII_WORD:
            continue
        candidate = text[start:end]
        if shape.holds is None or shape.holds(candidate):
            yield SecretSpan(start, end, candidate)


def _numbers(text: str, spend: Spend) -> Iterator[SecretSpan]:
    """Yield card numbers; each consists of whole groups of digits."""
    for run in _RUN.finditer(text):
        spend(2)
        digits = run[0].replace(" ", "").replace("-", "")
        ends: dict[int, int] = {}
        count = 0
        starts: list[tuple[int, int]] = []
        for group in _GROUPS.finditer(text, *run.span()):
            starts.append((count, group.start()))
            count += len(group[0])
            ends[count] = group.end()
        at = 0
        for before, start in starts:
            if start < at:
                continue
            spend(3)
            for length in range(19, 12, -1):
                end = ends.get(before + length)
                if end is not None and is_card(digits[before : before + length]):
                    yield _whole_number(text, start, end)
                    at = end
                    break


def _whole_number(text: str, start: int, end: int) -> SecretSpan:
    """Extend digits by the sign and fraction of a JSON number, so that JSON stays valid."""
    fraction = _FRACTION.match(text, end)
    end = fraction.end() if fraction else end
    signed = start - (text[start - 1 : start] == "-")
    before, after = text[max(0, signed - 20) : signed].rstrip()[-1:], text[end : end + 20].lstrip()[:1]
    if before in {":", "[", ","} and after in {"", ",", "]", "}"} and text.lstrip()[:1] in {"{", "["}:
        return SecretSpan(signed, end, text[signed:end], '"')
    return SecretSpan(start, end, text[start:end])


def _accounts(text: str, spend: Spend) -> Iterator[SecretSpan]:
    """Yield IBANs; the next word after an IBAN may look like a part of it."""
    for found in _IBAN.finditer(text):
        candidate = found[0]
        while candidate:
            spend(3)
            if is_iban(candidate):
                yield SecretSpan(found.start(), found.start() + len(candidate), candidate)
                break
            candidate = candidate.rpartition(" ")[0]
