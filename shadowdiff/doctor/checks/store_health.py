"""Check the store, the clocks and the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.doctor.evidence import KEEPS_ALL
from shadowdiff.doctor.finding import NO_TRAFFIC, Example, Finding, Row, error, plural, warning
from shadowdiff.doctor.registry import general_check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.doctor.evidence import Evidence

CLOCK_MS: Final = 2000
"""Clocks that NTP synchronizes differ by far less."""


@general_check(10, explains={"store_unavailable": (*NO_TRAFFIC, "overloaded")})
def store(evidence: Evidence) -> Iterator[Finding]:
    """Find a store that is unavailable, loses data, or cannot be used by several processes."""
    health = evidence.store
    if not health.up:
        yield error(
            code="store_unavailable",
            title="The store does not respond.",
            explanation="Both halves of a pair wait in Redis, so nothing can pair. Until Redis is back, halves wait in "
            "memory. When store.queue halves wait, shadowdiff sheds new requests and records."
            + (f" Error: {health.error}" if health.error else ""),
            fix="Check that `store.url` is right, that Redis runs, and that NetworkPolicies let this pod reach it.",
        )
        return
    if not health.durable:
        yield warning(
            code="store_not_durable",
            title=f"The store ({health.backend}) is part of this process and ends with it.",
            explanation="Other pods cannot see it: halves that arrive at different pods never pair.",
            fix="Configure a Redis, or put redis-server or valkey-server on PATH:",
            lines=("store: {url: redis://redis:6379/0}",),
        )
    if health.policy not in KEEPS_ALL:
        where = "" if health.servers == 1 else f" on {len(health.evicting)} of {health.servers} servers"
        yield (error if health.evicted else warning)(
            code="store_evicts",
            title=f"Redis may evict keys (maxmemory-policy {health.policy}{where}): {health.evicted:,} so far.",
            explanation="When a half is evicted, its partner stays alone, and the ledger no longer balances.",
            fix="Give Redis enough memory, and let it reject writes instead of evicting keys:",
            lines=tuple(
                f"redis-cli {f'-u redis://{address} ' if address else ''}config set maxmemory-policy noeviction"
                for address in health.evicting or ("",)
            ),
        )


@general_check(20)
def unread(evidence: Evidence) -> Iterator[Finding]:
    """Find evidence that could not be read or written."""
    for part in evidence.unread:
        yield warning(
            code="evidence_unreadable",
            target=part.target,
            title=f"Redis responds, but {part.what} failed: {part.error}",
            explanation="The checks that need this evidence could not find anything. All other checks ran.",
            fix="Fix the cause of the error: a full store, a missing permission, or a key under `store.prefix` that "
            "another program wrote. Then run doctor again.",
        )


@general_check(30)
def clocks(evidence: Evidence) -> Iterator[Finding]:
    """Find processes whose clock differs from the store's clock."""
    wrong = [process for process in evidence.processes if abs(process.clock_ms) > CLOCK_MS]
    if not wrong:
        return
    worst = max(wrong, key=lambda process: abs(process.clock_ms))
    clock = Row("clock", _clock(worst.at_ms - worst.clock_ms), _clock(worst.at_ms))
    apart = f"{abs(worst.clock_ms) / 1000:,.0f} s {'ahead of' if worst.clock_ms > 0 else 'behind'}"
    yield warning(
        code="clocks_differ",
        title=f"The clock of {worst.name} is {apart} the store's.",
        explanation="Pairs still form, because Redis alone measures how long a half waits. But ages, samples and "
        f"expiring rules use the pod's clock. {plural(len(wrong), 'process', 'processes')} of "
        f"{len(evidence.processes)} differ by more than {CLOCK_MS // 1000} s.",
        fix="Synchronize the clocks of both nodes with NTP (chrony, systemd-timesyncd).",
        examples=(Example(primary="store", candidate=worst.name, rows=(clock,)),),
    )


@general_check(40)
def ledger(evidence: Evidence) -> Iterator[Finding]:
    """Find ledgers that do not balance."""
    for target in evidence.targets:
        if target.balanced:
            continue
        yield warning(
            code="ledger_unbalanced",
            target=target.name,
            title=f"The ledger of {target.name} does not balance: observations disappeared from the store.",
            explanation="Something other than this service removed keys from Redis: eviction, FLUSHALL, or a second "
            "service with the same prefix and other settings.",
            fix="Let only shadowdiff use the keys under `store.prefix`. The ledger shows which row does not add up:",
            lines=(f"curl -s 'http://127.0.0.1:8082/api/v1/ledger?target={target.name}'",),
        )


def _clock(at_ms: int) -> str:
    seconds = at_ms // 1000 % 86_400
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02} UTC"
