"""The cost limits of one comparison, and its work budget.

Each repeated step charges units before it runs, so equal inputs always cost the same, and results do not depend on
time. A comparison that exceeds its budget ends as `incomparable: too_complex`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.compare.compared_headers import ALL_HEADERS, ComparedHeaders, headers_of

if TYPE_CHECKING:
    from shadowdiff.model import Target
    from shadowdiff.rules.builtin import BuiltInRule

TOO_COMPLEX: Final = "too_complex"
UNITS_PER_MS: Final = 1500
"""The work units that one core does per millisecond: the minimum that `benchmarks/complexity.py` measures."""
DEFAULT_UNITS: Final = 3_000_000
"""The work units of the default `limits.compare_ms`, 2 s. So the budget ends before the time does."""


class TooComplexError(Exception):
    """The comparison needs more work than its budget allows."""


class Budget:
    """The remaining work units of one comparison."""

    __slots__ = ("left",)

    def __init__(self, units: int = DEFAULT_UNITS) -> None:
        self.left = units

    def spend(self, units: int) -> None:
        """Charge work units before the work runs. Raises: TooComplexError if the budget is too small."""
        self.left -= units
        if self.left < 0:
            raise TooComplexError


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one comparison.

    decoded_bytes: the size of one decoded body. ratio: decoded size divided by encoded size, after the first 64 KiB.
    differences, covered: how many differences that count, or that a rule covers, are listed; the rest are only counted.
    value_chars, path_chars: the length of a shown value or path.  headers: which response headers are compared.
    body_types: the types of bodies, by route, which replace the Content-Type.
    built_in_off: the names of built-in rules that cover nothing.
    on_event_loop: whether the comparison ends as `too_complex` before it runs a parser that may crash.
    work: units; a comparison that exceeds them ends as `incomparable: too_complex`.
    relations: whether differences get their relations (`model/relation.py`), which never change a result.
    """

    decoded_bytes: int = 8 << 20
    ratio: int = 200
    differences: int = 100
    covered: int = 50
    value_chars: int = 512
    path_chars: int = 1024
    headers: ComparedHeaders = ALL_HEADERS
    body_types: tuple[tuple[str, str], ...] = ()
    built_in_off: tuple[str, ...] = ()
    on_event_loop: bool = False
    work: int = DEFAULT_UNITS
    relations: bool = True

    def uses(self, rule: BuiltInRule) -> bool:
        """Whether a built-in rule covers differences."""
        return rule.name not in self.built_in_off


def limits_of(target: Target, limits: Limits) -> Limits:
    """Return the limits with a target's own settings: compared headers, types of bodies, built-in rules."""
    return msgspec.structs.replace(
        limits, headers=headers_of(target), body_types=target.body_types, built_in_off=target.built_in_off
    )
