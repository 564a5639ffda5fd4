"""The base class of body formats, and the code that formats share to compare two bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from shadowdiff.compare.coding import undo
from shadowdiff.compare.content_type import BOM, BrokenBodyError, Media, decode
from shadowdiff.compare.exact import MAX_DEPTH, NotJsonError, Parsed
from shadowdiff.compare.finding import Findings
from shadowdiff.compare.headers import all_of
from shadowdiff.compare.joined import compare_streams
from shadowdiff.compare.own_origin import OwnOrigin
from shadowdiff.compare.shapes import ShapeCoverage
from shadowdiff.compare.type_proof import alike_sorted
from shadowdiff.compare.walk import STRICT, Walker
from shadowdiff.compare.work import Budget, Limits
from shadowdiff.model import Headers, Kind, Pair
from shadowdiff.rules.compiled import RouteRules
from shadowdiff.rules.json_values import MISSING, Missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.compare.protobuf import Descriptors  # noqa: TC004  # only loaded if a target has descriptors
    from shadowdiff.rules.json_values import Value

MAX_VALUE_DEPTH: Final = MAX_DEPTH + 3
"""Three more levels than one JSON text, because an `unfinished` event contains it in an array and two objects."""
_TOO_DEEP: Final = f"nested deeper than {MAX_VALUE_DEPTH} levels"
_MARK: Final = "byte order mark"
_START_BYTES: Final = 4096


class BothBrokenError(Exception):
    """Neither body conforms to its type. faults: why not, for v1 and v2."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(*faults)
        self.faults = faults


class Bodies(msgspec.Struct, frozen=True, gc=False):
    """Two different decoded bodies, and the objects that compare them.  origin: replaced in v2's values."""

    one: bytes
    other: bytes
    media: tuple[Media, Media]
    pair: Pair
    rules: RouteRules
    findings: Findings
    messages: Descriptors | None
    origin: OwnOrigin | None = None

    @property
    def whole(self) -> str | None:
        """The rule that covers any difference between the bodies."""
        return self.rules.root.effect.ignore

    def note_absent(self) -> None:
        """Note that one body is empty."""
        kind = Kind.REMOVED if self.one else Kind.ADDED
        self.findings.note("$", kind, start_of(self.one), start_of(self.other), self.whole)

    def note_broken(self, *sides: object, show: Callable[[bytes], str | None]) -> None:
        """Note that only one body does not conform to its type. sides: a BrokenBodyError for each broken side.

        Raises: BothBrokenError if neither conforms to its type.
        """
        faults = [str(side) if isinstance(side, BrokenBodyError) else "" for side in sides]
        if all(faults):
            raise BothBrokenError(faults)
        one, other = (
            f"broken ({fault}): {show(body)}" if fault else show(body)
            for fault, body in zip(faults, (self.one, self.other), strict=True)
        )
        self.findings.note("$", Kind.TYPE, one, other, self.whole)

    def compare_read(
        self,
        one: Value | BrokenBodyError,
        other: Value | BrokenBodyError,
        *,
        show: Callable[[bytes], str | None],
        is_sequence: bool = False,
    ) -> None:
        """Note where the values of the bodies differ, or that a body is broken."""
        if isinstance(one, BrokenBodyError) or isinstance(other, BrokenBodyError):
            self.note_broken(one, other, show=show)
            return
        if self.origin is not None:
            other = self.origin.rewrite_value(other, self.origin.written(self.one))
        if is_sequence:
            compare_streams(one, other, self.rules, self.findings, self._compare_values)
        else:
            self._compare_values(one, other)

    def _compare_values(self, one: Value, other: Value) -> None:
        compare_values(Parsed(one, other, STRICT), self.rules, self.findings)

    def without_marks(self) -> Bodies:
        """Remove UTF-8 byte order marks, and note a mark that only one side has."""
        note_marks(self.one.startswith(BOM), self.other.startswith(BOM), self.whole, self.findings)
        return msgspec.structs.replace(self, one=self.one.removeprefix(BOM), other=self.other.removeprefix(BOM))


class Side(msgspec.Struct, frozen=True):
    """One body as it was sent, and the objects that read it."""

    body: bytes
    headers: Headers
    media: Media
    path: str
    route: str
    is_request: bool
    limits: Limits
    messages: Descriptors | None
    budget: Budget | None


class Format:
    """One format of bodies. `shadowdiff/compare/formats/__init__.py` lists all formats.

    Most formats implement only `value`. A body without a format is compared as bytes.
    """

    name: str
    docs: str
    """With `name`, its row in docs/comparing.md: how bodies are compared."""
    media_types: ClassVar[tuple[str, ...]] = ()
    """Whole types; also suffixes such as `+json` and families such as `text/*`."""
    has_paths = True
    """Whether rules may name places inside a body, because `value` returns a value."""
    is_binary = False
    """Whether the bytes are not readable as text. Samples then show the value as JSON."""
    has_lengths = False
    """Whether a body has the lengths of its parts. So texts can be replaced only in its values."""
    empty_is_sequence = False
    """Whether a body is a sequence of events, so that an empty body has none, and `join` rules apply."""
    units_per_byte = 1.0
    """How many units of the work budget reading one byte costs."""

    def value(self, body: bytes, media: Media) -> Value:
        """Return the value of a decoded body. Raises: BrokenBodyError, NotJsonError."""
        raise NotImplementedError(f"{self.name} cannot read values from {len(body)} bytes of {media.name}")

    def embedded(self, body: bytes, media: Media, depth: int) -> Value | Missing:
        """Return the value of a body inside `depth` other bodies, such as a multipart part; MISSING means base64.

        Raises: BrokenBodyError, NotJsonError.
        """
        if not self.has_paths:
            return MISSING
        if not self.is_binary and body.startswith(BOM):
            raise BrokenBodyError(_MARK)
        return self.value(body, media)

    def read(self, side: Side) -> Value | Missing | BrokenBodyError:
        """Return the value of one body as it was sent; MISSING if descriptors lack its type. Raises: CodingError."""
        if not self.has_paths:
            return MISSING
        body = self.plain(side)
        return self.try_value(body if self.is_binary else body.removeprefix(BOM), side.media)

    def plain(self, side: Side) -> bytes:
        """Return a body without its content codings. Raises: CodingError."""
        codings = all_of(side.headers, b"content-encoding")
        body = undo(side.body, b",".join(codings), side.limits, side.budget)
        if side.budget is not None:
            self.charge(len(body), side.budget)
        return body

    def charge(self, size: int, budget: Budget) -> None:
        """Charge the work of reading a body of this size. Raises: TooComplexError."""
        budget.spend(int(size * self.units_per_byte))

    def try_value(self, body: bytes, media: Media) -> Value | BrokenBodyError:
        """Return the value of a body, or why it has none."""
        return value_or_fault(lambda: self.value(body, media))

    def compare(self, bodies: Bodies) -> None:
        """Note where two different bodies of this format differ."""
        if (not bodies.one or not bodies.other) and not (self.empty_is_sequence and self._covers_empty(bodies)):
            bodies.note_absent()
            return
        if not self.is_binary and (bodies.one.startswith(BOM) or bodies.other.startswith(BOM)):
            bodies = bodies.without_marks()
        bodies.compare_read(*self._try_values(bodies), show=start_of, is_sequence=self.empty_is_sequence)

    def _covers_empty(self, bodies: Bodies) -> bool:
        left, right = self._try_values(bodies)
        if isinstance(left, BrokenBodyError) or isinstance(right, BrokenBodyError):
            return False
        return ShapeCoverage(bodies.findings.budget).covers(left, right, bodies.rules.root)

    def _try_values(self, bodies: Bodies) -> tuple[Value | BrokenBodyError, Value | BrokenBodyError]:
        self.charge(len(bodies.one) + len(bodies.other), bodies.findings.budget)
        return self.try_value(bodies.one, bodies.media[0]), self.try_value(bodies.other, bodies.media[1])


def compare_values(parsed: Parsed, rules: RouteRules, findings: Findings) -> None:
    """Note where two values differ; compare strictly if the parser's tier cannot prove that the rest is equal."""
    one, other = parsed.primary, parsed.candidate
    # Texts of different lengths rarely have equal values, so this check needs equal lengths.
    if parsed.dump and len(parsed.dump) == len(parsed.dump_other) and one == other and alike_sorted(one, other):
        return
    mark = findings.mark()
    if not Walker(findings, parsed.tier).explain(parsed, rules.root):
        findings.rewind(mark)
        Walker(findings, STRICT).explain(parsed, rules.root)


def value_or_fault(read: Callable[[], Value]) -> Value | BrokenBodyError:
    """Return the value that `read` returns, or why it has no value. A body that nests too deeply is broken."""
    try:
        value = read()
    except BrokenBodyError as error:
        return error
    except NotJsonError as error:
        return BrokenBodyError(str(error))
    except RecursionError:
        return BrokenBodyError(_TOO_DEEP)
    return BrokenBodyError(_TOO_DEEP) if _is_too_deep(value) else value


def _is_too_deep(value: Value) -> bool:
    """Whether a value nests deeper than MAX_VALUE_DEPTH. Reads each container once per level."""
    level: list[list[Value] | dict[str, Value]] = [value] if isinstance(value, (list, dict)) else []
    for _ in range(MAX_VALUE_DEPTH):
        if not level:
            return False
        below = (inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer))
        level = list({id(inner): inner for inner in below if isinstance(inner, (list, dict))}.values())
    return bool(level)


def note_marks(one: bool, other: bool, rule: str | None, findings: Findings) -> None:  # noqa: FBT001
    """Note a byte order mark that only one side has."""
    if one != other:
        left, right = (_MARK if has_mark else None for has_mark in (one, other))
        findings.note("bytes[0]", Kind.BYTES, left, right, rule, pattern="bytes[*]")


def start_of(body: bytes) -> str | None:
    """Return the readable start of a body; None if it is empty."""
    return body[:_START_BYTES].decode("utf-8", "replace") if body else None


def text_of(body: bytes, charset: str) -> str:
    """Return the text, with its byte order mark; the default charset is UTF-8. Raises: BrokenBodyError."""
    try:
        return decode(body, charset)
    except (UnicodeError, LookupError) as error:
        raise BrokenBodyError(f"not {charset[:40] or 'utf-8'}: {error}") from error
