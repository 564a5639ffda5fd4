"""Diagnose what everything stands on: the store and the clocks.

In: evidence.  Out: findings.
Holds: pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.doctor.finding import Example, Finding, Gravity, Row, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.doctor.evidence import Evidence, Ground

CLOCK_MS: Final = 2000
"""Clocks that are set by NTP differ by far less."""
KEEPS_ALL: Final = ("", "noeviction")


def store(evidence: Evidence) -> Iterator[Finding]:
    """Find a store that is away, forgets, or cannot be shared."""
    ground = evidence.ground
    if not ground.up:
        yield Finding(
            code="store_away",
            gravity=Gravity.ERROR,
            target="",
            title="The store does not answer.",
            explanation="Both halves wait for each other in Redis. While it is away, nothing can pair; what comes is "
            "held in memory, and shed beyond a bound." + (f" It fails so: {ground.error}" if ground.error else ""),
            way_out="See that `store.url` is right, that Redis runs, and that a NetworkPolicy lets this pod reach it.",
        )
        return
    if not ground.durable:
        yield Finding(
            code="store_not_durable",
            gravity=Gravity.WARNING,
            target="",
            title=f"The store ({ground.backend}) lives in this process and ends with it.",
            explanation="Another pod sees nothing of it: with two, halves that arrive at different ones never pair.",
            way_out="Name a Redis, or put redis-server or valkey-server on PATH:",
            lines=("store: {url: redis://redis:6379/0}",),
        )
    if ground.policy not in KEEPS_ALL:
        yield Finding(
            code="store_evicts",
            gravity=Gravity.ERROR if ground.evicted else Gravity.WARNING,
            target="",
            title=f"Redis may throw keys away ({_where(ground)}): {ground.evicted:,} so far.",
            explanation="A half that is thrown away leaves the other one alone, and the books no longer balance.",
            way_out="Give Redis enough memory, and let it refuse rather than forget:",
            lines=tuple(f"redis-cli {place}config set maxmemory-policy noeviction" for place in _places(ground)),
        )


def _where(ground: Ground) -> str:
    policy = f"maxmemory-policy {ground.policy}"
    return policy if ground.servers == 1 else f"{policy} on {len(ground.evicting)} of {ground.servers} servers"


def _places(ground: Ground) -> list[str]:
    """Return how redis-cli is told of each server that may throw keys away."""
    return [f"-u redis://{address} " if address else "" for address in ground.evicting or ("",)]


def clocks(evidence: Evidence) -> Iterator[Finding]:
    """Find processes whose clock is not the store's."""
    wrong = [process for process in evidence.processes if abs(process.clock_ms) > CLOCK_MS]
    if not wrong:
        return
    worst = max(wrong, key=lambda process: abs(process.clock_ms))
    apart = f"{abs(worst.clock_ms) / 1000:,.0f} s {'ahead of' if worst.clock_ms > 0 else 'behind'}"
    yield Finding(
        code="clocks_differ",
        gravity=Gravity.WARNING,
        target="",
        title=f"The clock of {worst.name} is {apart} the store's.",
        explanation=(
            "How long a half waits is measured by Redis alone, so pairs still form; but ages, samples, and rules that "
            f"expire go by the pod's clock. {plural(len(wrong), 'process', 'processes')} of "
            f"{len(evidence.processes)} differ by more than {CLOCK_MS // 1000} s."
        ),
        way_out="Let the nodes of both set their clocks by NTP (chrony, systemd-timesyncd).",
        examples=(
            Example(
                primary="store",
                candidate=worst.name,
                rows=(Row("clock", _clock(worst.at_ms - worst.clock_ms), _clock(worst.at_ms)),),
            ),
        ),
    )


def books(evidence: Evidence) -> Iterator[Finding]:
    """Find books that do not balance."""
    for patient in evidence.patients:
        if patient.balanced:
            continue
        yield Finding(
            code="books_do_not_balance",
            gravity=Gravity.WARNING,
            target=patient.target.name,
            title=f"The books of {patient.target.name} do not balance: observations left the store uncounted.",
            explanation="Something took keys out of Redis behind the service's back: eviction, FLUSHALL, a second "
            "service under the same prefix with other settings.",
            way_out="Leave the keys under `store.prefix` to shadowdiff alone. The ledger says which row is short:",
            lines=(f"curl -s 'http://127.0.0.1:8082/api/v1/ledger?target={patient.target.name}'",),
        )


def _clock(at_ms: int) -> str:
    seconds = at_ms // 1000 % 86_400
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02} UTC"
