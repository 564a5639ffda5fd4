"""Writes as data: what a stage wants stored when a pair's commit succeeds.

A stage returns these; the worker hands all of them to the one commit script, which applies an entry's
writes only where that entry's acknowledgement answered 1. So stages commit atomically, none knows
another, and nothing is written twice. Keys are relative: the store adds its prefix and hash tag.
"""

from __future__ import annotations

from typing import Literal

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


Write = Incr | Push | Put | Expire | Score | Describe
