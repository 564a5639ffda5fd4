"""Writes as data: what a stage wants stored when a pair's commit succeeds.

A stage returns these; the worker hands all of them to the one commit script, which applies an entry's
writes only where that entry's acknowledgement answered 1. So stages commit atomically, none knows
another, and nothing is written twice. Keys are relative: the store adds its prefix and hash tag.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec


class Incr(msgspec.Struct, frozen=True, gc=False):
    """Add `by` to `field` of the hash `key`; a new field past `cap` fields adds to `_other` instead (0: no cap)."""

    key: str
    field: str
    by: int = 1
    cap: int = 0


class Push(msgspec.Struct, frozen=True, gc=False):
    """Put `value` at the head of the list `key` and keep the newest `keep`."""

    key: str
    value: bytes
    keep: int


class Put(msgspec.Struct, frozen=True, gc=False):
    """Set the string `key` to `value` for `ttl_s` seconds."""

    key: str
    value: bytes
    ttl_s: int


class Expire(msgspec.Struct, frozen=True, gc=False):
    """Let `key` live `ttl_s` seconds from now."""

    key: str
    ttl_s: int


class Score(msgspec.Struct, frozen=True, gc=False):
    """Score `member` in the sorted set `key`: keep the `greatest` or the `first` score, or `add` to it.

    A new member past `cap` members is left out; what it adds counts for `_other` instead (0: no cap).
    """

    key: str
    member: str
    score: int
    how: Literal["greatest", "first", "add"]
    cap: int = 0


class Describe(msgspec.Struct, frozen=True, gc=False):
    """Set `field` of the hash `key` to `value` where it is not set yet and fewer than `cap` are (0: no cap)."""

    key: str
    field: str
    value: bytes
    cap: int = 0


GROUP_CHARS: Final = 12
NAME_CHARS: Final = 16
SHELF: Final = ("order", "times", "sizes", "lines", "values", "bytes")
"""The parts of a shelf; the key of each is the shelf's, a colon, and the part."""


class Keep(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Keep `value` under `name`, and a `line` about it, on the shelf `key`.

    Kept are, for `ttl_s` seconds: of each `group` the first `of_group` by `order`; in all so many and so many bytes.
    What is too much goes from the group that has most. Group, order and name have a fixed length each.
    """

    key: str
    group: str
    order: str
    name: str
    line: bytes
    value: bytes
    at_ms: int
    of_group: int
    of_all: int
    bytes_of_all: int
    ttl_s: int

    @property
    def member(self) -> str:
        """How the value is called in the shelf's order."""
        return self.group + self.order + self.name


Write = Incr | Push | Put | Expire | Score | Describe | Keep
