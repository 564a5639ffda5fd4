"""What each target's epochs rest on: the header that names v2's revision, and a digest of what is compared and how.

In: the targets as configured, the time.  Out: `Watched` values.
Holds: two configurations have the same digest exactly where they compare alike, so that a new limit of the gate or
a word in a rule's reason opens no epoch, and a rule that expires does.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from shadowdiff.verdict import Watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.config import TargetConfig

_DIGEST_BYTES = 6


def watched(targets: Sequence[TargetConfig], now_s: float) -> list[Watched]:
    """Return what to watch of every target at this time."""
    now = datetime.fromtimestamp(now_s, UTC)
    return [
        Watched(
            target=one.target.name,
            revision_header=one.target.candidate.revision_header.encode(),
            rules=_digest(one, now),
            latency=one.target.gate.max_p99_increase_s is not None,
            controlled=one.target.control is not None,
            learn=one.target.learn,
            candidate=one.target.candidate.url,
        )
        for one in targets
    ]


def _digest(one: TargetConfig, now: datetime) -> str:
    target = one.target
    rules = [repr(msgspec.structs.replace(rule, reason="")) for rule in one.rules if not rule.expired(now)]
    how = (rules, target.routes, sorted(target.methods), target.sample, target.candidate.url)
    with_messages = b"" if one.protobuf is None else msgspec.json.encode(one.protobuf)
    return hashlib.blake2b(msgspec.json.encode(how) + with_messages, digest_size=_DIGEST_BYTES).hexdigest()
