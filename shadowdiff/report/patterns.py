"""Find secrets by what they look like, where no name gives them away.

In: text.  Out: stretches of it.
Holds: time linear in the text: RE2 runs what is open-ended, and a run of digits is bounded. What has check digits
(cards, IBANs) is only taken where they are right, so that ordinary numbers stay. A text that has not the letters which
every secret of a kind has is not searched for it.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import re2

from shadowdiff.report.shapes import Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MAX_MEMORY_BYTES: Final = 32 << 20
_IBAN_MODULUS: Final = 97
_MOST_DIGIT: Final = 9
_CARD_DIGITS: Final = range(19, 12, -1)

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
    """How one kind of secret looks, parts of which it has one at least, and what else must hold."""

    expression: str
    needs: tuple[str, ...]
    holds: Callable[[str], bool] | None = None


def is_card(digits: str) -> bool:
    """Return whether digits are a card's number: of a scheme, with the right check digit. Source: ISO/IEC 7812-1."""
    if not _CARD.fullmatch(digits) or len(set(digits)) == 1:
        return False
    doubled = (2 * int(one) for one in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(one - _MOST_DIGIT * (one > _MOST_DIGIT) for one in doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    """Return whether a text is an account's number: its check digits are right. Source: ISO 13616-1."""
    plain = text.replace(" ", "")
    return int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % _IBAN_MODULUS == 1


def _is_basic(text: str) -> bool:
    """Whether what stands after `Basic` is a user and a password. Source: RFC 7617."""
    word = text.rpartition(" ")[2]
    try:
        return b":" in base64.b64decode(word + "=" * (-len(word) % 4))
    except (binascii.Error, ValueError):
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


class PatternError(ValueError):
    """An expression is not RE2's."""


class Patterns:
    """Expressions made ready; `more` are those of the configuration, taken wherever they match."""

    def __init__(self, more: Iterable[str] = (), *, builtin: bool = True) -> None:
        """Compile them. Raises: PatternError, in RE2's own words."""
        self._builtin = builtin
        self._shapes = [(one, compiled(one.expression)) for one in _SHAPES] if builtin else []
        self._more = [compiled(expression) for expression in more]

    def find(self, text: str) -> Iterator[Stretch]:
        """Yield every stretch that looks like a secret."""
        if self._builtin:
            yield from _numbers(text)
            yield from _accounts(text)
        # RE2 wants UTF-8; what is none of it (half a surrogate pair) is read as another single character
        plain = text if text.isascii() else text.encode("utf-8", "replace").decode()
        for shape, expression in self._shapes:
            if any(part in text for part in shape.needs):
                yield from _words(plain, shape, expression)
        for expression in self._more:
            for found in expression.finditer(plain):
                start, end = found.span()
                if end > start:
                    yield Stretch(start, end, text[start:end])


def compiled(expression: str) -> re2.Expression:
    """Return an expression made ready. Raises: PatternError, in RE2's own words."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY_BYTES
    try:
        return re2.compile(expression, options=options)
    except re2.error as error:
        said: object = error.args[0] if error.args else "unknown"
        raise PatternError(said.decode() if isinstance(said, bytes) else str(said)) from error


def _words(text: str, shape: _Shape, expression: re2.Expression) -> Iterator[Stretch]:
    for found in expression.finditer(text):
        start, end = found.span()
        if start and text[start - 1] in _ASCII_WORD:
            continue
        said = text[start:end]
        if shape.holds is None or shape.holds(said):
            yield Stretch(start, end, said)


def _numbers(text: str) -> Iterator[Stretch]:
    """Yield the cards among the numbers, each made of whole groups of digits."""
    for run in _RUN.finditer(text):
        groups = [(group.start(), group.end()) for group in _GROUPS.finditer(text, *run.span())]
        at = 0
        for first, (start, _) in enumerate(groups):
            if start < at:
                continue
            for _, end in reversed(groups[first:]):
                digits = text[start:end].replace(" ", "").replace("-", "")
                if len(digits) in _CARD_DIGITS and is_card(digits):
                    yield _whole_number(text, start, end)
                    at = end
                    break


def _whole_number(text: str, start: int, end: int) -> Stretch:
    """Return the stretch of digits with the sign and the fraction that JSON's numbers have, so that JSON stays JSON."""
    fraction = _FRACTION.match(text, end)
    end = fraction.end() if fraction else end
    signed = start - (text[start - 1 : start] == "-")
    quote = _quote(text, signed, end)
    start = signed if quote else start
    return Stretch(start, end, text[start:end], quote)


def _quote(text: str, start: int, end: int) -> str:
    """Return the quotation marks that a placeholder needs in a number's place, where the number is JSON's."""
    before, after = text[max(0, start - 20) : start].rstrip()[-1:], text[end : end + 20].lstrip()[:1]
    return '"' if before in {":", "[", ","} and after in {"", ",", "]", "}"} and text.lstrip()[:1] in {"{", "["} else ""


def _accounts(text: str) -> Iterator[Stretch]:
    """Yield the IBANs; what follows one after a blank may look as if it belonged to it."""
    for found in _IBAN.finditer(text):
        said = found[0]
        while said:
            if is_iban(said):
                yield Stretch(found.start(), found.start() + len(said), said)
                break
            said = said.rpartition(" ")[0]
