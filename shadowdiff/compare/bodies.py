"""Compare two bodies by the form that their Content-Type names.

In: a pair and what holds for its route.  Out: findings, or why the bodies cannot be compared.
Holds: the type decides the decoder and nothing is guessed; what is broken on one side only is a difference, and on
both sides unequal bytes are a difference of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.compare.coding import CodingError, TooLargeError, undo
from shadowdiff.compare.exact import NotJsonError, parse_both, parse_exact
from shadowdiff.compare.headers import all_of, value_of
from shadowdiff.compare.media import Form, Media, media_of
from shadowdiff.compare.values import same
from shadowdiff.compare.walk import Walker
from shadowdiff.model import Kind

if TYPE_CHECKING:
    from shadowdiff.compare.finding import Findings
    from shadowdiff.compare.limits import Limits
    from shadowdiff.compare.values import Value
    from shadowdiff.model import Observation
    from shadowdiff.rules.compiled import RouteRules


def compare_bodies(
    primary: Observation, candidate: Observation, rules: RouteRules, limits: Limits, findings: Findings
) -> str:
    """Note where the bodies differ; return why they cannot be compared, empty where they could."""
    one, other = _undone(primary, limits), _undone(candidate, limits)
    if isinstance(one, bytes) and isinstance(other, bytes):
        if one != other:
            media, against = _media(primary), _media(candidate)
            form = media.form if media.form is against.form else Form.TEXT
            _by_form(form, one, other, rules, findings)
        return ""
    if isinstance(one, TooLargeError) and isinstance(other, TooLargeError):
        return "undecodable"
    if isinstance(one, CodingError) and isinstance(other, CodingError):
        _bytes(primary.body, candidate.body, findings)
        return ""
    findings.place("bytes", Kind.BYTES, _outcome(one), _outcome(other))
    return ""


def _undone(side: Observation, limits: Limits) -> bytes | CodingError:
    try:
        return undo(side.body, b",".join(all_of(side.headers, b"content-encoding")), limits)
    except CodingError as error:
        return error


def _outcome(body: bytes | CodingError) -> str:
    return f"{len(body)} bytes" if isinstance(body, bytes) else f"undecodable: {body}"


def _media(side: Observation) -> Media:
    return media_of(value_of(side.headers, b"content-type"))


def _by_form(form: Form, one: bytes, other: bytes, rules: RouteRules, findings: Findings) -> None:
    if form is Form.JSON:
        compare_json(one, other, rules, findings)
    elif form is Form.BYTES:
        _bytes(one, other, findings)
    else:
        _text(one, other, rules, findings)


def compare_json(one: bytes, other: bytes, rules: RouteRules, findings: Findings) -> None:
    """Note where two JSON texts differ."""
    try:
        parsed = parse_both(one, other)
    except NotJsonError:
        _broken(one, other, rules, findings)
        return
    compare_values(parsed.primary, parsed.candidate, rules, findings, fast=parsed.tier == 1)


def compare_values(one: Value, other: Value, rules: RouteRules, findings: Findings, *, fast: bool) -> None:
    """Note where two values differ; fast: both came from orjson, so that its dump can prove their kinds."""
    if fast:
        walker = Walker(findings, strict=False)
        mark = findings.mark()
        if not walker.equal(one, other):
            walker.node(one, other, None, rules.root)
        if walker.proved():
            return
        findings.rewind(mark)
    if not same(one, other):
        Walker(findings, strict=True).node(one, other, None, rules.root)


def _broken(one: bytes, other: bytes, rules: RouteRules, findings: Findings) -> None:
    """Note that at least one side is not what its type says."""
    left, right = _fault(one), _fault(other)
    if left and right:
        _bytes(one, other, findings)
        return
    kind = Kind.TYPE
    if not one or not other:
        kind = Kind.ADDED if not one else Kind.REMOVED
    findings.place("$", kind, _shown(one, left), _shown(other, right), rules.root.effect.ignore)


def _fault(text: bytes) -> str:
    try:
        parse_exact(text)
    except NotJsonError as error:
        return str(error)
    return ""


def _shown(text: bytes, fault: str) -> str | None:
    if not text:
        return None
    start = text[:4096].decode("utf-8", "replace")
    return f"not JSON ({fault}): {start}" if fault else start


def _text(one: bytes, other: bytes, rules: RouteRules, findings: Findings) -> None:
    rule = rules.text.ignore
    findings.place("text", Kind.TEXT, one.decode("utf-8", "replace"), other.decode("utf-8", "replace"), rule)


def _bytes(one: bytes, other: bytes, findings: Findings) -> None:
    findings.place("bytes", Kind.BYTES, f"{len(one)} bytes", f"{len(other)} bytes")
