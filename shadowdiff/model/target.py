"""A service under comparison, as the configuration names it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

UNKNOWN_TARGET = "_unknown"
"""The ledger's name for requests whose host no target names."""


class HostPolicy(StrEnum):
    """Which Host v2 sees: its own (with X-Forwarded-Host), or the one the user sent."""

    CANDIDATE = "candidate"
    PRESERVE = "preserve"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """Where v2 is asked. `url` is scheme and authority, with an optional path prefix."""

    url: str
    timeout_s: float = 10.0
    queue_timeout_s: float = 5.0
    concurrency: int = 128
    queue: int = 1024
    host: HostPolicy = HostPolicy.CANDIDATE
    revision_header: str = "x-version"


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """A v1 that no user reaches, asked for a share of the mirrored requests."""

    url: str
    sample: float = 0.05
    timeout_s: float = 10.0


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict allows; without `max_p99_increase_s` latency decides nothing."""

    max_mismatch_ratio: float = 0.001
    min_coverage: float = 0.95
    max_p99_increase_s: float | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One service under comparison: its hosts, its candidate, what is asked of it, and its gate.

    sample: the share of requests compared, drawn by id on both sides.
    methods: upper case; requests with others are acknowledged, counted and not forwarded.
    learn: triples (while calibrating, pairs) that v1's own noise is learned from.
    routes: templates such as `/products/{id}`, optionally with a method before them.
    """

    name: str
    hosts: tuple[str, ...]
    candidate: Candidate
    control: Control | None = None
    sample: float = 1.0
    learn: int = 1000
    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS")
    routes: tuple[str, ...] = ()
    gate: Gate = Gate()
