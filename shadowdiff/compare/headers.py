"""Compare the response headers of a pair.

Every header is compared unless it is excluded (`compared_headers`). If a header has a known grammar, the grammar
decides which values are equal (`fields`). Each field or cookie that differs is one `header` difference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.compare.compared_headers import BODY_HEADERS, COMPARED
from shadowdiff.compare.content_type import list_members
from shadowdiff.compare.fields import OWN_URLS, Differing, differing, own_authorities
from shadowdiff.compare.sequence import grouped
from shadowdiff.compare.value_rules import covering, hide_all, subsets
from shadowdiff.model import Kind
from shadowdiff.rules.builtin import OWN_ORIGIN
from shadowdiff.rules.json_values import MISSING
from shadowdiff.rules.member_names import name_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shadowdiff.compare.finding import Findings
    from shadowdiff.compare.work import Budget, Limits
    from shadowdiff.model import Headers, Observation, Pair
    from shadowdiff.rules.compiled import Effect, RouteRules, ValueRule


GRPC_STATUS: Final = b"grpc-status"
GRPC_FIELDS: Final = frozenset({GRPC_STATUS, b"grpc-message", b"grpc-status-details-bin"})
"""The result of a gRPC call. It is in the trailers, or in the headers of a response without a message."""
NOT_MODIFIED: Final = 304
_OF_A_BODY: Final = frozenset(name.encode() for name in BODY_HEADERS)
_EXPIRES: Final = re.compile(r"[ \t]*expires[ \t]*=", re.IGNORECASE)
_ATTRIBUTES: Final = frozenset({
    "domain", "expires", "httponly", "max-age", "partitioned", "path", "priority", "samesite", "secure", "value",
})  # fmt: skip
Fields = Sequence[tuple[bytes, bytes]]
"""Header fields in order, names in lower case."""
Heads = tuple[Fields, Fields, Sequence[bytes]]
"""Both sides' fields (the same object twice if nothing needed differs), and the names of needed fields that differ.

A plain tuple: every pair creates one, and a named tuple takes a tenth of the time of a pair that matches.
"""


class Field(NamedTuple):
    """A field that differs: its lines on both sides, both responses, and the names of the service in URLs."""

    name: bytes
    lines: tuple[Sequence[bytes], Sequence[bytes]]
    sides: tuple[Observation, Observation]
    own: frozenset[str] = frozenset()


def fields_of(side: Observation) -> Headers:
    """Return a side's header fields, with all trailers of a gRPC call; else only trailers that gRPC defines.

    Proxies drop HTTP/1.1 trailers, so users might never see v2's trailers.
    """
    if not side.trailers:
        return side.headers
    if value_of(side.headers, b"content-type").startswith(b"application/grpc"):
        return (*side.headers, *side.trailers)
    return (*side.headers, *(field for field in side.trailers if field[0] in GRPC_FIELDS))


def relevant(pair: Pair, limits: Limits) -> Heads:
    """Return the fields of both sides, and which of the needed fields differ.

    The order of fields with different names has no meaning (RFC 9110 section 5.3).
    """
    needs = limits.headers.bodiless if _is_bodiless(pair) else limits.headers.usual
    one, other = fields_of(pair.primary), fields_of(pair.candidate)
    if len(one) == len(other):
        found: list[bytes] = []
        for field, against in zip(one, other, strict=True):  # usually both sides send the same fields in the same order
            if field != against:
                if field[0] != against[0]:
                    break
                if needs[field[0]]:
                    found.append(field[0])
        else:
            return one, other if found else one, found
    left: Mapping[bytes, object] = dict(one)
    right: Mapping[bytes, object] = dict(other)
    if len(left) != len(one) or len(right) != len(other):
        left, right = grouped(one), grouped(other)
    unlike = [name for name, value in left.items() if right.get(name) != value and needs[name]]
    unlike += [name for name in right if name not in left and needs[name]]
    return one, other if unlike else one, unlike


def _is_bodiless(pair: Pair) -> bool:
    """Whether the responses describe a body that neither of them sends."""
    return pair.primary.method == "HEAD" or pair.primary.status == NOT_MODIFIED == pair.candidate.status


def value_of(headers: Fields, name: bytes) -> bytes:
    """Return the first value of a field; empty if the field is missing."""
    for field, value in headers:
        if field == name:
            return value
    return b""


def all_of(headers: Fields, name: bytes) -> list[bytes]:
    """Return the values of a field in order."""
    return [value for field, value in headers if field == name]


def compare_headers(pair: Pair, heads: Heads, rules: RouteRules, findings: Findings) -> None:
    """Note the fields that differ."""
    findings.budget.spend(16 * (len(heads[0]) + len(heads[1])))
    bodiless, sides = _is_bodiless(pair), (pair.primary, pair.candidate)
    needs = findings.limits.headers.bodiless if bodiless else findings.limits.headers.usual
    names = {name for name in heads[2] if needs[name] == COMPARED}
    if bodiless:
        names -= _not_comparable(pair, heads)
    if not names:
        return
    chosen = [field for field in heads[0] if field[0] in names]
    chosen_other = [field for field in heads[1] if field[0] in names]
    value_bytes = sum([len(value) for _, value in chosen]) + sum([len(value) for _, value in chosen_other])
    findings.budget.spend((1 + len(pair.candidate.prefixes)) * value_bytes // 8)
    one, other = grouped(chosen), grouped(chosen_other)
    for name in sorted(names):
        own = own_authorities(*sides) if name in OWN_URLS and findings.limits.uses(OWN_ORIGIN) else frozenset[str]()
        field = Field(name, (one.get(name, ()), other.get(name, ())), sides, own)
        _note_field(field, rules.headers.get(name), findings)


def _not_comparable(pair: Pair, heads: Heads) -> frozenset[bytes]:
    """Return the sizes and digests that cannot be compared if neither side sends a body.

    The fields describe the encoded body, so codings must agree. A 304 response can omit these fields, and caches do not
    use them.
    """
    if b"content-encoding" in heads[2]:
        return _OF_A_BODY
    if pair.primary.method == "HEAD":
        return frozenset()
    return _OF_A_BODY - ({name for name, _ in heads[0]} & {name for name, _ in heads[1]})


def note_header(name: bytes, values: tuple[str | None, str | None], rules: RouteRules, findings: Findings) -> None:
    """Note that a field differs."""
    effect = rules.headers.get(name)
    _note(name, ("", *values), _rule(effect, *values, findings.budget) if effect else None, findings)


def _note(name: bytes, found: Differing, rule: str | None, findings: Findings) -> None:
    part, one, other = found
    text = name.decode("latin-1")
    path = f"header.{text}" + (f"[{part!r}]" if part else "")
    place = f"header.{name_class(text) or text}"
    if part:
        step = name_class(part)
        place += (f"[{step}]" if step else f"[{part!r}]") + _attributes(one, other)
    findings.note(path, Kind.STATUS if name == GRPC_STATUS else Kind.HEADER, one, other, rule, pattern=place)


def _attributes(one: str | None, other: str | None) -> str:
    """Return the attributes in which two cookies differ, such as `.max-age`, so that each is a place of its own."""
    if one is None or other is None:
        return ""
    apart = set(one.split("; ")) ^ set(other.split("; "))
    names = {"value" if each == "empty value" else each.partition("=")[0] for each in apart} - {"no attributes"}
    return f".{','.join(sorted(each if each in _ATTRIBUTES else 'other' for each in names))}"


def _note_field(field: Field, effect: Effect | None, findings: Findings) -> None:
    """Note where a field differs. Rules apply to the whole field, to each member, and before parsing."""
    found = list(differing(*field))
    if not found and field.own:
        for each in differing(field.name, field.lines, field.sides):
            _note(field.name, each, OWN_ORIGIN.label, findings)
        return
    rules: list[str | None] = [None] * len(found)
    if effect is not None:
        budget = findings.budget
        for at, (part, one, other) in enumerate(found):
            rules[at] = _rule(effect, one, other, budget)
            if not (part or rules[at]):
                rules[at] = _rule_of_members(effect, field, budget)
        open_parts = {part for (part, _, _), rule in zip(found, rules, strict=True) if rule is None}
        if open_parts:
            covered = _masked_first(field, effect, open_parts, budget)
            rules = [rule or covered.get(part) for (part, _, _), rule in zip(found, rules, strict=True)]
    for each, rule in zip(found, rules, strict=True):
        _note(field.name, each, rule, findings)
    if len(found) > 1:  # several cookies
        for each in _renewed([each for each, rule in zip(found, rules, strict=True) if rule is None]):
            _note(field.name, each, None, findings)


def _renewed(found: Sequence[Differing]) -> Iterator[Differing]:
    """Yield where cookies differ in addition to their generated names, which are new in each response.

    The pair is a mismatch because of the names; the attributes are places of their own.
    """
    gone, came = (grouped((name_class(one[0]), one) for one in found if one[side] is None) for side in (2, 1))
    for form in sorted((gone.keys() & came.keys()) - {""}):
        for (part, text, _), (_, _, text_other) in zip(gone[form], came[form], strict=False):
            if text != text_other:
                yield part, text, text_other


def _rule_of_members(effect: Effect, field: Field, budget: Budget) -> str | None:
    """Return a rule if rules cover each line of a field, or each member of its lists."""
    lines = [[value.decode("latin-1").strip(" \t") for value in side] for side in field.lines]
    for left, right in (lines, list(map(list_members, lines))):
        if left and len(left) == len(right):
            budget.spend(len(left))
            rules = [_rule(effect, one, other, budget) for one, other in zip(left, right, strict=True) if one != other]
            if all(rules):
                return next(iter(rules), None)
    return None


def _masked_first(field: Field, effect: Effect, open_parts: set[str], budget: Budget) -> dict[str, str]:
    """Return the rules of the differences that disappear if masks are applied before the field is parsed.

    Therefore masked text affects neither the order of members nor the choice of paired cookies.
    """
    masks = [rule for rule in effect.value_rules if rule.mask]
    some: dict[str, str] = {}
    for chosen in subsets(len(masks)):
        used = [masks[at] for at in chosen]
        values = tuple([_masked(field.name, value, used, budget) for value in side] for side in field.lines)
        left = {part for part, _, _ in differing(field.name, (values[0], values[1]), field.sides, field.own)}
        covered = dict.fromkeys(open_parts - left, used[0].label)
        if not left:
            return covered
        if not some and left <= open_parts:
            some = covered
    return some


def _masked(name: bytes, value: bytes, masks: Sequence[ValueRule], budget: Budget) -> bytes:
    """Return a line after masks. Dates are not masked, because an invalid date has a different meaning."""
    if name == b"expires":
        return value
    parts = value.decode("latin-1").split(";") if name == b"set-cookie" else [value.decode("latin-1")]
    masked = [part if _EXPIRES.match(part) else hide_all(masks, part, budget) for part in parts]
    return ";".join(masked).encode("latin-1", "replace")


def _rule(effect: Effect, one: str | None, other: str | None, budget: Budget) -> str | None:
    if effect.ignore:
        return effect.ignore
    left, right = MISSING if one is None else one, MISSING if other is None else other
    return covering(effect.value_rules, left, right, budget)
